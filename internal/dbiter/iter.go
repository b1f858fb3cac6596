package dbiter

import (
	"bytes"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/merge"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// Options restrict an iterator.
type Options struct {
	Lower, Upper []byte // Lower <= key < Upper; nil = unbounded
	KeysOnly     bool
	Bulk         bool // a long scan: what it reads does not displace hot pages
	Own          bool // made for the length of a call: the program cannot leak it
	// Site is where the program opened it; the zero value is the caller of the
	// caller of NewIter.
	Site pins.CallSite
}

// Iter shows the live keys of one sequence in order, each once, with its
// value: the single iterator under every kind of scan. One goroutine uses it.
//
// Forward, merged stands on the entry that is shown, and Key and Value are
// views into it. Backward, the newest visible version of a key comes last, so
// merged stands on the entry before the key that is shown, and key and value
// are copies. So they are where the value was merged from several entries; then
// merged stands behind the key.
type Iter struct {
	env   *Env
	k     Keyspace
	s     *readstate.State // kept in shard
	shard int
	pin   pins.Pin
	hold  *readstate.Hold // of the snapshot, while the iterator is being made

	moment
	limits
	sources
	position
	tracking

	dead    deadRun
	fold    compaction.OperandMerger
	folded  int    // operands of the key shown
	fetched []byte // buffer for values out of value files
	target  []byte // what a seek looks for
	err     error
}

// moment is what an iterator sees: entries up to a sequence and its own transaction's,
// but for what has expired by a time.
type moment struct {
	seq  base.SeqNum
	seek base.Trailer // what to seek a key's newest entry with
	time uint64
}

// limits are what an iterator was asked for.
type limits struct {
	lower    []byte
	upper    []byte
	bounds   []byte // backs lower and upper
	keysOnly bool
	bulk     bool
}

// sources are what an iterator reads, newest first, and merged into one order.
type sources struct {
	merged   merge.Iter
	children []base.Iterator
	mems     memtable.Iters
	runs     []readstate.RunIter
	refs     writeset.Iter     // the writes of an open transaction
	withOwn  bool              // there are such writes
	ranges   []rangeSource     // range tombstones, newest first; nearly always none
	views    []memtable.Ranges // those of the memtables, fixed together with the sequence
	hit      hit               // what covered found
}

// position is where an iterator stands, and what it shows there.
type position struct {
	cur     *base.KV // forward: the entry shown, or nil
	next    *base.KV // what merged stands on, behind the key that is shown as a copy
	forward bool
	isCopy  bool // what is shown is a copy: keyCopy, trailer and value
	valid   bool
	keyCopy []byte       // the key shown as a copy, or the last key left
	trailer base.Trailer // of the copy
	value   []byte       // its stored value
}

// keepFetched is the largest buffer for values that a closed iterator keeps for
// the next one.
const keepFetched = 256 << 10

var iterPool = sync.Pool{New: func() any { return new(Iter) }}

// Env is what the iterators of a database share.
type Env struct {
	Store    *readstate.Store
	Pins     *pins.List
	Folded   *Folded
	DeadMin  int // dead keys in a row for which an iterator leaves a hint
	FoldFrom int // operands of a key from which on what they come to is noted
	// Share makes the half of a memtable that keyspaces share, if that is active and no
	// commit is in the way.
	Share func(*generation.Generation) bool
}

// Keyspace is a keyspace as its iterators know it.
type Keyspace interface {
	ID() uint32
	Merger() base.Merger // or nil
	Describe() string    // for messages
}

// seekAfter is how many versions of one key are stepped over before seeking
// past the rest.
const seekAfter = 8

// New opens an iterator on a state of a keyspace, which is kept in a shard, at a
// moment. The iterator lets it go. The writes of an open transaction lie on top, if own
// is not nil.
func New(env *Env, k Keyspace, s *readstate.State, shard int, o Options, at readstate.Point, own *writeset.Set) *Iter {
	it := iterPool.Get().(*Iter)
	it.env, it.k, it.s, it.shard, it.keysOnly, it.bulk = env, k, s, shard, o.KeysOnly, o.Bulk
	it.fix(at)
	it.setBounds(o)
	it.hold = at.Hold
	it.addChildren(own, sstable.IterOptions{Scan: o.Bulk})
	it.hold = nil
	it.cur, it.valid, it.err, it.forward, it.isCopy = nil, false, nil, true, false
	it.keyCopy = it.keyCopy[:0]
	if it.keyCopy == nil { // the iterator is new; a key of no bytes is not nil, nor is such a value
		it.keyCopy, it.value = []byte{}, []byte{}
	}
	env.Pins.AddIter(&it.pin, s, len(it.children), cap(it.fetched), o.Own, o.Site)
	return it
}

func (it *Iter) setBounds(o Options) {
	it.bounds = append(append(it.bounds[:0], o.Lower...), o.Upper...)
	if it.bounds == nil {
		it.bounds = []byte{} // an empty upper bound is a bound: nothing is below it
	}
	it.lower, it.upper = nil, nil
	if o.Lower != nil {
		it.lower = it.bounds[:len(o.Lower):len(o.Lower)]
	}
	if o.Upper != nil {
		it.upper = it.bounds[len(o.Lower):]
	}
}

// addChildren lists the sources from newest to oldest.
func (it *Iter) addChildren(own *writeset.Set, o sstable.IterOptions) {
	ls := it.s.Levels(it.k.ID())
	nr := 0
	for l := range ls {
		nr += len(ls[l])
	}
	it.runs = base.Grow(it.runs, nr)
	it.children = it.children[:0]
	it.ranges = it.ranges[:0]
	it.seek, it.withOwn = base.SeekTrailer(it.seq), false
	if own != nil {
		it.addOwn(own)
	}
	it.addMems()
	n := 0
	for l := range ls {
		for i := range ls[l] {
			run := &it.runs[n]
			n++
			run.Init(ls[l][i].Tables, o, it.upper)
			if ls[l][i].Ranges {
				it.ranges = append(it.ranges, rangeSource{order: len(it.children), run: &ls[l][i]})
			}
			it.children = append(it.children, run)
		}
	}
	it.merged.Init(it.children)
}

// fix fixes the sequence, the time, and the range tombstones of the generations
// that go with it: see rangedel.Set.View.
func (it *Iter) fix(at readstate.Point) {
	it.seq, it.time = at.Seq, at.Time
	for {
		it.views = it.views[:0]
		for i := range 1 + len(it.s.Imm) {
			it.views = append(it.views, it.s.Generation(i).Mem.Ranges(it.k.ID()))
		}
		visible := it.s.Visible()
		if at.Seq > visible {
			it.seq = visible
		}
		if it.viewsCurrent() {
			break
		}
	}
	if it.time == 0 {
		it.time = it.env.Store.ReadTime()
	}
}

func (it *Iter) viewsCurrent() bool {
	for i, v := range it.views {
		if v != it.s.Generation(i).Mem.Ranges(it.k.ID()) {
			return false
		}
	}
	return true
}

// addOwn lists what an open transaction wrote.
func (it *Iter) addOwn(own *writeset.Set) {
	view := own.View(it.k.ID())
	if view == nil && !own.Writes() {
		return
	}
	it.seek, it.withOwn = base.SeekTrailer(base.SeqNumMax), true
	it.refs.Init(own, it.k.ID())
	if view != nil {
		it.ranges = append(it.ranges, rangeSource{order: 0, view: memtable.PlainRanges(view), own: true})
	}
	it.children = append(it.children, &it.refs)
}

// addMems lists the memtables.
func (it *Iter) addMems() {
	it.mems.Reset(it.k.ID(), 1+len(it.s.Imm))
	for i := range 1 + len(it.s.Imm) {
		m := it.s.Generation(i).Mem
		it.addHints(m) // also of an empty one: they are about what is under it
		if child := it.mems.Add(m, it.seq); child != nil {
			it.addRanges(it.views[i], false)
			it.children = append(it.children, child)
		}
	}
}

// addHints lists what is known to be dead in a generation and in all that is
// older, as range tombstones of the next child. What is dead to others may be
// there for a snapshot that keeps a state of its own: a filter took it away.
func (it *Iter) addHints(m *memtable.Memtable) {
	dead, expired := m.Hints(it.k.ID()), m.ExpiredHints(it.k.ID(), it.time)
	if it.hold != nil && it.hold.Apart() { // after the hints: a state is kept before it is replaced
		return
	}
	it.addRanges(dead, false)
	it.addRanges(expired, true)
}

// addRanges lists range tombstones, if there are any, as those of the next child.
func (it *Iter) addRanges(r memtable.Ranges, timed bool) {
	if !r.None() {
		it.ranges = append(it.ranges, rangeSource{order: len(it.children), view: r, timed: timed})
	}
}

// sees reports whether an entry is visible: by its sequence, or because the
// transaction wrote it itself.
func (it *Iter) sees(t base.Trailer) bool {
	return t.Seq() <= it.seq || t.Seq() >= writeset.FirstSeq
}

// ready reports whether a positioning call may go on.
func (it *Iter) ready() bool {
	it.valid = false
	switch {
	case it.env == nil:
		return false
	case it.env.Store.Closed():
		it.err = base.ErrClosed
		return false
	}
	it.isCopy, it.folded = false, 0
	return true
}

// First moves to the first key.
func (it *Iter) First() bool {
	if !it.ready() {
		return false
	}
	it.err = nil
	if it.tracked {
		return it.ahead(it.lower, it.First)
	}
	if it.lower != nil {
		return it.show(it.merged.SeekGE(it.lower, it.seek))
	}
	return it.show(it.merged.First())
}

// SeekGE moves to the first key at or after key.
func (it *Iter) SeekGE(key []byte) bool {
	if !it.ready() {
		return false
	}
	it.err = nil
	key = it.own(key)
	if it.lower != nil && bytes.Compare(key, it.lower) < 0 {
		key = it.lower
	}
	if it.tracked {
		return it.ahead(key, func() bool { return it.SeekGE(it.from) })
	}
	timed := it.env.Store.Seeks.Begin()
	ok := it.show(it.merged.SeekGE(key, it.seek))
	it.env.Store.Seeks.End(timed)
	return ok
}

// Last moves to the last key.
func (it *Iter) Last() bool {
	if !it.ready() {
		return false
	}
	it.err = nil
	if it.tracked {
		return it.back(it.upper, it.upper == nil, it.Last)
	}
	if it.upper != nil {
		return it.showBack(it.merged.SeekLT(it.upper))
	}
	return it.showBack(it.merged.Last())
}

// SeekLT moves to the last key before key.
func (it *Iter) SeekLT(key []byte) bool {
	if !it.ready() {
		return false
	}
	it.err = nil
	key = it.own(key)
	if it.upper != nil && bytes.Compare(key, it.upper) > 0 {
		key = it.upper
	}
	if it.tracked {
		return it.back(key, false, func() bool { return it.SeekLT(it.from) })
	}
	return it.showBack(it.merged.SeekLT(key))
}

// SeekLE moves to the last key at or before key.
func (it *Iter) SeekLE(key []byte) bool {
	return it.SeekLT(append(it.own(key), 0)) // there is no key between
}

// Options are those that the iterator was opened with. They are valid until Close.
func (it *Iter) Options() Options {
	return Options{Lower: it.lower, Upper: it.upper, KeysOnly: it.keysOnly, Bulk: it.bulk, Site: it.pin.Site()}
}

// own copies the target of a seek: it may be what Key or Value returned, a
// view that the first source to move overwrites before the next one looks.
func (it *Iter) own(key []byte) []byte {
	it.target = copyKey(it.target, key)
	return it.target
}

// copyKey copies a key into a buffer. The copy of an empty key is not nil, which
// as an end of a range would mean that there is none.
func copyKey(buf, key []byte) []byte {
	if buf = append(buf[:0], key...); buf == nil {
		buf = []byte{}
	}
	return buf
}

// Next moves to the following key; on an iterator that was never positioned
// it is First.
func (it *Iter) Next() bool {
	if !it.valid || it.tracked {
		return it.nextSlow()
	}
	if it.env.Store.Closed() {
		return it.ready()
	}
	switch {
	case !it.forward:
		// Not a step: going back, a memtable shows one version of a key, and
		// would step to what that lies on.
		return it.showAfter(it.merged.SeekGE(it.keyCopy, 0))
	case it.isCopy:
		return it.showAfter(it.next)
	}
	it.keyCopy = append(it.keyCopy[:0], it.cur.Key...)
	return it.showAfter(it.merged.Next())
}

// nextSlow is Next where nothing is shown, or moves are tracked: after the end
// it stays there, before the beginning it turns around.
func (it *Iter) nextSlow() bool {
	if it.valid {
		return it.ahead(it.Key(), it.Next)
	}
	if !it.ready() || it.err != nil {
		return false
	}
	if it.forward && it.cur == nil && len(it.keyCopy) > 0 {
		return false
	}
	return it.First()
}

// Prev moves to the key before; on an iterator that was never positioned it
// is Last.
func (it *Iter) Prev() bool {
	if !it.valid || it.tracked {
		return it.prevSlow()
	}
	if it.env.Store.Closed() {
		return it.ready()
	}
	switch {
	case !it.forward:
		return it.showBack(it.next)
	case !it.isCopy:
		it.keyCopy = append(it.keyCopy[:0], it.cur.Key...)
	}
	return it.showBack(it.merged.SeekLT(it.keyCopy))
}

func (it *Iter) prevSlow() bool {
	if it.valid {
		return it.back(it.Key(), false, it.Prev)
	}
	if !it.ready() || it.err != nil {
		return false
	}
	if !it.forward {
		return false
	}
	return it.Last()
}

// fail picks up an error of the sources.
func (it *Iter) fail() error {
	if err := it.merged.Err(); err != nil {
		it.err = err
		it.env.Store.Damaged(err)
	}
	return it.err
}

// Valid reports whether a key is shown.
func (it *Iter) Valid() bool { return it.valid }

// Key is the key shown, valid until the next positioning call; nil when there
// is none.
func (it *Iter) Key() []byte {
	switch {
	case !it.valid:
		return nil
	case it.isCopy:
		return it.keyCopy
	}
	return it.cur.Key
}

// Err is what ended the walk early, or nil.
func (it *Iter) Err() error { return it.err }

// Close gives back what the iterator pins. The iterator must not be used
// again; closing it twice is a mistake that is answered with ErrClosed.
func (it *Iter) Close() error {
	if it.env == nil {
		return base.ErrClosed
	}
	err := it.err
	it.tracked = false // as it is too when a tracked move panicked
	if werr := it.walk.Close(); err == nil {
		err = werr
	}
	_ = it.merged.Close()
	s := it.s
	it.env.Pins.Remove(&it.pin)
	if cap(it.fetched) > keepFetched {
		it.fetched = nil
	}
	it.env, it.k, it.s, it.cur, it.next, it.valid, it.err = nil, nil, nil, nil, nil, false, nil
	clear(it.views)
	clear(it.ranges)
	it.hit = hit{}
	_ = it.refs.Close()
	s.LetGo(it.shard)
	iterPool.Put(it)
	return err
}
