package readstate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/observe"
)

// Open tables keep their indexes and filters in memory, within a part of the
// budget. If a filter has no room it is left out; reads then search a page in
// vain but stay correct. Every read of a table needs its index. If even the
// indexes do not fit, tables that were not read for a while are taken out of
// memory, and the next read loads them again.
//
// Which filters are worth their memory: each point read asks one table of each
// run, so the filter of a small run saves as many page reads as that of a large
// run of the same keyspace, for less memory; and most keys that are found are
// in the last run. So filters are kept from the smallest run to the largest.
//
// Readers do none of this. When memory ran short, or reads missed a filter, a
// goroutine looks at all open tables. A read that finds memory crowded waits
// before it loads a table, but not for long, and not at all if the tables in
// memory are all in use.

const (
	// tablesShare is the divisor for the budget of indexes and filters, and
	// leastShare for what they get at least when memtables, iterators,
	// transactions and loads take more than the rest. pagesShare is left to
	// pages.
	tablesShare = 2
	pagesShare  = 8
	leastShare  = 16
	// patience is how long a read waits at most.
	patience = 50 * time.Millisecond
	// missedEach is the number of pages searched in vain after which the choice
	// of filters is reconsidered.
	missedEach = 1024
	// askedFor is how long a table counts as in use after a read, at least.
	askedFor = time.Second
	// gain is how many times smaller the run of a missing filter must be for
	// the filter to replace another.
	gain = 2
	// unasked is gain for a filter that was not used recently.
	unasked = 16
)

// tableMemory keeps the memory of open tables within its limit. It is the
// sstable.Memory of their readers.
type tableMemory struct {
	st *Store // immutable

	admitting sync.Mutex   // held to compare and charge in one step
	dying     atomic.Int64 // bytes taken out that point reads may still use
	short     atomic.Bool  // some filter is left out
	stuck     atomic.Bool  // waiting is in vain: the excess is in use
	due       atomic.Bool  // a look is due and has not begun

	looking sync.Mutex   // held during a look
	hand    base.FileNum // guarded by looking; the last table considered for removal
	aged    time.Time    // guarded by looking; when the marks were cleared

	waiting sync.Mutex
	freed   chan struct{} // guarded by waiting; closed when a look has freed memory, or found nothing to free
}

func (m *tableMemory) init(st *Store) { m.st, m.freed = st, make(chan struct{}) }

// limit returns the limit of tables' memory now.
func (m *tableMemory) limit() int64 {
	budget, c := m.st.o.MemoryBudget, m.st.cache
	others := c.Others() - c.Charged(cache.Tables) + max(budget/pagesShare, c.Pinned())
	return min(budget/tablesShare, max(budget-others, budget/leastShare))
}

// crowded reports whether tables take more than a look leaves them.
func (m *tableMemory) crowded() bool { return m.full() && !m.stuck.Load() }

func (m *tableMemory) full() bool { return m.st.cache.Charged(cache.Tables) > m.limit()+m.slack() }

// errCrowded ends a read that needs to load a table while memory is crowded.
var errCrowded = errors.New("readstate: too many tables are in memory")

// wait waits while memory is crowded. The caller must hold no state by Acquire,
// or the wait would include the caller itself.
func (m *tableMemory) wait() {
	end := time.NewTimer(patience)
	defer end.Stop()
	for {
		m.waiting.Lock()
		freed := m.freed
		m.waiting.Unlock()
		if !m.crowded() {
			return
		}
		m.lookSoon()
		select {
		case <-freed:
		case <-end.C:
			return
		case <-m.st.o.Work.Done():
			return
		}
	}
}

// TablesLimit returns the limit of the memory of indexes and filters now.
func (st *Store) TablesLimit() int64 { return st.memory.limit() }

// WaitForRoom waits, for a short time at most, while memory is too crowded to
// load a table. The caller must hold no state by Acquire, or the wait would
// include the caller itself.
func (st *Store) WaitForRoom() { st.memory.wait() }

// gaveBack notes that memory was freed.
func (m *tableMemory) gaveBack() {
	m.stuck.Store(false)
	m.wake()
}

// wake makes waiting readers check again.
func (m *tableMemory) wake() {
	m.waiting.Lock()
	close(m.freed)
	m.freed = make(chan struct{})
	m.waiting.Unlock()
}

// charged returns the memory of open tables, without what is being freed.
func (m *tableMemory) charged() int64 { return m.st.cache.Charged(cache.Tables) - m.dying.Load() }

// slack returns how much a look leaves free, so that the next one is not due at
// once.
func (m *tableMemory) slack() int64 { return m.st.o.MemoryBudget / (tablesShare * 16) }

// Take implements sstable.Memory.
func (m *tableMemory) Take(n int64) {
	m.st.cache.Charge(cache.Tables, n)
	if c, limit := m.charged(), m.limit(); n > 0 && c > limit || n < 0 && m.short.Load() && c < limit-2*m.slack() {
		m.lookSoon()
	}
}

// squeezed is called when something else took more of the budget.
func (m *tableMemory) squeezed() {
	if m.charged() > m.limit() {
		m.lookSoon()
	}
}

// Admit implements sstable.Memory.
func (m *tableMemory) Admit(n int64) bool {
	m.admitting.Lock()
	defer m.admitting.Unlock()
	if m.st.cache.Charged(cache.Tables)+n > m.limit() {
		m.short.Store(true)
		m.lookSoon()
		return false
	}
	m.st.cache.Charge(cache.Tables, n)
	return true
}

// missed is called with the number of pages searched in vain for lack of a
// filter.
func (m *tableMemory) missed(n int64) {
	if n%missedEach == 0 {
		m.lookSoon()
	}
}

// lookSoon starts a look unless one is due.
func (m *tableMemory) lookSoon() {
	if m.due.Swap(true) {
		return
	}
	go func() { // it calls Enter itself: the caller may hold any lock
		w := m.st.o.Work
		if !w.Enter() {
			return // closing: all memory is about to be freed
		}
		defer w.Leave()
		m.looking.Lock()
		defer m.looking.Unlock()
		m.due.Store(false)
		m.look()
	}()
}

// openTable is a table whose metadata is in memory.
type openTable struct {
	t      *Table
	r      *sstable.Reader
	run    uint64 // entries of its run
	size   int64  // without the filter
	filter int64  // of the filter, if it can be left out
	has    bool   // the filter is in memory
	asked  bool
	want   bool // the filter should be in memory
}

// rank orders filters: those with the lowest come first.
func (o *openTable) rank() uint64 {
	n := o.run
	if !o.has {
		n *= gain
	}
	if !o.asked {
		n *= unasked
	}
	return n
}

// look makes the tables fit the limit, and loads filters that fit again. The
// caller holds looking.
func (m *tableMemory) look() {
	s, shard := m.st.Keep()
	if s == nil {
		return
	}
	defer s.LetGo(shard)
	open := m.list(s)
	var out removal
	rest := m.charged() // memory other than filters
	for _, o := range open {
		if o.has {
			rest -= o.filter
		}
	}
	limit := m.limit()
	if rest > limit {
		rest = m.closeTables(open, rest, limit, &out)
	}
	missing := m.choose(open, rest, limit)
	for i := range open {
		if o := &open[i]; o.has && !o.want && o.r != nil {
			out.add(o.filter, o.r.DropFilter())
		}
	}
	m.short.Store(missing)
	vain := len(out.free) == 0 && m.dying.Load() == 0 && m.full()
	if m.stuck.Store(vain); vain {
		m.wake()
	}
	again := false
	for i := range open {
		o := &open[i]
		if o.want && !o.has && !m.load(o) {
			again = true
		}
	}
	m.remove(out, again)
}

// list returns the open tables of a state, and those that only older states
// name.
func (m *tableMemory) list(s *State) (open []openTable) {
	old := time.Since(m.aged) > askedFor
	if old {
		m.aged = time.Now()
	}
	seen := map[*Table]bool{}
	add := func(t *Table, run uint64) {
		r := t.reader.Load()
		if r == nil || !r.Use() {
			return
		}
		o := openTable{t: t, r: r, run: run, size: r.MemBytes(), filter: r.FilterBytes(), asked: t.asked.Load()}
		o.has = o.filter > 0 && !r.FilterLeftOut()
		if old {
			t.asked.Store(false)
		}
		_ = r.Close()
		open = append(open, o)
	}
	for _, tree := range s.v.trees {
		for l := range tree.Levels {
			for _, run := range tree.Levels[l] {
				n := uint64(0)
				for _, t := range run.Tables {
					n += t.Meta.Entries
				}
				for _, t := range run.Tables {
					seen[t] = true
					add(t, n)
				}
			}
		}
	}
	var others []*Table
	m.st.mu.Lock()
	for _, t := range m.st.tables {
		if !seen[t] {
			others = append(others, t)
		}
	}
	m.st.mu.Unlock()
	for _, t := range others {
		add(t, 1<<48) // useless to reads that begin now
	}
	return open
}

// choose sets want for the filters that fit, given the memory of everything
// else. It reports whether filters that were asked for are left out.
func (m *tableMemory) choose(open []openTable, rest, limit int64) (missing bool) {
	order := make([]*openTable, 0, len(open))
	sum := int64(0)
	for i := range open {
		if o := &open[i]; o.r != nil && o.filter > 0 {
			order = append(order, o)
			if o.has {
				sum += o.filter
			}
		}
	}
	slices.SortFunc(order, func(a, b *openTable) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.t.Meta.Num, b.t.Meta.Num))
	})
	room := limit - rest
	if sum > room {
		room -= m.slack()
	}
	taken := int64(0)
	for _, o := range order {
		most := room
		if !o.has {
			most = min(room, limit-rest-m.slack())
		}
		switch {
		case !o.has && (!o.asked || o.t.broken.Load()):
		case taken+o.filter <= most:
			o.want = true
			taken += o.filter
		default:
			missing = true
		}
	}
	return missing
}

// closeTables takes out tables not used since the last round, in the order of
// their numbers, until the rest fits. It sets r to nil for each, and returns
// the memory of the rest.
func (m *tableMemory) closeTables(open []openTable, rest, limit int64, out *removal) int64 {
	slices.SortFunc(open, func(a, b openTable) int { return cmp.Compare(a.t.Meta.Num, b.t.Meta.Num) })
	at, _ := slices.BinarySearchFunc(open, m.hand+1, func(o openTable, n base.FileNum) int { return cmp.Compare(o.t.Meta.Num, n) })
	for range 2 * len(open) {
		if rest <= limit-2*m.slack() {
			break
		}
		o := &open[at%len(open)]
		at++
		m.hand = o.t.Meta.Num
		switch {
		case o.r == nil || !o.r.Idle(): // an iterator uses it: nothing would be freed
		case o.asked:
			o.asked = false
			o.t.asked.Store(false)
		case o.t.reader.CompareAndSwap(o.r, nil):
			r := o.r
			o.r = nil
			rest -= o.size
			if o.has {
				o.size += o.filter
			}
			out.add(o.size, func() { _ = r.Close() })
		}
	}
	return rest
}

// load reads a filter if there is room for it now.
func (m *tableMemory) load(o *openTable) (done bool) {
	select {
	case <-m.st.o.Work.Done():
		return true
	default:
	}
	if m.st.cache.Charged(cache.Tables)+o.filter > m.limit() {
		return false // until the memory being freed is free
	}
	if !o.r.Use() {
		return true
	}
	defer func() { _ = o.r.Close() }()
	done, err := o.r.LoadFilter()
	if err != nil {
		o.t.broken.Store(true)
		m.st.o.Damaged(err)
		return true
	}
	return done
}

// removal is what a look takes out of memory.
type removal struct {
	bytes int64
	free  []func()
}

// add adds n bytes that free will free, unless free is nil.
func (r *removal) add(n int64, free func()) {
	if free != nil {
		r.bytes += n
		r.free = append(r.free, free)
	}
}

// remove frees what new reads cannot find any more, once no read uses it. With
// again, another look follows.
func (m *tableMemory) remove(out removal, again bool) {
	if len(out.free) == 0 {
		return
	}
	st := m.st
	m.dying.Add(out.bytes)
	st.lifetimes.Add()
	free := func() {
		for _, f := range out.free {
			f()
		}
		m.dying.Add(-out.bytes)
		m.gaveBack()
		if again {
			m.lookSoon()
		}
		st.lifetimes.Done()
	}
	st.mu.Lock()
	waits := st.quiet.wait(free)
	retire := func() {}
	if cur := st.state.Load(); cur != nil {
		// A read that begins in the new state finds none of it.
		retire = st.setState(cur.again())
	}
	st.mu.Unlock()
	retire()
	if !waits {
		free()
	}
}

// Unfiltered describes how many filters are left out, if any are.
func (st *Store) Unfiltered() string {
	s, shard := st.Acquire()
	if s == nil {
		return ""
	}
	defer s.Release(shard)
	var m observe.MemoryMetrics
	s.v.eachTable(func(_ int, t *Table) {
		if r := t.reader.Load(); r != nil {
			addFilter(&m, r)
		}
	})
	if m.FiltersLeftOut == 0 {
		return ""
	}
	return fmt.Sprintf("the filters of %d open tables, %d bytes, are left out of memory: indexes and filters may take %d bytes of the memory budget of %d; reads of keys that those tables do not have look into a page in vain; with a larger Options.MemoryBudget, or a smaller Options.FilterBits, they do not",
		m.FiltersLeftOut, m.FilterBytesLeftOut, st.memory.limit(), st.o.MemoryBudget)
}
