package cost

// This file holds what iterators remember of the dead keys they stepped over:
// from either end, deleted or expired, and only for reads that may use it.

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func hintKey(i int) []byte { return fmt.Appendf(nil, "q%08d", i) }

// hintRig is a database without compactions, so that nothing but hints spares
// the way, and with a clock that tells what now holds.
func hintRig(t *testing.T, now *atomic.Int64) *dbtest.Rig {
	return dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.MemtableSize, o.MemoryBudget, o.Durability = 64<<20, 256<<20, seerdb.NoWAL
		to.DeadMin, to.BaseLevel = 0, 1<<30
		to.Clock = func() time.Time { return time.UnixMilli(now.Load()) }
	})
}

// edges are the first key forward and backward, and how long each took to find.
func edges(t *testing.T, q dbtest.Tree) (first, last string, forward, backward time.Duration) {
	t.Helper()
	it, err := q.NewIter(nil)
	dbtest.Must(t, err)
	begin := time.Now()
	if it.First() {
		first = string(it.Key())
	}
	forward = time.Since(begin)
	dbtest.Must(t, it.Close())
	it, err = q.NewIter(nil)
	dbtest.Must(t, err)
	begin = time.Now()
	if it.Last() {
		last = string(it.Key())
	}
	backward = time.Since(begin)
	dbtest.Must(t, it.Close())
	return first, last, forward, backward
}

// A stack pops at its end: what was popped is not stepped over at each pop.
func TestStacksAreNotScannedFromTheirEnd(t *testing.T) {
	now := new(atomic.Int64)
	now.Store(1_700_000_000_000)
	r := hintRig(t, now)
	k, err := r.DB.Keyspace("another stack", nil)
	dbtest.Must(t, err)
	const n = 30_000
	for _, flush := range []bool{false, true} {
		for _, q := range []dbtest.Tree{r.DB, k} {
			for i := range n {
				dbtest.Must(t, q.Put(hintKey(i), nil))
			}
			if flush {
				dbtest.Must(t, r.Flush())
			}
			for i := n / 2; i < n; i++ {
				dbtest.Must(t, q.Delete(hintKey(i)))
			}
			_, last, _, begin := edges(t, q)
			later := time.Duration(1 << 62)
			for range 5 {
				var d time.Duration
				_, last, _, d = edges(t, q)
				later = min(later, d)
			}
			if last != string(hintKey(n/2-1)) {
				t.Fatalf("flushed %v: the top of the stack is %q", flush, last)
			}
			if later > begin/10 {
				t.Errorf("flushed %v: the first look at the top took %v, later ones %v", flush, begin, later)
			}
			// And it goes on popping right, over the hints that it leaves.
			for i := n/2 - 1; i > n/2-1000; i-- {
				if _, last, _, _ := edges(t, q); last != string(hintKey(i)) {
					t.Fatalf("flushed %v: %q instead of %q is on top", flush, last, hintKey(i))
				}
				dbtest.Must(t, q.Delete(hintKey(i)))
			}
			dbtest.Must(t, q.Put(hintKey(n-5), nil)) // newer than the hints over it
			if _, last, _, _ := edges(t, q); last != string(hintKey(n-5)) {
				t.Fatalf("flushed %v: %q instead of what was pushed is on top", flush, last)
			}
		}
	}
}

// Rows that expired are stepped over once, from either end; a read at an earlier
// time still sees all of them, and a later put is found among them.
func TestExpiredRowsAreSteppedOverOnce(t *testing.T) {
	now := new(atomic.Int64)
	now.Store(1_700_000_000_000)
	r := hintRig(t, now)
	k, err := r.DB.Keyspace("another", nil)
	dbtest.Must(t, err)
	const n = 20_000
	for _, flush := range []bool{false, true} {
		for _, q := range []interface {
			dbtest.Tree
			PutTTL(key, value []byte, d time.Duration) error
		}{r.DB, k} {
			for i := range n {
				if i == n/2 {
					dbtest.Must(t, q.Put(hintKey(i), nil))
				} else {
					dbtest.Must(t, q.PutTTL(hintKey(i), nil, time.Duration(1000+i)*time.Millisecond))
				}
			}
			if flush {
				dbtest.Must(t, r.Flush())
			}
			snapshot := r.DB.NewSnapshot()
			early := snapshot.NewIter
			if q != any(r.DB) {
				early = snapshot.In(k).NewIter
			}
			now.Add(int64(2 * n))
			_, _, f1, b1 := edges(t, q)
			var first, last string
			f2, b2 := time.Duration(1<<62), time.Duration(1<<62)
			for range 5 {
				var f, b time.Duration
				first, last, f, b = edges(t, q)
				f2, b2 = min(f2, f), min(b2, b)
			}
			if alive := string(hintKey(n / 2)); first != alive || last != alive {
				t.Fatalf("flushed %v: from %q to %q; only %q lives", flush, first, last, alive)
			}
			if f2 > f1/10 || b2 > b1/10 {
				t.Errorf("flushed %v: forward %v, then %v; backward %v, then %v", flush, f1, f2, b1, b2)
			}
			it, err := early(nil)
			dbtest.Must(t, err)
			if seen := countAll(it); seen != n {
				t.Errorf("flushed %v: a snapshot from before they expired sees %d rows of %d", flush, seen, n)
			}
			dbtest.Must(t, it.Close())
			dbtest.Must(t, snapshot.Close())
			dbtest.Must(t, q.PutTTL(hintKey(7), nil, time.Hour))
			dbtest.Must(t, q.Put(hintKey(n-7), nil))
			if first, last, _, _ := edges(t, q); first != string(hintKey(7)) || last != string(hintKey(n-7)) {
				t.Fatalf("flushed %v: from %q to %q after two puts", flush, first, last)
			}
			dbtest.Must(t, q.Delete(hintKey(7)))
			dbtest.Must(t, q.Delete(hintKey(n-7)))
			dbtest.Must(t, q.Delete(hintKey(n/2)))
			if first, last, _, _ := edges(t, q); first != "" || last != "" {
				t.Fatalf("flushed %v: %q and %q live", flush, first, last)
			}
		}
	}
}

// countAll counts what an iterator shows, forward and backward.
func countAll(it *seerdb.Iter) int {
	n, back := 0, 0
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	for ok := it.Last(); ok; ok = it.Prev() {
		back++
	}
	if n != back {
		return -1
	}
	return n
}
