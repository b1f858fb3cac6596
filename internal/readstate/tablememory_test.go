package readstate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/observe"
)

// oneTable makes a store with one table, which has a filter that can be left out, and
// opens that.
func oneTable(t *testing.T) (*readstatetest.Rig, *readstate.Table) {
	r := newRig(t, readstatetest.Options{Budget: 8 << 20, FilterBits: 10})
	r.Commit(func(b *batch.Batch) {
		for i := range 10_000 {
			if err := b.Put(0, fmt.Appendf(nil, "%05d", i), nil); err != nil {
				t.Fatal(err)
			}
		}
	})
	r.Rotate()
	r.Flush()
	tab := onlyTable(r)
	rd, err := tab.Use()
	if err != nil {
		t.Fatal(err)
	}
	if rd.FilterBytes() == 0 || rd.FilterLeftOut() {
		t.Fatal("there is no filter that could be left out")
	}
	if err := rd.Close(); err != nil {
		t.Fatal(err)
	}
	return r, tab
}

// TestFoundMemoryStaysForTheRead: memory that a point read found is freed once that read,
// and the reads that began before it, have ended, and not earlier.
func TestFoundMemoryStaysForTheRead(t *testing.T) {
	for _, closed := range []bool{false, true} { // the filter goes, or the whole table
		rig, tab := oneTable(t)
		st := rig.Store
		r := tab.Reader()
		all, rest := rig.Cache.Charged(cache.Tables), int64(0)
		room := r.MemBytes() / 2
		if !closed {
			rest, room = r.MemBytes(), r.MemBytes()+r.FilterBytes()/2
		}
		older, oldShard := st.Acquire()
		st.Renew()
		s, shard := st.Acquire()
		kept, keptShard := st.Keep() // as an iterator keeps it that stands nowhere
		others := st.LookBesides(room)
		all, rest = all+others, rest+others
		if s == st.Current() || rig.Cache.Charged(cache.Tables) != all || st.Live() != rest {
			t.Fatalf("%d of %d bytes are charged, want %d", st.Live(), rig.Cache.Charged(cache.Tables), rest)
		}
		if (tab.Reader() == nil) != closed || !closed && !r.FilterLeftOut() {
			t.Fatal("nothing was taken out")
		}
		var res sstable.Result
		if ok, err := r.Get([]byte("00007"), base.SeqNumMax, &res); err != nil || !ok || !r.MayContain(base.Hash([]byte("00007"))) {
			t.Fatal(ok, err)
		}
		res.Release()
		s.Release(shard)
		if rig.Cache.Charged(cache.Tables) != all {
			t.Fatal("memory was freed before an older read ended")
		}
		older.Release(oldShard)
		if got := rig.Cache.Charged(cache.Tables); got != rest || st.Dying() != 0 {
			t.Fatalf("%d bytes are charged after the reads, want %d; %d are dying", got, rest, st.Dying())
		}
		kept.LetGo(keptShard)
		rig.Cache.Charge(cache.Tables, -others)
		if closed { // a new reader: the pages are still known
			iterKeepsTable(rig, tab, r)
		}
		rig.Close()
		if n, reads := st.Left(); n != 0 || reads || rig.Cache.Charged(cache.Tables) != 0 {
			t.Errorf("after Close: %d lifetimes, %d bytes", n, rig.Cache.Charged(cache.Tables))
		}
	}
}

// iterKeepsTable opens a table again, whose reader was before, by an iterator, which
// keeps it in memory.
func iterKeepsTable(rig *readstatetest.Rig, tab *readstate.Table, before *sstable.Reader) {
	rig.Helper()
	s, shard := rig.Store.Keep()
	defer s.LetGo(shard)
	it := new(readstate.RunIter)
	it.Init(s.Levels(0)[0][0].Tables, sstable.IterOptions{}, nil)
	if kv := it.SeekGE([]byte("00007"), base.TrailerMax); kv == nil || string(kv.Key) != "00007" {
		rig.Fatal(it.Err())
	}
	if tab.Reader() == nil || tab.Reader() == before || tab.Reader().FileID() != before.FileID() {
		rig.Fatal("the table was not opened again under its name")
	}
	others := rig.Store.LookBesides(0)
	if tab.Reader() == nil {
		rig.Fatal("a table in which an iterator stands was taken out")
	}
	rig.Cache.Charge(cache.Tables, -others)
	rig.Check(it.Close())
}

// TestReadsWaitForRoom: a read that needs a table while memory is short waits until a look
// has made room, but does not wait if no room can be made.
func TestReadsWaitForRoom(t *testing.T) {
	rig, tab := oneTable(t)
	st := rig.Store
	others := st.LookBesides(-st.Slack() - 1)
	if tab.Reader() != nil {
		t.Fatal("the table was not taken out")
	}
	st.TryAgain()
	if !st.Crowded() {
		t.Fatal("memory is not crowded")
	}
	if _, err := tab.Open(false); err != readstate.ErrCrowded {
		t.Fatal(err)
	}
	gets := st.Gets().Count
	f, err := read(st, 0, "00007", readstate.Newest)
	if err != nil || f.out != readstate.Plain || len(f.value) != 0 {
		t.Fatal(f, err)
	}
	if n := st.Gets().Count - gets; n != 1 {
		t.Errorf("one read counts as %d", n)
	}
	st.Look() // takes the table out, if none did before
	st.Look()
	if !st.Stuck() || st.Crowded() {
		t.Error("reads wait for what cannot be taken out")
	}
	least := readstate.Patience
	for range 10 {
		st.TryAgain()
		begin := time.Now()
		st.WaitForRoom()
		least = min(least, time.Since(begin))
	}
	if least > readstate.Patience/2 {
		t.Errorf("a read waits for %v until it is found that nothing can be taken out", least)
	}
	rig.Cache.Charge(cache.Tables, -others)
	rig.Close()
}

// TestWaitingEndsWithTheDatabase: where memory is crowded no read waits for a database
// that is closing.
func TestWaitingEndsWithTheDatabase(t *testing.T) {
	rig, _ := oneTable(t)
	rig.Store.LookBesides(-rig.Store.Slack() - 1)
	rig.Close()
	least := readstate.Patience
	for range 10 {
		rig.Store.TryAgain()
		begin := time.Now()
		rig.Store.WaitForRoom()
		least = min(least, time.Since(begin))
	}
	if !rig.Store.Crowded() || least > readstate.Patience/2 {
		t.Errorf("a read waits for %v", least)
	}
}

// filtered puts n keys, each a multiple of step, into a table of a level, and opens it.
func filtered(r *readstatetest.Rig, level, n, step int) *readstate.Table {
	r.Helper()
	m := r.AddTable(level, func(w *sstable.Writer) {
		for i := range n {
			r.Check(w.Add(fmt.Appendf(nil, "%06d", i*step), base.MakeTrailer(base.SeqNum(n), base.KindPut), []byte("v")))
		}
	}, nil)
	tab := r.Store.Table(m.Num)
	rd, err := tab.Use()
	r.Check(err)
	r.Check(rd.Close())
	return tab
}

// TestFiltersOfSmallRunsStay: where memory is short the filter of the larger run goes,
// reads that miss it are counted, and it comes back when there is room, unless it is
// damaged.
func TestFiltersOfSmallRunsStay(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		r := newRig(t, readstatetest.Options{Budget: 1 << 20, Memtable: 64 << 10, FilterBits: 10})
		r.Seq = 100_000
		r.Publish()
		large, small := filtered(r, 1, 60_000, 2), filtered(r, 0, 30_000, 4)
		if msg := r.Store.Unfiltered(); msg != "" {
			t.Fatal(msg)
		}
		l, s := large.Reader(), small.Reader()
		// Either filter fits, and not both.
		others := r.Store.LookBesides(l.MemBytes() + s.MemBytes() + l.FilterBytes() + r.Store.Slack() + 100)
		if !l.FilterLeftOut() || s.FilterLeftOut() {
			t.Fatalf("left out: the filter of 60,000 keys %v, of 30,000 %v", l.FilterLeftOut(), s.FilterLeftOut())
		}
		m := observe.Metrics{Levels: make([]observe.LevelMetrics, base.NumLevels)}
		r.Store.Current().TableMetrics(&m)
		if f := m.Memory; f.Filters != s.FilterBytes() || f.FiltersLeftOut != 1 || f.FilterBytesLeftOut != l.FilterBytes() {
			t.Errorf("metrics of filters: %+v", f)
		}
		if msg := r.Store.Unfiltered(); !strings.Contains(msg, "filters of 1 open tables, "+fmt.Sprint(l.FilterBytes())+" bytes") {
			t.Errorf("message: %q", msg)
		}
		want(r, "000001", readstate.Newest, "")
		var level observe.LevelMetrics
		if r.Store.LevelReads(1, &level); level.UnfilteredReads != 1 || level.FilterFalsePositives != 0 {
			t.Errorf("a read without a filter counts as %+v", level)
		}
		if damaged {
			rule := r.FS.Inject(faultfs.Rule{Op: faultfs.OpRead, Path: large.Meta.FileName(), Flip: true})
			r.Cache.Charge(cache.Tables, -others)
			r.Store.Look()
			wantDamage(r, r.Damage()[0], large.Meta.FileName(), false)
			n := rule.Count()
			want(r, "000002", readstate.Newest, "v")
			r.Store.Look()
			if n == 0 || rule.Count() > n {
				t.Errorf("a damaged filter is read again: %d reads, then %d", n, rule.Count())
			}
			continue
		}
		r.Cache.Charge(cache.Tables, -others)
		r.Store.Look()
		if l.FilterLeftOut() || r.Store.Unfiltered() != "" {
			t.Error("the filter does not come back")
		}
	}
}

// TestMemtablesSqueezeTables: memtables take memory from tables, up to a limit, and tables
// come back into memory when they are read.
func TestMemtablesSqueezeTables(t *testing.T) {
	r := newRig(t, readstatetest.Options{Budget: 1 << 20, Memtable: 128 << 10, FilterBits: 10})
	r.Seq = 100_000
	r.Publish()
	filtered(r, 1, 100_000, 1)
	if n := r.Cache.Charged(cache.Tables); n <= 1<<20/16 {
		t.Fatalf("tables take %d bytes", n)
	}
	before := r.Store.TablesLimit()
	for range 8 {
		r.Rotate()
	}
	if limit := r.Store.TablesLimit(); limit != 1<<20/16 || before <= limit {
		t.Errorf("tables may take %d bytes beside memtables of the whole budget, %d before", limit, before)
	}
	for range 100 { // a look follows by itself
		if r.Cache.Charged(cache.Tables) <= r.Store.TablesLimit() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := r.Cache.Charged(cache.Tables); n > r.Store.TablesLimit() {
		t.Errorf("tables take %d bytes, and may take %d", n, r.Store.TablesLimit())
	}
	if f, err := read(r.Store, 0, "000007", readstate.Newest); err != nil || f.out != readstate.Plain {
		t.Error(f, err)
	}
}
