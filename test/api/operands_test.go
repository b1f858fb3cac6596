package api

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
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
	r := dbtest.NewRig(t, dbtest.WithMerger(countingMerger{operands: &operands}), func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.MemtableSize, to.ManualOnly, to.FoldFrom = 1<<20, true, 0
	})
	key := []byte("n")
	type past struct {
		s *seerdb.Snapshot
		n int64
	}
	var snaps []past
	n := int64(0)
	read := func(what string, src dbtest.Reader, want int64) (merged int64) {
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
			dbtest.Must(t, r.DB.Merge(key, merger.AppendInt64(nil, 1)))
			n++
		}
		if m := read("first read", r.DB, n); m > 5*each {
			t.Errorf("round %d: the first read merged %d, with %d new operands", round, m, each)
		}
		if m := read("second read", r.DB, n); m > 2*64 {
			t.Errorf("round %d: the second read merged %d", round, m)
		}
		if round%10 == 5 {
			snaps = append(snaps, past{r.DB.NewSnapshot(), n})
		}
		if round%10 == 9 {
			dbtest.Must(t, r.Flush())
			read("after a flush", r.DB, n)
		}
		for i, p := range snaps {
			read(fmt.Sprintf("snapshot %d", i), p.s, p.n)
		}
	}
	for _, p := range snaps {
		dbtest.Must(t, p.s.Close())
	}
}

// TestOperandsOnOtherThings: what is remembered of a key is not what it was before
// a delete, a put, or the end of a value's life.
func TestOperandsOnOtherThings(t *testing.T) {
	const each = 1000
	r := dbtest.NewRig(t, dbtest.WithMerger(merger.Counter{}), func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.MemtableSize, to.ManualOnly, to.FoldFrom = 1<<20, true, 0
	})
	key := []byte("n")
	read := func() int64 {
		v, err := r.DB.Get(key)
		dbtest.Must(t, err)
		n, err := merger.Int64(v)
		dbtest.Must(t, err)
		return n
	}
	add := func(want int64) {
		t.Helper()
		for range each {
			dbtest.Must(t, r.DB.Merge(key, merger.AppendInt64(nil, 1)))
		}
		for range 2 {
			if n := read(); n != want {
				t.Fatalf("%d, expected %d", n, want)
			}
		}
	}
	add(each)
	dbtest.Must(t, r.DB.Delete(key))
	add(each)
	dbtest.Must(t, r.DB.DeleteRange([]byte("a"), []byte("z")))
	add(each)
	dbtest.Must(t, r.DB.Put(key, merger.AppendInt64(nil, 7)))
	add(each + 7)
	dbtest.Must(t, r.DB.PutTTL(key, merger.AppendInt64(nil, 7), 50*time.Millisecond)) // what lies on it never lasts
	for range each {
		dbtest.Must(t, r.DB.Merge(key, merger.AppendInt64(nil, 1)))
	}
	dbtest.Eventually(t, 10*time.Second, "the value under the operands expires", func() bool {
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
	r := dbtest.NewRig(t, dbtest.WithMerger(merger.Counter{}), func(o *seerdb.Options, to *dbtest.TestOptions) {
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
	number := func(src dbtest.Reader) int64 {
		t.Helper()
		v, err := src.AppendGet(nil, key)
		dbtest.Must(t, err)
		n, err := merger.Int64(v)
		dbtest.Must(t, err)
		return n
	}
	dbtest.Must(t, r.DB.Put(key, merger.AppendInt64(nil, 1000)))
	dbtest.Must(t, r.Flush())
	dbtest.Must(t, r.DB.Put([]byte("other"), nil))
	dbtest.Must(t, r.Flush())
	<-asked
	for range 3 {
		dbtest.Must(t, r.DB.Merge(key, merger.AppendInt64(nil, 1)))
	}
	snap := r.DB.NewSnapshot()
	if n := number(r.DB); n != 1003 {
		t.Fatalf("%d before the filter took effect", n)
	}
	close(answer)
	dbtest.Eventually(t, 10*time.Second, "the filter takes effect", func() bool { return number(r.DB) == 3 })
	if n := number(snap); n != 1003 {
		t.Errorf("the snapshot reads %d", n)
	}
	if n := number(r.DB); n != 3 {
		t.Errorf("%d after the snapshot was read", n)
	}
	dbtest.Must(t, snap.Close())
}

// TestIteratorsKeepWhatExpiredUnderOperands: to an iterator nothing expires, also when
// the value under a key's operands is gone from the tables, and later reads remember
// the key without it.
func TestIteratorsKeepWhatExpiredUnderOperands(t *testing.T) {
	const operands = 3
	c := newJumpyClock()
	r := dbtest.NewRig(t, dbtest.WithMerger(merger.Counter{}), func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.MemtableSize, to.FoldFrom, to.Clock = 1<<20, 1, c.now
		to.Elapsed = func(time.Time) time.Duration { return time.Duration(c.elapsed.Load()) * time.Millisecond }
	})
	key := []byte("n")
	dbtest.Must(t, r.DB.PutTTL(key, merger.AppendInt64(nil, 1000), 2*time.Second))
	dbtest.Must(t, r.Flush())
	for range operands {
		dbtest.Must(t, r.DB.Merge(key, merger.AppendInt64(nil, 1)))
	}
	it, err := r.DB.NewIter(nil)
	dbtest.Must(t, err)
	c.pass(3 * time.Second)
	check := func() {
		t.Helper()
		v, err := r.DB.Get(key)
		dbtest.Must(t, err)
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
	dbtest.Eventually(t, 30*time.Second, "the table of what expired is gone", func() bool {
		dbtest.Must(t, r.DB.Put([]byte("z"), nil)) // so that compaction looks
		check()
		return !slices.ContainsFunc(r.DB.Metrics().Levels, func(l observe.LevelMetrics) bool { return l.Files > 0 })
	})
	check()
	dbtest.Must(t, it.Close())
}

// TestManyKeysWithOperands: more keys than the database remembers, in keyspaces
// that are dropped and come again, read beside goroutines that merge.
func TestManyKeysWithOperands(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.WithMerger(merger.Counter{}))
	const keys, each = 300, 5
	for round := range 3 {
		k, err := r.DB.Keyspace("k", &seerdb.KeyspaceOptions{Merger: merger.Counter{}})
		dbtest.Must(t, err)
		for range each {
			for i := range keys {
				dbtest.Must(t, k.Merge(fmt.Appendf(nil, "%d", i), merger.AppendInt64(nil, int64(i))))
			}
			for range keys {
				_, err := k.Get(fmt.Appendf(nil, "%d", rand.IntN(keys)))
				dbtest.Must(t, err)
			}
		}
		for i := range keys {
			v, err := k.Get(fmt.Appendf(nil, "%d", i))
			dbtest.Must(t, err)
			if n, err := merger.Int64(v); err != nil || n != int64(each*i) {
				t.Fatalf("round %d, key %d: %d, %v", round, i, n, err)
			}
		}
		dbtest.Must(t, r.DB.DropKeyspace("k"))
	}
}
