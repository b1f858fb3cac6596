package readstate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
)

// TestVisibility: a read sees what was published when it began, and a snapshot what was
// when it was taken, whatever was applied since.
func TestVisibility(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	r.Put("a", "1")
	at := r.Store.Snapshots.Take(new(readstate.Hold))
	defer r.Store.Snapshots.Drop(at)
	var b batch.Batch
	r.Check(b.Put(0, []byte("a"), []byte("2")))
	r.Apply(&b)
	want(r, "a", readstate.Newest, "1")
	want(r, "a", readstate.Point{Seq: r.Seq}, "1")
	r.Publish()
	want(r, "a", readstate.Newest, "2")
	want(r, "a", readstate.Point{Seq: r.Seq}, "2")
	want(r, "a", at, "1")
	want(r, "a", readstate.Point{}, "")
}

// TestFilesStayForTheirStates: a file is removed when no State names it any more, whether
// a point read or something longer holds that, and not before.
func TestFilesStayForTheirStates(t *testing.T) {
	for _, packed := range []bool{false, true} {
		r := newRig(t, readstatetest.Options{Packed: packed, ValuesFrom: 10})
		long := strings.Repeat("v", 20)
		r.Commit(func(b *batch.Batch) {
			for ks := range uint32(2) {
				r.Check(b.Put(ks, []byte("a"), []byte("short")))
				r.Check(b.Put(ks, []byte("b"), []byte(long)))
			}
		})
		r.Rotate()
		r.Flush()
		first, shard := r.Store.Acquire()
		kept, keptShard := r.Store.Keep()
		again, againShard := kept, keptShard
		again.KeepAgain(againShard)
		var names []string
		for _, tab := range kept.Tables() {
			names = append(names, tab.Meta.FileName())
		}
		r.Put("a", "new", "b", "new")
		r.Rotate()
		r.Flush()
		r.Compact(0, 0, 1)
		for i, release := range []func(){func() { first.Release(shard) }, func() { kept.LetGo(keptShard) }, func() { again.LetGo(againShard) }} {
			if n := r.Removed(); slices.Contains(n, names[0]) {
				t.Fatalf("%v were removed while %d hold a State that names %s", n, 3-i, names[0])
			}
			if tab := kept.Tables()[0]; r.Store.Table(tab.Meta.Num) != tab || r.Store.Names(base.FileTypeTable, tab.Meta.Num) == packed {
				t.Fatal("the table that a State names is not known, or as the name of another file")
			}
			v, err := kept.AppendValue(nil, pointerOf(r, kept.Tables()[0], "b"), []byte("b"))
			if err != nil || string(v) != long {
				t.Fatalf("the value is %q %v", v, err)
			}
			release()
		}
		num := kept.Tables()[0].Meta
		switch n := r.Removed(); {
		case packed && (slices.Contains(n, names[0]) || !r.Store.Names(base.FileTypePack, num.Pack) || r.Store.Names(base.FileTypeTable, num.Num)):
			t.Errorf("%v were removed, of a pack in which a table is left", n)
		case !packed && (!slices.Contains(n, names[0]) || r.Store.Names(base.FileTypeTable, num.Num)):
			t.Errorf("%v were removed, and not %s", n, names[0])
		}
		r.Compact(1, 0, 1) // keyspace 1 goes on to new files too
		if n := r.Removed(); !slices.Contains(n, names[1]) || packed && r.Store.Names(base.FileTypePack, num.Pack) {
			t.Errorf("%v were removed, and not %s", n, names[1])
		}
		for _, f := range r.Version.Values {
			if !r.Store.Names(base.FileTypeValues, f.Num) {
				t.Errorf("value file %d is not known", f.Num)
			}
		}
		if r.Store.Names(base.FileTypeLog, 1) || r.Store.Names(base.FileTypeValues, 1<<40) {
			t.Error("files that are not there are known")
		}
		left := r.Store.Current().Tables()
		removed := r.Removed()
		r.Close()
		for _, tab := range left {
			if slices.Contains(r.Removed(), tab.Meta.FileName()) {
				t.Errorf("Close removes %s", tab.Meta.FileName())
			}
		}
		if n := r.Removed(); len(n) != len(removed) {
			t.Errorf("Close removes files: %v, before %v", n, removed)
		}
	}
}

// pointerOf is the pointer that a table has for a key.
func pointerOf(r *readstatetest.Rig, tab *readstate.Table, key string) []byte {
	r.Helper()
	rd, err := tab.Use()
	r.Check(err)
	it := newIter(rd)
	kv := it.SeekGE([]byte(key), base.TrailerMax)
	if kv == nil || kv.Trailer.Kind() != base.KindPutPointer {
		r.Fatalf("the table has %v for %q", kv, key)
	}
	p := slices.Clone(kv.Value)
	r.Check(it.Close())
	r.Check(rd.Close())
	return p
}

// TestValueFilesGoWithTheirTables: a value file goes with the last State in which a table
// refers to it.
func TestValueFilesGoWithTheirTables(t *testing.T) {
	r := newRig(t, readstatetest.Options{ValuesFrom: 10})
	flushed(r, "a", strings.Repeat("v", 20))
	s, shard := r.Store.Keep()
	name := base.FileName(base.FileTypeValues, r.Version.SortedValues()[0].Num)
	if n := s.ValueBytes(); n != int64(r.Version.SortedValues()[0].Size) {
		t.Errorf("value files have %d bytes", n)
	}
	flushed(r, "a", "short")
	r.Compact(0, 0, 1)
	if len(r.Version.Values) != 0 || slices.Contains(r.Removed(), name) {
		t.Fatalf("%v were removed", r.Removed())
	}
	s.LetGo(shard)
	if !slices.Contains(r.Removed(), name) {
		t.Fatalf("%v were removed, and not %s", r.Removed(), name)
	}
}

// TestMemtablesStayForTheirStates: a memtable is freed when no State names it.
func TestMemtablesStayForTheirStates(t *testing.T) {
	const size = 64 << 10
	r := newRig(t, readstatetest.Options{Memtable: size})
	memtables := func(n int64) {
		t.Helper()
		if got := r.Cache.Charged(cache.Memtables); got != max(n, 2)*size {
			t.Errorf("the budget is charged for %d memtables, want %d", got/size, n)
		}
	}
	r.Put("a", "1")
	memtables(1)
	for range 3 {
		r.Rotate()
	}
	memtables(4)
	read, shard := r.Store.Acquire()
	kept, keptShard := r.Store.Keep()
	r.Flush()
	memtables(4)
	read.Release(shard)
	memtables(4)
	if s := kept; len(s.Generations()) != 4 || s.Oldest() != s.Generation(3) || s.Generation(0) != s.Active {
		t.Error("the generations are not those that were")
	}
	it := kept.Oldest().Mem.AllIter(0)
	if kv := it.First(); kv == nil || string(kv.Value) != "1" {
		t.Error("a kept State has lost what was in its memtables")
	}
	r.Check(it.Close())
	kept.LetGo(keptShard)
	memtables(1)
	if s := r.Store.Current(); s.Oldest() != s.Active || len(s.Generations()) != 1 {
		t.Error("flushed generations stay")
	}
}

// TestQuietStates: what was taken out of memory is freed once all point reads that began
// before have ended, in whatever order; later reads and kept states do not delay it.
func TestQuietStates(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	var freed []int
	wait := func(i int) {
		if !r.Store.OnQuiet(func() { freed = append(freed, i) }) {
			t.Fatal("there is no State to wait for")
		}
	}
	check := func(want ...int) {
		t.Helper()
		if !slices.Equal(freed, want) {
			t.Fatalf("%v are freed, want %v", freed, want)
		}
	}
	kept, keptShard := r.Store.Keep()
	first, shard0 := r.Store.Acquire()
	r.Store.Renew()
	second, shard1 := r.Store.Acquire()
	wait(1)
	check()
	r.Store.Renew()
	third, shard2 := r.Store.Acquire() // begins after what 1 waits for
	check()
	second.Release(shard1)
	check() // the first is older
	wait(2)
	r.Store.Renew()
	first.Release(shard0)
	check(1) // though the first State is still kept, and the third read
	third.Release(shard2)
	check(1, 2)
	kept.LetGo(keptShard)
	wait(3)
	wait(4)
	check(1, 2)
	r.Store.Renew()
	check(1, 2, 3, 4)
	r.Close()
	if n, reads := r.Store.Left(); n != 0 || reads || r.Store.OnQuiet(func() {}) {
		t.Errorf("after Close %d hold the memory; reads %v", n, reads)
	}
}

// TestReadsAreHeldBeforeALoad: what follows a load in a new generation is not read before
// the first table of the load is there, or the load has failed.
func TestReadsAreHeldBeforeALoad(t *testing.T) {
	for _, comes := range []bool{true, false} {
		r := newRig(t, readstatetest.Options{})
		r.Put("a", "old")
		end := r.Seq + 10
		r.Store.HoldReads(r.Seq+1, end, 1) // the rig numbers its first table so
		want(r, "a", readstate.Newest, "old")
		r.Rotate()
		if after := r.Store.Current().Active.After; after != end {
			t.Errorf("the new generation begins after %d, want %d", after, end)
		}
		r.Seq = end
		r.Put("a", "new")
		s, shard := r.Store.Keep()
		if want(r, "a", readstate.Newest, "old"); s.Visible() != end-10 {
			t.Errorf("%d is visible before the load", s.Visible())
		}
		if comes {
			r.Flush() // as if that were the load
			want(r, "a", readstate.Newest, "new")
		}
		r.Store.LetReads()
		want(r, "a", readstate.Newest, "new")
		if s.Visible() != end-10 {
			t.Errorf("the State that was held shows %d", s.Visible())
		}
		s.LetGo(shard)
		cur := r.Store.Current()
		if r.Store.LetReads(); r.Store.Current() != cur {
			t.Error("a new State is made though nothing was held")
		}
	}
}

// TestCloseLetsReadersGoOn: after Close no read begins, and those that began before find
// what they would have found.
func TestCloseLetsReadersGoOn(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	tab := flushed(r, "a", "1")
	var q readstate.Query
	if !q.Begin(r.Store, 0, []byte("a"), readstate.Newest, false) {
		t.Fatal("there is no State")
	}
	kept, shard := r.Store.Keep()
	rd, err := tab.Use()
	r.Check(err)
	at := r.Store.Snapshots.Take(new(readstate.Hold))
	if r.Store.Closed() {
		t.Error("it is closed")
	}
	r.Close()
	if s, _ := r.Store.Keep(); s != nil || r.Store.Current() != nil || !r.Store.Closed() || r.Store.Renew() || r.Store.Unfiltered() != "" {
		t.Error("there is a State after Close")
	}
	if s, _ := r.Store.KeepAt(at); s != nil {
		t.Error("a snapshot has a State after Close")
	}
	r.Store.LetReads()
	r.Store.Look()
	r.Store.Close()()
	if _, err := read(r.Store, 0, "a", at); err != base.ErrClosed {
		t.Errorf("a read after Close: %v", err)
	}
	if out, err := q.Get(); err != nil || out != readstate.Plain || string(q.Value) != "1" {
		t.Errorf("a read that began before Close: %d %q %v", out, q.Value, err)
	}
	q.Done()
	if kv := newIter(rd).First(); kv == nil || string(kv.Value) != "1" {
		t.Errorf("an iterator that began before Close: %v", kv)
	}
	r.Check(rd.Close())
	if n, _ := r.Store.Left(); n == 0 {
		t.Error("memory is given back while a State is kept")
	}
	kept.LetGo(shard)
	if n, _ := r.Store.Left(); n != 0 {
		t.Errorf("%d hold the memory", n)
	}
}

// upcase is a filter that changes every value.
func upcase(_, value []byte) (compaction.FilterVerdict, []byte, error) {
	return compaction.FilterChange, []byte(strings.ToUpper(string(value))), nil
}

// TestSnapshotsReadBesideAFilter: snapshots that were open when a filter took effect go on
// reading what was there, until they are dropped; later ones read what the filter made.
func TestSnapshotsReadBesideAFilter(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	name := flushed(r, "a", "x").Meta.FileName()
	before := r.Store.Snapshots.Take(new(readstate.Hold))
	also := r.Store.Snapshots.Take(new(readstate.Hold))
	if before.Hold.Apart() {
		t.Error("a snapshot is apart before any filter")
	}
	r.Filter = upcase
	r.Compact(0, 0, 1)
	between := r.Store.Snapshots.Take(new(readstate.Hold))
	r.Filter = func(_, value []byte) (compaction.FilterVerdict, []byte, error) {
		return compaction.FilterChange, append(value, '!'), nil
	}
	r.Compact(0, 1, 2)
	for _, c := range []struct {
		at    readstate.Point
		value string
		apart bool
	}{{before, "x", true}, {also, "x", true}, {between, "X", true}, {readstate.Newest, "X!", false}} {
		want(r, "a", c.at, c.value)
		s, shard := r.Store.KeepAt(c.at)
		if apart := s != r.Store.Current(); apart != c.apart || c.at.Hold != nil && c.at.Hold.Apart() != apart {
			t.Errorf("%q is read apart: %v", c.value, apart)
		}
		s.LetGo(shard)
	}
	if got := r.Store.Current().Filters; got != 2 {
		t.Errorf("%d filters took effect", got)
	}
	s, shard := r.Store.KeepAt(before)
	r.Store.Snapshots.Drop(before)
	r.Store.Snapshots.Drop(also)
	if slices.Contains(r.Removed(), name) {
		t.Errorf("%s was removed while its State is kept", name)
	}
	s.LetGo(shard)
	if !slices.Contains(r.Removed(), name) {
		t.Errorf("%s is left", name)
	}
	want(r, "a", between, "X")
	r.Store.Snapshots.Drop(between)
}

// TestSnapshotsAreAMultiset: each snapshot counts for itself, what jobs must keep is what
// open ones see, and an old one keeps filters from being asked.
func TestSnapshotsAreAMultiset(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	snaps := &r.Store.Snapshots
	stripes := func(want ...base.SeqNum) {
		t.Helper()
		if got := snaps.Stripes(); !slices.Equal(got, want) {
			t.Errorf("stripes %v, want %v", got, want)
		}
		n, oldest := snaps.Summary()
		if len(want) > 1 && (n == 0 || oldest != want[0]) {
			t.Errorf("%d snapshots, the oldest at %d, want %d", n, oldest, want[0])
		}
	}
	stripes(0)
	r.Put("a", "1")
	a, b := snaps.Take(new(readstate.Hold)), snaps.Take(new(readstate.Hold))
	r.Put("a", "2")
	c := snaps.Take(new(readstate.Hold))
	r.Put("a", "3")
	stripes(1, 2, 3)
	snaps.Drop(a)
	stripes(1, 2, 3)
	snaps.Drop(c)
	stripes(1, 3)
	snaps.Drop(b)
	c = snaps.Take(new(readstate.Hold))
	stripes(3)
	if !snaps.Patient() {
		t.Error("a new snapshot counts as old")
	}
	snaps.AgeSnapshots()
	if snaps.Patient() {
		t.Error("an old snapshot does not keep filters from being asked")
	}
	snaps.Drop(c)
	if n, _ := snaps.Summary(); n != 0 || !snaps.Patient() {
		t.Errorf("%d snapshots are open", n)
	}
}

// TestSnapshotsKeepTheirTime: what has expired goes when it has for every open snapshot.
func TestSnapshotsKeepTheirTime(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	snaps := &r.Store.Snapshots
	early := snaps.Take(new(readstate.Hold))
	if early.Time != 0 || snaps.Expired() != 0 {
		t.Errorf("nothing expires, and the time is %d", early.Time)
	}
	expiry := r.Time() + 1000
	r.Commit(func(b *batch.Batch) { r.Check(b.PutTTL(0, []byte("a"), []byte("1"), expiry)) })
	r.Clock.Now()
	at := snaps.Take(new(readstate.Hold))
	r.SetTime(expiry)
	r.Clock.Now()
	later := snaps.Take(new(readstate.Hold))
	want(r, "a", readstate.Newest, "")
	want(r, "a", at, "1")
	want(r, "a", later, "")
	if got := snaps.Expired(); got != expiry-1000 {
		t.Errorf("what expired by %d may go, and a snapshot is at %d", got, expiry-1000)
	}
	snaps.Drop(at)
	if got := snaps.Expired(); got != expiry {
		t.Errorf("what expired by %d may go, want %d", got, expiry)
	}
	snaps.Drop(later)
	snaps.Drop(early)
}

// TestRangeDeletesThatComeBetween: a read whose sequence was chosen before a range was
// deleted, twice, does not find what an older range tombstone hides, which the newer ones
// have replaced.
func TestRangeDeletesThatComeBetween(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	deleteAll := func() {
		r.Commit(func(b *batch.Batch) { r.Check(b.DeleteRange(0, []byte("a"), []byte("z"))) })
	}
	r.Put("k", "old")
	for range 10 { // more generations than there is room for without allocating
		r.Rotate()
	}
	deleteAll()
	var q readstate.Query
	if !q.Begin(r.Store, 0, []byte("k"), readstate.Newest, false) {
		t.Fatal("there is no State")
	}
	out, err := q.GetBesides(func() { deleteAll(); deleteAll(); deleteAll() })
	if err != nil || out != readstate.Absent {
		t.Errorf("a key that was deleted is found: %d %q %v", out, q.Value, err)
	}
	q.Done()
}

// TestTreesAreShared: a State lists the trees of its version, and those in which nothing
// changed are the same in the next.
func TestTreesAreShared(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	put := func(keyspaces ...uint32) {
		r.Commit(func(b *batch.Batch) {
			for _, ks := range keyspaces {
				r.Check(b.Put(ks, []byte("a"), []byte("1")))
			}
		})
		r.Rotate()
		r.Flush()
	}
	trees := func(want string) (all []*readstate.Levels) {
		t.Helper()
		got := ""
		r.Store.Current().EachTree(func(ks uint32, ls *readstate.Levels) {
			got += fmt.Sprintf("%d:%d ", ks, len(ls[0])+len(ls[1]))
			if r.Store.Current().Levels(ks) != ls {
				t.Errorf("keyspace %d has two trees", ks)
			}
			all = append(all, ls)
		})
		if got != want || r.Store.Current().Version() != r.Version {
			t.Errorf("trees %s, want %s", got, want)
		}
		return all
	}
	trees("")
	put(3, 5, 9)
	a := trees("3:1 5:1 9:1 ")
	put(0, 5)
	b := trees("0:1 3:1 5:2 9:1 ")
	if a[0] != b[1] || a[1] == b[2] || a[2] != b[3] {
		t.Error("trees are made anew though nothing changed, or not though something did")
	}
	if ls := r.Store.Current().Levels(4); len(ls[0]) != 0 {
		t.Error("a keyspace without tables has some")
	}
	r.Compact(5, 0, 1)
	if c := trees("0:1 3:1 5:1 9:1 "); c[0] != b[0] || c[1] != b[1] {
		t.Error("trees are made anew though nothing changed")
	}
}
