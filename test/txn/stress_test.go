package txn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// stressAccounts is how many accounts there are in each of two keyspaces.
const stressAccounts = 12

// TestTxnStress runs everything at once: transfers between accounts in two
// keyspaces, counters by every kind of read-modify-write, audits, plain writes,
// flushes, compactions, keyspaces that come and go, and in the end Close in the
// middle of it. No update is lost, and the sum of the accounts never changes.
func TestTxnStress(t *testing.T) {
	for i, budget := range []int64{64 << 10, 1 << 20} {
		t.Run(fmt.Sprint(budget), func(t *testing.T) { txnStress(t, budget, []seerdb.Durability{seerdb.Sync, seerdb.Relaxed}[i]) })
	}
}

type txnStresser struct {
	t       *testing.T
	db      *seerdb.DB
	other   *seerdb.Keyspace
	stop    atomic.Bool
	counted atomic.Int64 // increments that were acknowledged
	unsure  atomic.Int64 // that ended with Close
	sums    atomic.Int64
}

func txnStress(t *testing.T, budget int64, d seerdb.Durability) {
	fs := memfs.New()
	options := func() *seerdb.Options {
		o := dbtest.SmallOn(fs, d)
		o.MemoryBudget = budget
		return o
	}
	db, err := seerdb.Open("db", options())
	dbtest.Must(t, err)
	other, err := db.Keyspace("other", nil)
	dbtest.Must(t, err)
	for i := range stressAccounts {
		dbtest.Must(t, db.Put(account(i), []byte("100")))
		dbtest.Must(t, other.Put(account(i), []byte("100")))
	}
	s := &txnStresser{t: t, db: db, other: other}
	var wg sync.WaitGroup
	for _, f := range []func(*rand.Rand) error{
		s.transfer, s.transfer, s.increment, s.increment, s.audit, s.plain, s.plainRanges, s.maintain, s.spaces, s.forgetful,
	} {
		rng := rand.New(rand.NewPCG(rand.Uint64(), 1))
		wg.Go(func() {
			for !s.stop.Load() {
				if err := f(rng); err != nil {
					if !errors.Is(err, seerdb.ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	time.Sleep(1500 * time.Millisecond)
	_ = db.Close() // names what is open
	s.stop.Store(true)
	wg.Wait()
	db = dbtest.Open(t, "db", options())
	s.db = db
	s.other, err = db.Keyspace("other", nil)
	dbtest.Must(t, err)
	dbtest.Must(t, s.audit(nil))
	n := 0
	if v, err := db.Get([]byte("counter")); err == nil {
		n, _ = strconv.Atoi(string(v))
	}
	if low := s.counted.Load(); int64(n) < low || int64(n) > low+s.unsure.Load() {
		t.Errorf("the counter is %d; %d increments were acknowledged, %d may or may not have happened", n, low, s.unsure.Load())
	}
	t.Logf("%d increments, %d audits", n, s.sums.Load())
}

func account(i int) []byte { return fmt.Appendf(nil, "account%02d", i) }

// transfer moves money from one account to another, of either keyspace.
func (s *txnStresser) transfer(rng *rand.Rand) error {
	err := s.db.Update(context.Background(), func(x *seerdb.Txn) error {
		a, b := x.In(s.other), x.In(s.other)
		from, to := rng.IntN(2*stressAccounts), rng.IntN(2*stressAccounts)
		get := func(i int) (int, error) {
			if i < stressAccounts {
				v, err := x.Get(account(i))
				n, _ := strconv.Atoi(string(v))
				return n, err
			}
			v, err := a.Get(account(i - stressAccounts))
			n, _ := strconv.Atoi(string(v))
			return n, err
		}
		put := func(i, n int) error {
			if i < stressAccounts {
				return x.Put(account(i), strconv.AppendInt(nil, int64(n), 10))
			}
			return b.Put(account(i-stressAccounts), strconv.AppendInt(nil, int64(n), 10))
		}
		n, err := get(from)
		if err != nil {
			return err
		}
		if err := put(from, n-1); err != nil {
			return err
		}
		if rng.IntN(4) == 0 { // by way of a savepoint
			p := x.Savepoint()
			if err := errors.Join(put(to, -1), x.RollbackTo(p)); err != nil {
				return err
			}
		}
		m, err := get(to)
		if err != nil {
			return err
		}
		return put(to, m+1)
	})
	if errors.Is(err, seerdb.ErrConflict) {
		err = nil
	}
	return err
}

func (s *txnStresser) increment(rng *rand.Rand) error {
	key := []byte("counter")
	done, err := true, error(nil)
	if rng.IntN(2) == 0 {
		level := &seerdb.TxnOptions{Isolation: seerdb.Isolation(rng.IntN(2))}
		err = s.db.UpdateWith(context.Background(), level, func(x *seerdb.Txn) error {
			v, err := x.Get(key)
			if err != nil && !errors.Is(err, seerdb.ErrNotFound) {
				return err
			}
			n, _ := strconv.Atoi(string(v))
			return x.Put(key, strconv.AppendInt(nil, int64(n)+1, 10))
		})
	} else {
		var v []byte
		if v, err = s.db.Get(key); err == nil || errors.Is(err, seerdb.ErrNotFound) {
			n, _ := strconv.Atoi(string(v))
			done, err = s.db.CompareAndSwap(key, v, strconv.AppendInt(nil, int64(n)+1, 10))
		}
	}
	switch {
	case errors.Is(err, seerdb.ErrConflict):
		return nil
	case err != nil:
		s.unsure.Add(1)
	case done:
		s.counted.Add(1)
	}
	return err
}

// audit adds up all accounts, in a snapshot or in a transaction that writes
// down what it saw.
func (s *txnStresser) audit(rng *rand.Rand) error {
	sum := 0
	add := func(rows *seerdb.Rows) error {
		for _, v := range rows.All() {
			n, err := strconv.Atoi(string(v))
			if err != nil {
				return err
			}
			sum += n
		}
		return rows.Err()
	}
	var err error
	if rng != nil && rng.IntN(2) == 0 {
		err = s.db.Update(context.Background(), func(x *seerdb.Txn) error {
			sum = 0
			if err := errors.Join(add(x.Prefix([]byte("account"))), add(x.In(s.other).Prefix([]byte("account")))); err != nil {
				return err
			}
			return x.Put([]byte("sum"), nil)
		})
	} else {
		err = s.db.View(func(n *seerdb.Snapshot) error {
			return errors.Join(add(n.Prefix([]byte("account"))), add(n.In(s.other).Prefix([]byte("account"))))
		})
	}
	if errors.Is(err, seerdb.ErrConflict) {
		return nil
	}
	if err == nil && sum != 2*100*stressAccounts {
		err = fmt.Errorf("the accounts hold %d", sum)
	}
	s.sums.Add(1)
	return err
}

func (s *txnStresser) plain(rng *rand.Rand) error {
	b := s.db.NewBatch()
	for range 1 + rng.IntN(20) {
		key := fmt.Appendf(nil, "plain%03d", rng.IntN(300))
		if err := errors.Join(b.Put(key, make([]byte, rng.IntN(200))), b.In(s.other).Put(key, nil)); err != nil {
			return err
		}
	}
	return s.db.Apply(b, seerdb.DefaultDurability)
}

func (s *txnStresser) plainRanges(rng *rand.Rand) error {
	lo := rng.IntN(300)
	return s.db.DeleteRange(fmt.Appendf(nil, "plain%03d", lo), fmt.Appendf(nil, "plain%03d", lo+rng.IntN(20)))
}

func (s *txnStresser) maintain(rng *rand.Rand) error {
	time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
	if rng.IntN(3) > 0 {
		return s.db.Flush(context.Background())
	}
	err := errors.Join(s.db.Compact(context.Background(), nil, nil), s.other.Compact(context.Background(), nil, nil))
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// spaces creates a keyspace, writes to it in a transaction, and drops it under
// another one.
func (s *txnStresser) spaces(rng *rand.Rand) error {
	name := fmt.Sprint("space", rng.IntN(2))
	k, err := s.db.Keyspace(name, nil)
	if err != nil {
		return err
	}
	write := func(x *seerdb.Txn) error {
		_, err := x.In(k).Get([]byte("k"))
		if err != nil && !errors.Is(err, seerdb.ErrNotFound) {
			return err
		}
		return errors.Join(x.In(k).Put([]byte("k"), nil), x.Put([]byte("last"), []byte(name)))
	}
	if err := s.db.Update(context.Background(), write); err != nil && !errors.Is(err, seerdb.ErrConflict) {
		return err
	}
	x, err := s.db.Begin(nil)
	if err != nil {
		return err
	}
	defer x.Rollback()
	it, err := x.In(k).NewIter(nil)
	if err != nil {
		return err
	}
	defer it.Close()
	if err := write(x); err != nil {
		return err
	}
	if err := s.db.DropKeyspace(name); err != nil {
		return err
	}
	it.First()
	if err := x.Commit(); err == nil {
		return errors.New("committed to a keyspace that was dropped")
	} else if !errors.Is(err, seerdb.ErrNoKeyspace) && !errors.Is(err, seerdb.ErrConflict) {
		return err
	}
	return nil
}

// forgetful keeps transactions and their iterators open for a while, uses the
// iterators after the end, and is caught by Close with some open.
func (s *txnStresser) forgetful(rng *rand.Rand) error {
	x, err := s.db.Begin(&seerdb.TxnOptions{Isolation: seerdb.Isolation(rng.IntN(2)), ReadOnly: rng.IntN(4) == 0})
	if err != nil {
		return err
	}
	_ = x.DeleteRange([]byte("forgotten"), []byte("forgotten~"))
	for i := range 20 {
		_ = x.Put(fmt.Appendf(nil, "forgotten%d", i), make([]byte, 100))
	}
	it, err := x.NewIter(nil)
	if err != nil {
		return err
	}
	for range rng.IntN(200) {
		if rng.IntN(2) == 0 {
			it.Next()
		} else {
			it.SeekLT(fmt.Appendf(nil, "plain%03d", rng.IntN(300)))
		}
		_ = len(it.Key()) + len(it.Value())
	}
	time.Sleep(time.Duration(rng.IntN(4)) * time.Millisecond)
	if rng.IntN(2) == 0 {
		err = x.Commit()
	} else {
		x.Rollback()
	}
	it.Next()
	_ = len(it.Key()) + len(it.Value())
	_ = it.Close()
	if errors.Is(err, seerdb.ErrConflict) || errors.Is(err, seerdb.ErrTxnTooLarge) {
		err = nil
	}
	return err
}
