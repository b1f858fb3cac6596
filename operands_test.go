package seerdb_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/merger"
	"github.com/seerdb-go/seerdb/observe"
)

// countingMerger counts what it is given.
type countingMerger struct {
	merger.Counter
	operands *atomic.Int64
}

func (m countingMerger) Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	m.operands.Add(int64(len(operands)))
	return m.Counter.Full(dst, key, existing, exists, operands)
}

func (m countingMerger) Partial(dst, key, older, newer []byte) ([]byte, bool, error) {
	m.operands.Add(2)
	return m.Counter.Partial(dst, key, older, newer)
}

// TestOperandsAreMergedOnce: a read of a key with many operands merges those that
// came since the last read, whatever else happens to the key, and is right at each
// moment.
func TestOperandsAreMergedOnce(t *testing.T) {
	const each, rounds = 1000, 30
	var operands atomic.Int64
	r := newRig(t, withMerger(countingMerger{operands: &operands}), func(o *seerdb.Options, to *seerdb.TestOptions) {
		o.MemtableSize, to.ManualOnly, to.FoldFrom = 1<<20, true, 0
	})
	key := []byte("n")
	type past struct {
		s *seerdb.Snapshot
		n int64
	}
	var snaps []past
	n := int64(0)
	read := func(what string, src reader, want int64) (merged int64) {
		t.Helper()
		before := operands.Load()
		v, err := src.AppendGet(nil, key)
		got, cerr := int64(0), error(nil)
		if err == nil {
			got, cerr = merger.Int64(v)
		}
		if err != nil || cerr != nil || got != want {
			t.Fatalf("%s: %d, %v, %v; expected %d", what, got, err, cerr, want)
		}
		return operands.Load() - before
	}
	for round := range rounds {
		for range each {
			must(t, r.db.Merge(key, merger.AppendInt64(nil, 1)))
			n++
		}
		if m := read("first read", r.db, n); m > 5*each {
			t.Errorf("round %d: the first read merged %d, with %d new operands", round, m, each)
		}
		if m := read("second read", r.db, n); m > 2*64 {
			t.Errorf("round %d: the second read merged %d", round, m)
		}
		if round%10 == 5 {
			snaps = append(snaps, past{r.db.NewSnapshot(), n})
		}
		if round%10 == 9 {
			must(t, r.flush())
			read("after a flush", r.db, n)
		}
		for i, p := range snaps {
			read(fmt.Sprintf("snapshot %d", i), p.s, p.n)
		}
	}
	for _, p := range snaps {
		must(t, p.s.Close())
	}
}

// TestOperandsOnOtherThings: what is remembered of a key is not what it was before
// a delete, a put, or the end of a value's life.
func TestOperandsOnOtherThings(t *testing.T) {
	const each = 1000
	r := newRig(t, withMerger(merger.Counter{}), func(o *seerdb.Options, to *seerdb.TestOptions) {
		o.MemtableSize, to.ManualOnly, to.FoldFrom = 1<<20, true, 0
	})
	key := []byte("n")
	read := func() int64 {
		v, err := r.db.Get(key)
		must(t, err)
		n, err := merger.Int64(v)
		must(t, err)
		return n
	}
	add := func(want int64) {
		t.Helper()
		for range each {
			must(t, r.db.Merge(key, merger.AppendInt64(nil, 1)))
		}
		for range 2 {
			if n := read(); n != want {
				t.Fatalf("%d, expected %d", n, want)
			}
		}
	}
	add(each)
	must(t, r.db.Delete(key))
	add(each)
	must(t, r.db.DeleteRange([]byte("a"), []byte("z")))
	add(each)
	must(t, r.db.Put(key, merger.AppendInt64(nil, 7)))
	add(each + 7)
	must(t, r.db.PutTTL(key, merger.AppendInt64(nil, 7), 50*time.Millisecond)) // what lies on it never lasts
	for range each {
		must(t, r.db.Merge(key, merger.AppendInt64(nil, 1)))
	}
	eventually(t, 10*time.Second, "the value under the operands expires", func() bool {
		got := read()
		if got != each && got != each+7 {
			t.Fatalf("%d", got)
		}
		return got == each
	})
}

// TestOperandsOnWhatAFilterTook: what is remembered of a key goes when a filter
// takes away what its operands lie on, and does not come back by a reader that still
// sees that.
func TestOperandsOnWhatAFilterTook(t *testing.T) {
	asked, answer := make(chan bool, 100), make(chan bool)
	r := newRig(t, withMerger(merger.Counter{}), func(o *seerdb.Options, to *seerdb.TestOptions) {
		o.MemtableSize, to.L0Trigger, to.FoldFrom = 1<<20, 2, 1
		o.CompactionFilter = func(key, _ []byte) (seerdb.FilterVerdict, []byte, error) {
			if string(key) != "n" {
				return seerdb.FilterKeep, nil, nil
			}
			asked <- true
			<-answer
			return seerdb.FilterRemove, nil, nil
		}
	})
	key := []byte("n")
	number := func(src reader) int64 {
		t.Helper()
		v, err := src.AppendGet(nil, key)
		must(t, err)
		n, err := merger.Int64(v)
		must(t, err)
		return n
	}
	must(t, r.db.Put(key, merger.AppendInt64(nil, 1000)))
	must(t, r.flush())
	must(t, r.db.Put([]byte("other"), nil))
	must(t, r.flush())
	<-asked
	for range 3 {
		must(t, r.db.Merge(key, merger.AppendInt64(nil, 1)))
	}
	snap := r.db.NewSnapshot()
	if n := number(r.db); n != 1003 {
		t.Fatalf("%d before the filter took effect", n)
	}
	close(answer)
	eventually(t, 10*time.Second, "the filter takes effect", func() bool { return number(r.db) == 3 })
	if n := number(snap); n != 1003 {
		t.Errorf("the snapshot reads %d", n)
	}
	if n := number(r.db); n != 3 {
		t.Errorf("%d after the snapshot was read", n)
	}
	must(t, snap.Close())
}

// TestIteratorsKeepWhatExpiredUnderOperands: to an iterator nothing expires, also when
// the value under a key's operands is gone from the tables, and later reads remember
// the key without it.
func TestIteratorsKeepWhatExpiredUnderOperands(t *testing.T) {
	const operands = 3
	c := newJumpyClock()
	r := newRig(t, withMerger(merger.Counter{}), func(o *seerdb.Options, to *seerdb.TestOptions) {
		o.MemtableSize, to.FoldFrom, to.Clock = 1<<20, 1, c.now
		to.Elapsed = func(time.Time) time.Duration { return time.Duration(c.elapsed.Load()) * time.Millisecond }
	})
	key := []byte("n")
	must(t, r.db.PutTTL(key, merger.AppendInt64(nil, 1000), 2*time.Second))
	must(t, r.flush())
	for range operands {
		must(t, r.db.Merge(key, merger.AppendInt64(nil, 1)))
	}
	it, err := r.db.NewIter(nil)
	must(t, err)
	c.pass(3 * time.Second)
	check := func() {
		t.Helper()
		v, err := r.db.Get(key)
		must(t, err)
		if n, err := merger.Int64(v); err != nil || n != operands {
			t.Fatalf("%d, %v", n, err)
		}
		for _, seek := range []func() bool{func() bool { return it.SeekGE(key) }, func() bool { return it.SeekLT([]byte("o")) }} {
			if !seek() {
				t.Fatal(it.Err())
			}
			if n, err := merger.Int64(it.Value()); err != nil || n != 1000+operands {
				t.Fatalf("the iterator shows %d, %v", n, err)
			}
		}
	}
	eventually(t, 30*time.Second, "the table of what expired is gone", func() bool {
		must(t, r.db.Put([]byte("z"), nil)) // so that compaction looks
		check()
		return !slices.ContainsFunc(r.db.Metrics().Levels, func(l observe.LevelMetrics) bool { return l.Files > 0 })
	})
	check()
	must(t, it.Close())
}

// TestManyKeysWithOperands: more keys than the database remembers, in keyspaces
// that are dropped and come again, read beside goroutines that merge.
func TestManyKeysWithOperands(t *testing.T) {
	r := newRig(t, withMerger(merger.Counter{}))
	const keys, each = 300, 5
	for round := range 3 {
		k, err := r.db.Keyspace("k", &seerdb.KeyspaceOptions{Merger: merger.Counter{}})
		must(t, err)
		for range each {
			for i := range keys {
				must(t, k.Merge(fmt.Appendf(nil, "%d", i), merger.AppendInt64(nil, int64(i))))
			}
			for range keys {
				_, err := k.Get(fmt.Appendf(nil, "%d", rand.IntN(keys)))
				must(t, err)
			}
		}
		for i := range keys {
			v, err := k.Get(fmt.Appendf(nil, "%d", i))
			must(t, err)
			if n, err := merger.Int64(v); err != nil || n != int64(each*i) {
				t.Fatalf("round %d, key %d: %d, %v", round, i, n, err)
			}
		}
		must(t, r.db.DropKeyspace("k"))
	}
}
