package dbiter

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/merger"
)

// TestScansBesideChanges: beside commits that replace all rows, one after the other by
// range deletes and by tombstones, and beside switches, flushes and compactions, an
// iterator shows the rows of one commit, as long as it is open.
func TestScansBesideChanges(t *testing.T) {
	const width = 12
	r := newRig(t, readstatetest.Options{Memtable: 4 << 20, ValuesFrom: 20, TableSize: 1000})
	r.merger = merger.Append{Sep: "+"}
	write := func(n int) {
		r.Commit(func(b *batch.Batch) {
			if n%2 == 0 {
				r.Check(b.DeleteRange(0, []byte("k"), []byte("l")))
			} else {
				for i := range 100 {
					r.Check(b.Delete(0, fmt.Appendf(nil, "k%02d", i)))
				}
			}
			for i := range width {
				key := fmt.Appendf(nil, "k%02d", (7*n+i*8)%100)
				r.Check(b.Put(0, key, fmt.Appendf(nil, "%0*d", 1+30*(i%2), n)))
				if i%3 == 0 {
					r.Check(b.Merge(0, key, fmt.Append(nil, n)))
				}
			}
		})
	}
	write(1)
	var stop atomic.Bool
	var wg sync.WaitGroup
	var walks atomic.Int64
	for reader := range 3 {
		wg.Go(func() {
			for seed := reader; !stop.Load(); seed++ {
				s, shard := r.Store.Keep()
				it := New(&r.env, space{r, 0}, s, shard, Options{}, readstate.Newest, nil)
				var first []string
				for again := range 3 {
					got, err := rows(it, (seed+again)%2 == 0)
					if again == 0 {
						first = got
						checkOneCommit(t, got, width)
					}
					if err != nil || fmt.Sprint(got) != fmt.Sprint(first) {
						t.Errorf("error %v, shows %q, then %q", err, first, got)
						stop.Store(true)
					}
				}
				if err := it.Close(); err != nil {
					t.Error(err)
				}
				walks.Add(1)
			}
		})
	}
	for n := 2; n < rounds(100, 1000) || walks.Load() < 20 && !t.Failed(); n++ {
		write(n)
		switch {
		case n%16 == 0:
			r.flush()
			if n%64 == 0 {
				r.Compact(0, 0, 1)
			}
		case n%8 == 0:
			r.Rotate()
		}
	}
	stop.Store(true)
	wg.Wait()
}

// checkOneCommit checks that rows are all those of one commit.
func checkOneCommit(t *testing.T, rows []string, width int) {
	number := func(row string) (n int) {
		_, value, _ := strings.Cut(row, "=")
		_, _ = fmt.Sscanf(value, "%d", &n)
		return n
	}
	if len(rows) != width {
		t.Errorf("shows %d rows: %q", len(rows), rows)
		return
	}
	n := number(rows[0])
	want := map[string]bool{}
	for i := range width {
		v := fmt.Sprintf("%0*d", 1+30*(i%2), n)
		if i%3 == 0 {
			v = fmt.Sprint(v, "+", n)
		}
		want[fmt.Sprintf("k%02d=%s", (7*n+i*8)%100, v)] = true
	}
	for _, row := range rows {
		if !want[row] {
			t.Errorf("commit %d has no row %q", n, row)
		}
	}
}

// TestUnpublished: what is applied and not visible yet is not shown, nor a range delete.
func TestUnpublished(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	r.Put("a", "1", "b", "2")
	var b batch.Batch
	r.Check(b.Put(0, []byte("a"), []byte("3")))
	r.Check(b.Put(0, []byte("c"), []byte("4")))
	r.Check(b.DeleteRange(0, []byte("b"), nil))
	r.Apply(&b)
	old := r.newest()
	high := r.open(0, Options{}, point(base.SeqNumMax-1, 0), nil)
	r.Publish()
	r.wants(old, "a=1", "b=2")
	r.wants(high, "a=1", "b=2")
	r.wants(r.newest(), "a=3")
}

// TestListed: an iterator is listed, and charged for what it holds, until it is closed;
// the buffer of a large value grows that, and is not kept for the next iterator.
func TestListed(t *testing.T) {
	r := newRig(t, readstatetest.Options{ValuesFrom: 1000})
	large := make([]byte, 2*keepFetched)
	r.Commit(func(b *batch.Batch) { r.Check(b.Put(0, []byte("a"), large)) })
	r.flush()
	it := r.newest()
	if n, size := r.pins.Iterators(), r.pins.IterBytes(); n != 1 || size == 0 {
		t.Errorf("%d iterators with %d bytes are listed", n, size)
	}
	if !it.First() || len(it.Value()) != len(large) {
		t.Error(it.Err())
	}
	if n := r.pins.IterBytes(); n < int64(len(large)) {
		t.Errorf("a buffer of %d bytes is charged with %d", len(large), n)
	}
	r.Check(it.Close())
	if cap(it.fetched) > keepFetched {
		t.Errorf("a closed iterator keeps %d bytes", cap(it.fetched))
	}
}
