package sequence_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/sequence"
)

var key = []byte("ids")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, dir string) *seerdb.DB {
	t.Helper()
	db, err := seerdb.Open(dir, &seerdb.Options{MemoryBudget: 16 << 20, Durability: seerdb.Buffered})
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func begin(t testing.TB, store sequence.Store, lease uint64) *sequence.Sequence {
	t.Helper()
	s, err := sequence.New(store, key, lease)
	must(t, err)
	return s
}

// next takes numbers and compares them.
func next(t testing.TB, s *sequence.Sequence, want ...uint64) {
	t.Helper()
	for _, w := range want {
		if n, err := s.Next(); n != w || err != nil {
			t.Fatalf("%d, %v; want %d", n, err, w)
		}
	}
}

// stored returns the number under the key, or 0 if there is none.
func stored(t testing.TB, store sequence.Store) uint64 {
	t.Helper()
	v, err := store.Get(key)
	if errors.Is(err, seerdb.ErrNotFound) {
		return 0
	}
	must(t, err)
	if len(v) != 8 {
		t.Fatalf("%x", v)
	}
	return binary.BigEndian.Uint64(v)
}

// TestNext: numbers begin at 1 and grow by 1; only leases are written, and each
// tree has numbers of its own.
func TestNext(t *testing.T) {
	db := open(t, t.TempDir())
	k, err := db.Keyspace("k", nil)
	must(t, err)
	for _, store := range []sequence.Store{db, k} {
		name := slices.Clone(key)
		s, err := sequence.New(store, name, 3)
		must(t, err)
		clear(name) // it is the caller's
		if n := stored(t, store); n != 0 {
			t.Fatalf("a new sequence wrote %d", n)
		}
		before := db.VisibleSeq()
		next(t, s, 1, 2, 3)
		if n, seq := stored(t, store), db.VisibleSeq(); n != 4 || seq != before+1 {
			t.Fatalf("%d is stored, after %d commits", n, seq-before)
		}
		next(t, s, 4)
		if n := stored(t, store); n != 7 {
			t.Fatalf("%d is stored", n)
		}
	}
}

// TestReopen: numbers go on where leases end after a Close, and after a kill,
// with a gap of less than a lease; what a kill leaves is a copy of the directory.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	s := begin(t, db, 10)
	next(t, s, 1, 2, 3)
	killed := filepath.Join(t.TempDir(), "db")
	must(t, os.CopyFS(killed, os.DirFS(dir)))
	next(t, begin(t, open(t, killed), 5), 11, 12, 13, 14, 15, 16)
	must(t, db.Close())
	next(t, s, 4, 5) // of the lease
	db = open(t, dir)
	next(t, begin(t, db, 1), 11, 12)
	next(t, s, 6, 7, 8, 9, 10)
	if n, err := s.Next(); n != 0 || !errors.Is(err, seerdb.ErrClosed) {
		t.Fatalf("of a database that is closed: %d, %v", n, err)
	}
}

// TestRelease: what is left of a lease is given back if none was taken since,
// and is never given by both.
func TestRelease(t *testing.T) {
	db := open(t, t.TempDir())
	a, b := begin(t, db, 10), begin(t, db, 10)
	must(t, a.Release()) // there is none
	if n := stored(t, db); n != 0 {
		t.Fatalf("%d is stored", n)
	}
	next(t, a, 1, 2)
	must(t, a.Release())
	must(t, a.Release())
	next(t, b, 3, 4)
	next(t, a, 13)
	must(t, b.Release()) // a took one since
	next(t, b, 23)
	must(t, b.Release())
	must(t, a.Release()) // b did, and gave not all back
	next(t, a, 24)
	next(t, b, 34)
	must(t, b.Release())
	must(t, a.Release())
	if n := stored(t, db); n != 35 {
		t.Fatalf("%d is stored", n)
	}
}

// TestConcurrent: several sequences with small leases, each used by several goroutines and
// released now and then, return no number twice. Each goroutine sees growing numbers, and
// all numbers are below the stored one.
func TestConcurrent(t *testing.T) {
	db := open(t, t.TempDir())
	var mu sync.Mutex
	given := map[uint64]int{}
	var wg sync.WaitGroup
	for i := range 4 {
		s := begin(t, db, uint64(1+i))
		for j := range 3 {
			wg.Go(func() {
				var mine []uint64
				for n := range 150 {
					id, err := s.Next()
					if err != nil {
						t.Error(err)
						return
					}
					if mine = append(mine, id); j == 0 && n%7 == 0 {
						if err := s.Release(); err != nil {
							t.Error(err)
						}
					}
				}
				mu.Lock()
				defer mu.Unlock()
				for n, id := range mine {
					given[id]++
					if n > 0 && id <= mine[n-1] {
						t.Errorf("%d after %d", id, mine[n-1])
					}
				}
			})
		}
	}
	wg.Wait()
	end := stored(t, db)
	for id, n := range given {
		if n != 1 || id >= end || id == 0 {
			t.Errorf("%d was given %d times; %d is stored", id, n, end)
		}
	}
	if len(given) != 4*3*150 {
		t.Errorf("%d numbers", len(given))
	}
}

// TestUsedUp: the last number is given once, by a lease that is short.
func TestUsedUp(t *testing.T) {
	db := open(t, t.TempDir())
	must(t, db.Put(key, binary.BigEndian.AppendUint64(nil, math.MaxUint64-3)))
	s := begin(t, db, 1<<63)
	next(t, s, math.MaxUint64-3, math.MaxUint64-2, math.MaxUint64-1)
	for _, s := range []*sequence.Sequence{s, begin(t, db, 1)} {
		for range 2 {
			if n, err := s.Next(); n != 0 || !errors.Is(err, sequence.ErrUsedUp) || !strings.Contains(err.Error(), `"ids"`) {
				t.Fatalf("%d, %v", n, err)
			}
		}
	}
	if n := stored(t, db); n != math.MaxUint64 {
		t.Fatalf("%d is stored", n)
	}
}

// TestRefusals: invalid arguments are refused, and nothing is written.
func TestRefusals(t *testing.T) {
	db := open(t, t.TempDir())
	if _, err := sequence.New(db, key, 0); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Errorf("a lease of 0: %v", err)
	}
	if _, err := sequence.New(nil, key, 1); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Errorf("no store: %v", err)
	}
	if _, err := sequence.New(db, make([]byte, seerdb.MaxKeySize+1), 1); !errors.Is(err, seerdb.ErrKeyTooLarge) {
		t.Errorf("a long key: %v", err)
	}
	s := begin(t, db, 1)
	next(t, s, 1)
	for _, v := range []string{"", "7", "1234567", "123456789"} {
		must(t, db.Put(key, []byte(v)))
		_, err := sequence.New(db, key, 1)
		n, err2 := s.Next()
		for _, err := range []error{err, err2} {
			if n != 0 || !errors.Is(err, sequence.ErrForm) || !strings.Contains(err.Error(), `"ids"`) {
				t.Errorf("%q: %d, %v", v, n, err)
			}
		}
		if got, err := db.Get(key); err != nil || string(got) != v {
			t.Errorf("%q became %q, %v", v, got, err)
		}
	}
	must(t, db.Delete(key))
	must(t, db.Close())
	if _, err := sequence.New(db, key, 1); !errors.Is(err, seerdb.ErrClosed) {
		t.Errorf("a database that is closed: %v", err)
	}
}

// TestExpires: a key that will be forgotten gives no number, since the numbers
// would begin anew, and one that is refused is left as it is.
func TestExpires(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	k, err := db.Keyspace("k", nil)
	must(t, err)
	if n, err := begin(t, k, 1).Next(); n != 1 || err != nil {
		t.Fatalf("without a TTL: %d, %v", n, err)
	}
	must(t, db.Close())
	db = open(t, dir)
	k, err = db.Keyspace("k", &seerdb.KeyspaceOptions{TTL: time.Millisecond})
	must(t, err)
	if _, err := sequence.New(k, key, 1); !errors.Is(err, seerdb.ErrInvalidOptions) || !strings.Contains(err.Error(), "TTL") {
		t.Errorf("with a TTL: %v", err)
	}
	must(t, db.Close())
	time.Sleep(5 * time.Millisecond)
	db = open(t, dir)
	k, err = db.Keyspace("k", nil)
	must(t, err)
	if n, err := begin(t, k, 1).Next(); n != 2 || err != nil {
		t.Errorf("without a TTL again: %d, %v", n, err)
	}
	// A store that does not say that it has one.
	for _, ttl := range []time.Duration{time.Nanosecond, time.Hour} {
		k, err := db.Keyspace(fmt.Sprint(ttl), &seerdb.KeyspaceOptions{TTL: ttl})
		must(t, err)
		s := begin(t, struct{ sequence.Store }{k}, 10)
		for range 2 {
			if n, err := s.Next(); n != 0 || !errors.Is(err, seerdb.ErrInvalidOptions) || !strings.Contains(err.Error(), "TTL") {
				t.Fatalf("TTL %v: %d, %v", ttl, n, err)
			}
		}
	}
}

// unsure is a store whose commits have an unknown outcome: they are made, and
// the caller gets an error.
type unsure struct {
	sequence.Store
	on bool
}

func (u *unsure) CompareAndSwap(key, old, value []byte) (bool, error) {
	did, err := u.Store.CompareAndSwap(key, old, value)
	if u.on {
		return false, seerdb.ErrCommitUnknown
	}
	return did, err
}

// TestUnknownOutcome: numbers whose lease, or release, may or may not have been
// committed are given by one sequence at most.
func TestUnknownOutcome(t *testing.T) {
	db := open(t, t.TempDir())
	u := &unsure{Store: db, on: true}
	s := begin(t, u, 5)
	if n, err := s.Next(); n != 0 || !errors.Is(err, seerdb.ErrCommitUnknown) {
		t.Fatalf("%d, %v", n, err)
	}
	u.on = false
	next(t, s, 6, 7)
	u.on = true
	if err := s.Release(); !errors.Is(err, seerdb.ErrCommitUnknown) {
		t.Fatal(err)
	}
	u.on = false
	next(t, begin(t, db, 5), 8)
	next(t, s, 13)
}

// TestBesideTransactions: a row and its number in one transaction.
func TestBesideTransactions(t *testing.T) {
	db := open(t, t.TempDir())
	s := begin(t, db, 4)
	for want := uint64(1); want < 10; want++ {
		must(t, db.Update(context.Background(), func(x *seerdb.Txn) error {
			id, err := s.Next()
			if err != nil || id != want {
				return fmt.Errorf("%d, %w; want %d", id, err, want)
			}
			return x.Put(binary.BigEndian.AppendUint64([]byte("row/"), id), nil)
		}))
	}
}

// TestNextDoesNotAllocate: numbers of a lease come from memory.
func TestNextDoesNotAllocate(t *testing.T) {
	s := begin(t, open(t, t.TempDir()), 1<<40)
	next(t, s, 1)
	if n := testing.AllocsPerRun(1000, func() { _, _ = s.Next() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
