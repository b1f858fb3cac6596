package txn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestTransactionsShareNoMemory: transactions reuse the memory of earlier ones. No
// transaction is affected by another: by uses of one that is over, by iterators that
// outlive it, or by a goroutine that ends it in the middle of a call.
func TestTransactionsShareNoMemory(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Relaxed))
	c := &dbtest.Crowd{TB: t}
	const workers, rounds = 4, 300
	done := make([]map[string]string, workers)
	for g := range workers {
		done[g] = map[string]string{}
		c.Workers.Go(func() {
			w := poolWorker{c: c, db: db, rng: rand.New(rand.NewPCG(uint64(g), 1)), prefix: fmt.Sprintf("w%d/", g), wrote: done[g]}
			for i := 0; i < rounds && !t.Failed(); i++ {
				w.round(i)
			}
			w.closeIters(0)
		})
	}
	c.Workers.Wait()
	want := map[string]string{}
	for _, m := range done {
		for k, v := range m {
			want[k] = v
		}
	}
	n := 0
	for k, v := range db.Range(nil, nil).All() {
		if n++; want[string(k)] != string(v) {
			t.Fatalf("%q is %q, and %q was committed", k, v, want[string(k)])
		}
	}
	if n != len(want) || n < workers*rounds/2 {
		t.Fatalf("%d rows, and %d were committed", n, len(want))
	}
}

// poolWorker runs transactions on its own keys.
type poolWorker struct {
	c      *dbtest.Crowd
	db     *seerdb.DB
	rng    *rand.Rand
	prefix string
	wrote  map[string]string // what was committed
	iters  []poolIter
}

// poolIter is an iterator of a transaction that is over, and the keys of that transaction
// that it shows.
type poolIter struct {
	it     *seerdb.Iter
	prefix string
	want   []string
}

func (w *poolWorker) round(i int) {
	t, err := w.db.Begin(&seerdb.TxnOptions{Isolation: seerdb.Isolation(w.rng.IntN(2))})
	if !w.c.OK(err) {
		return
	}
	prefix := fmt.Sprintf("%s%04d/", w.prefix, i)
	rows, want := map[string]string{}, []string(nil)
	for k := range 1 + w.rng.IntN(6) {
		key, value := fmt.Sprintf("%s%d", prefix, k), strings.Repeat(fmt.Sprintf("%s%d;", prefix, k), 1+w.rng.IntN(8))
		w.c.OK(t.Put([]byte(key), []byte(value)))
		rows[key], want = value, append(want, key+"="+value)
	}
	if w.rng.IntN(3) == 0 {
		it, err := t.NewIter(&seerdb.IterOptions{LowerBound: []byte(prefix), UpperBound: []byte(prefix + "~")})
		if w.c.OK(err) {
			w.iters = append(w.iters, poolIter{it, prefix, want})
		}
	}
	switch w.rng.IntN(4) {
	case 0:
		t.Rollback()
	case 1:
		w.endMeanwhile(t, prefix)
	default:
		if w.c.OK(t.Commit()) {
			for k, v := range rows {
				w.wrote[k] = v
			}
		}
	}
	w.stale(t, prefix)
	w.closeIters(3)
}

// endMeanwhile has another goroutine roll the transaction back while it is used.
func (w *poolWorker) endMeanwhile(t *seerdb.Txn, prefix string) {
	ended := make(chan struct{})
	go func() { t.Rollback(); close(ended) }()
	for i := range 20 {
		key := fmt.Appendf(nil, "%slate%d", prefix, i)
		if err := t.Put(key, key); err != nil && !errors.Is(err, seerdb.ErrTxnDone) {
			w.c.Error(err)
		}
		if v, err := t.Get(key); err == nil && string(v) != string(key) || err != nil && !errors.Is(err, seerdb.ErrTxnDone) {
			w.c.Errorf("%q is %q, %v", key, v, err)
		}
	}
	<-ended
}

// stale uses a transaction that is over in every way.
func (w *poolWorker) stale(t *seerdb.Txn, prefix string) {
	key := []byte(prefix + "stale")
	_, err := t.Get(key)
	errs := []error{err, t.Put(key, key), t.Delete(key), t.RollbackTo(t.Savepoint()), t.Commit(), t.CommitContext(context.Background())}
	if _, err = t.NewIter(nil); err == nil {
		w.c.Error("an iterator of a transaction that is over")
	}
	t.Rollback()
	for i, err := range append(errs, err) {
		if !errors.Is(err, seerdb.ErrTxnDone) {
			w.c.Errorf("use %d of a transaction that is over: %v", i, err)
		}
	}
}

// closeIters checks what the oldest iterators show, and closes them.
func (w *poolWorker) closeIters(keep int) {
	for ; len(w.iters) > keep; w.iters = w.iters[1:] {
		p, i := w.iters[0], 0
		for ok := p.it.First(); ok; ok = p.it.Next() {
			if got := fmt.Sprintf("%s=%s", p.it.Key(), p.it.Value()); i >= len(p.want) || got != p.want[i] {
				w.c.Errorf("row %d of the iterator of %s is %.80q", i, p.prefix, got)
			}
			i++
		}
		if err := p.it.Close(); errors.Is(err, seerdb.ErrTxnDone) {
			continue // serializable: it cannot say any more what it read
		} else if w.c.OK(err); i != len(p.want) {
			w.c.Errorf("the iterator of %s shows %d rows of %d", p.prefix, i, len(p.want))
		}
	}
}
