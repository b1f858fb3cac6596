package txn

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestFilterGetsItsTurn: beside clients whose short transactions overlap, so that
// there is never a moment without one, the filter does its work; and no
// transaction sees it happen.
func TestFilterGetsItsTurn(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.With(seerdb.Options{Durability: seerdb.NoWAL, MemtableSize: 64 << 10, TableSize: 32 << 10,
		CompactionFilter: func(_, value []byte) (seerdb.FilterVerdict, []byte, error) {
			if value[0] == 'X' {
				return seerdb.FilterRemove, nil, nil
			}
			return seerdb.FilterKeep, nil, nil
		}}, dbtest.TestOptions{FS: memfs.New(), DeadMin: 4}))
	const n = 2000
	for i := range n {
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%06d", i), fmt.Appendf(nil, "%c%100d", "XK"[i%2], i)))
		if i%3 == 0 { // tombstones among them, over which iterators leave hints
			dbtest.Must(t, db.Delete(fmt.Appendf(nil, "key%06d", i)))
		}
	}
	rows := func(s interface {
		Range(lo, hi []byte) *seerdb.Rows
	}) (n int) {
		for range s.Range(nil, nil).Keys() {
			n++
		}
		return n
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	begun := make(chan bool, 100)
	for w := range 4 {
		wg.Go(func() {
			for !stop.Load() {
				x, err := db.Begin(&seerdb.TxnOptions{ReadOnly: true})
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case begun <- true:
				default:
				}
				key := fmt.Appendf(nil, "key%06d", 2*w)
				had, err := x.Has(key)
				before := rows(x)
				time.Sleep(time.Duration(1+w) * time.Millisecond)
				has, err2 := x.Has(key)
				if after := rows(x); before != after || had != has || err != nil || err2 != nil {
					t.Errorf("%d rows and then %d, there %v and then %v: %v, %v", before, after, had, has, err, err2)
				}
				x.Rollback()
			}
		})
	}
	for range 4 {
		<-begun
	}
	snap := db.NewSnapshot()
	all := rows(snap)
	for range 2 {
		dbtest.Must(t, db.Compact(context.Background(), nil, nil))
	}
	if left, want := rows(db), n/2-n/6; left > want+1 {
		t.Errorf("%d rows are left after two compactions, want %d", left, want)
	}
	if now := rows(snap); now != all {
		t.Errorf("a snapshot of %d rows shows %d", all, now)
	}
	stop.Store(true)
	wg.Wait()
	dbtest.Must(t, snap.Close())
	dbtest.Must(t, db.Close())
}
