package cost

// What reads and commits may cost: no allocation, and no more over a key with
// a hundred thousand versions, or a range of tombstones, than over any other.

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func TestGetDoesNotAllocate(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) {
		o.MemoryBudget, o.MemtableSize, o.ValueThreshold, o.Durability = 16<<20, 4<<20, 500, seerdb.NoWAL
	})
	big := make([]byte, 1000)
	for i := range 1000 {
		dbtest.Must(t, r.DB.Put(fmt.Appendf(nil, "table%04d", i), big[:100]))
		dbtest.Must(t, r.DB.Put(fmt.Appendf(nil, "apart%04d", i), big))
	}
	dbtest.Must(t, r.Flush())
	snap := r.DB.NewSnapshot()
	defer snap.Close()
	dbtest.Must(t, r.DB.Put([]byte("memtable"), big[:100]))
	dbtest.Must(t, r.DB.Put([]byte("table0007"), big[:50]))
	dbtest.Must(t, r.DB.Delete([]byte("table0008")))
	dst := make([]byte, 0, 2000)
	for _, c := range []struct {
		name string
		src  dbtest.Reader
		key  string
		want int // length, or -1
	}{
		{"memtable", r.DB, "memtable", 100},
		{"table", r.DB, "table0500", 100},
		{"value file", r.DB, "apart0500", 1000},
		{"missing", r.DB, "table0500x", -1},
		{"outside of every table", r.DB, "zzz", -1},
		{"deleted", r.DB, "table0008", -1},
		{"snapshot, overwritten since", snap, "table0007", 100},
		{"snapshot, deleted since", snap, "table0008", 100},
		{"snapshot, newer", snap, "memtable", -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := []byte(c.key)
			n := dbtest.Allocs(t, func() {
				v, err := c.src.AppendGet(dst, key)
				if len(v) != max(c.want, 0) || (err == nil) != (c.want >= 0) || err != nil && !errors.Is(err, seerdb.ErrNotFound) {
					t.Fatalf("%d bytes, %v", len(v), err)
				}
			})
			if n != 0 {
				t.Errorf("AppendGet allocates %v times", n)
			}
			if n := dbtest.Allocs(t, func() { _, _ = c.src.Has(key) }); n != 0 {
				t.Errorf("Has allocates %v times", n)
			}
		})
	}
}

func TestIteratorDoesNotAllocate(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) {
		o.MemoryBudget, o.MemtableSize, o.ValueThreshold, o.Durability = 16<<20, 4<<20, 500, seerdb.NoWAL
	})
	for i := range 3000 {
		dbtest.Must(t, r.DB.Put(fmt.Appendf(nil, "k%05d", i), make([]byte, 20+i%7*100)))
		if i == 1000 || i == 2000 {
			dbtest.Must(t, r.Flush())
		}
	}
	it, err := r.DB.NewIter(nil)
	dbtest.Must(t, err)
	defer it.Close()
	walk := func(start, step func() bool) func() {
		return func() {
			if !step() && !start() {
				t.Fatal(it.Err())
			}
			if len(it.Key()) != 6 || len(it.Value()) < 20 {
				t.Fatalf("%q=%q, %v", it.Key(), it.Value(), it.Err())
			}
		}
	}
	seek := func(f func([]byte) bool) func() {
		key := []byte("k01500")
		return func() {
			key[3] = '0' + (key[3]-'0'+3)%10
			if !f(key) || len(it.Value()) < 20 {
				t.Fatal(it.Err())
			}
		}
	}
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"Next and Value", walk(it.First, it.Next)}, {"Prev and Value", walk(it.Last, it.Prev)},
		{"SeekGE", seek(it.SeekGE)}, {"SeekLT", seek(it.SeekLT)},
	} {
		for range 4000 {
			c.f() // every page and buffer is there
		}
		if n := dbtest.Allocs(t, c.f); n != 0 {
			t.Errorf("%s allocates %v times", c.name, n)
		}
	}
	key := []byte("k02500")
	if n := dbtest.Allocs(t, func() {
		it, _ := r.DB.NewIter(nil)
		it.SeekGE(key)
		_ = it.Close()
	}); n > 1 {
		t.Errorf("a scan of one key allocates %v times", n)
	}
}

func TestPutDoesNotAllocate(t *testing.T) {
	for _, d := range []seerdb.Durability{seerdb.NoWAL, seerdb.Relaxed, seerdb.Buffered} {
		db := dbtest.Open(t, t.TempDir(), &seerdb.Options{Durability: d, MemtableSize: 8 << 20})
		key, value := []byte("key000000"), make([]byte, 100)
		n := dbtest.Allocs(t, func() {
			key[8] = '0' + (key[8]-'0'+1)%10
			dbtest.Must(t, db.Put(key, value))
		})
		if n > 1 {
			t.Errorf("%v: Put allocates %v times", d, n)
		}
	}
}

// A transaction is one allocation: what its user holds.
func TestTransactionDoesNotAllocate(t *testing.T) {
	db := dbtest.Open(t, t.TempDir(), &seerdb.Options{Durability: seerdb.Relaxed, MemtableSize: 8 << 20})
	key, buf := []byte("counter"), make([]byte, 0, 8)
	dbtest.Must(t, db.Put(key, make([]byte, 8)))
	increment := func(x *seerdb.Txn) error {
		v, err := x.AppendGet(buf, key)
		if err != nil {
			return err
		}
		v[0]++
		return x.Put(key, v)
	}
	if n := dbtest.Allocs(t, func() { dbtest.Must(t, db.Update(context.Background(), increment)) }); n > 1 {
		t.Errorf("a transaction that reads a key and writes it allocates %v times", n)
	}
	if v, err := db.Get(key); err != nil || v[0] != 302%256 {
		t.Fatal(v, err)
	}
}

// TestInDoesNotAllocate: a keyspace in a transaction, a snapshot or a batch costs what the
// default one costs.
func TestInDoesNotAllocate(t *testing.T) {
	db := dbtest.Open(t, t.TempDir(), &seerdb.Options{Durability: seerdb.Relaxed, MemtableSize: 8 << 20})
	k := dbtest.Keyspace(t, db, "k")
	key, buf := []byte("counter"), make([]byte, 0, 8)
	dbtest.Must(t, k.Put(key, make([]byte, 8)))
	b, snap, x := db.NewBatch(), db.NewSnapshot(), dbtest.Begin(t, db, nil)
	defer snap.Close()
	defer x.Rollback()
	value := make([]byte, 8)
	for _, c := range []struct {
		what      string
		plain, in func() error
	}{
		{"a put into a batch", func() error { b.Reset(); return b.Put(key, value) }, func() error { b.Reset(); return b.In(k).Put(key, value) }},
		{"a put in a transaction", func() error { return x.Put(key, value) }, func() error { return x.In(k).Put(key, value) }},
		{"a read at a snapshot", nil, func() error { _, err := snap.In(k).AppendGet(buf, key); return err }},
		{"a read in a transaction", nil, func() error { _, err := x.In(k).AppendGet(buf, key); return err }},
	} {
		want := 0.0
		if c.plain != nil {
			want = dbtest.Allocs(t, func() { dbtest.Must(t, c.plain()) })
		}
		if n := dbtest.Allocs(t, func() { dbtest.Must(t, c.in()) }); n > want {
			t.Errorf("%s allocates %v times, and %v in the default keyspace", c.what, n, want)
		}
	}
}

// fastest is the shortest of many runs: noise only ever adds.
func fastest(f func()) time.Duration {
	best := time.Hour
	for range 30 {
		begin := time.Now()
		f()
		best = min(best, time.Since(begin))
	}
	return best
}

// A key that was overwritten a hundred thousand times since the last flush
// makes every scan that crosses it a thousand times slower in Pebble, Badger
// and goleveldb. Here it may cost 20 times a usual key, which leaves room for
// cache misses and a noisy machine; stepping over versions costs thousands.
func TestHotKeyIsNoSlowerToScan(t *testing.T) {
	const versions = 100_000
	db := dbtest.Open(t, t.TempDir(), &seerdb.Options{Durability: seerdb.NoWAL, MemtableSize: 32 << 20})
	var snap *seerdb.Snapshot
	for _, group := range []string{"cold", "hot"} {
		for i := range 5 {
			dbtest.Must(t, db.Put(fmt.Appendf(nil, "%s%d", group, i), []byte("v")))
		}
	}
	for i := range versions {
		dbtest.Must(t, db.Put([]byte("hot2"), fmt.Appendf(nil, "%d", i)))
		if i == versions/2 {
			snap = db.NewSnapshot()
			defer snap.Close()
		}
	}
	if m := db.Metrics(); m.Memtable.Queue > 0 || m.Memtable.Entries < versions {
		t.Fatalf("the versions are not in one memtable: %+v", m.Memtable)
	}
	for name, src := range map[string]dbtest.Reader{"now": db, "at a snapshot": snap} {
		it, err := src.NewIter(nil)
		dbtest.Must(t, err)
		visits := map[string]func(group string){
			"Next": func(g string) {
				for ok, n := it.SeekGE([]byte(g+"0")), 0; n < 5; ok, n = it.Next(), n+1 {
					if !ok || string(it.Key()) != fmt.Sprint(g, n) {
						t.Fatalf("%q, %v", it.Key(), it.Err())
					}
				}
			},
			"Prev": func(g string) {
				for ok, n := it.SeekLT([]byte(g+"5")), 4; n >= 0; ok, n = it.Prev(), n-1 {
					if !ok || string(it.Key()) != fmt.Sprint(g, n) {
						t.Fatalf("%q, %v", it.Key(), it.Err())
					}
				}
			},
			"SeekGE": func(g string) { it.SeekGE([]byte(g + "2")); it.SeekGE([]byte(g + "20")) },
			"SeekLT": func(g string) { it.SeekLT([]byte(g + "3")); it.SeekLT([]byte(g + "2")) },
			"there and back": func(g string) {
				it.SeekGE([]byte(g + "1"))
				for _, step := range []func() bool{it.Next, it.Next, it.Prev, it.Prev, it.Next, it.Next} {
					step()
				}
			},
			"Get": func(g string) { _, _ = src.Has([]byte(g + "2")) },
		}
		for what, visit := range visits {
			cold := fastest(func() { visit("cold") })
			hot := fastest(func() { visit("hot") })
			if hot > 20*cold+50*time.Microsecond {
				t.Errorf("%s %s: %v over a key with %d versions, %v over others", what, name, hot, versions, cold)
			}
		}
		dbtest.Must(t, it.Close())
	}
}

// Deleting a range of keys must not leave a range that is slow to scan: the
// tombstones go by themselves, without a call of Compact, and until then each
// costs a step, not a search.
func TestTombstonesAreNotScannedForEver(t *testing.T) {
	const keys = 30_000
	db := dbtest.Open(t, t.TempDir(), &seerdb.Options{Durability: seerdb.NoWAL, MemtableSize: 4 << 20})
	for i := range keys {
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "k%06d", i), make([]byte, 100)))
	}
	dbtest.Must(t, db.Compact(context.Background(), nil, nil))
	it, err := db.NewIter(nil)
	dbtest.Must(t, err)
	full := fastest(func() {
		for ok := it.First(); ok; ok = it.Next() {
		}
	})
	dbtest.Must(t, it.Close())
	for i := 1; i < keys-1; i++ {
		dbtest.Must(t, db.Delete(fmt.Appendf(nil, "k%06d", i)))
	}
	scan := func() (d time.Duration) {
		it, err := db.NewIter(nil)
		dbtest.Must(t, err)
		defer it.Close()
		return fastest(func() {
			if !it.First() || !it.Next() || string(it.Key()) != fmt.Sprintf("k%06d", keys-1) || !it.Prev() || it.Prev() {
				t.Fatalf("%q, %v", it.Key(), it.Err())
			}
		})
	}
	if d := scan(); d > 20*full {
		t.Errorf("a scan over tombstones takes %v; over the keys that they hide it took %v", d, full)
	}
	dbtest.Must(t, db.Flush(context.Background()))
	dbtest.Eventually(t, 20*time.Second, "tombstones are gone", func() bool {
		n := int64(0)
		for _, l := range db.Metrics().Levels {
			n += l.Deletes
		}
		return n < keys/100
	})
	if d := scan(); d > full/10+50*time.Microsecond {
		t.Errorf("a scan over what was deleted takes %v; with all keys it took %v", d, full)
	}
}

// TestQueuesAreNotScannedFromTheirBeginning: what was taken from the front of a
// queue is stepped over once, not by every scan, wherever it lies.
func TestQueuesAreNotScannedFromTheirBeginning(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.MemtableSize, o.MemoryBudget, o.Durability = 32<<20, 128<<20, seerdb.NoWAL
		to.DeadMin, to.BaseLevel = 0, 1<<30
	})
	k, err := r.DB.Keyspace("another queue", nil)
	dbtest.Must(t, err)
	type queue interface {
		dbtest.Tree
		DeleteRange(lo, hi []byte) error
	}
	const n = 40_000
	key := func(i int) []byte { return fmt.Appendf(nil, "q%08d", i) }
	front := func(q queue) time.Duration {
		begin := time.Now()
		it, err := q.NewIter(nil)
		dbtest.Must(t, err)
		if !it.First() || string(it.Key()) != string(key(n)) {
			t.Fatalf("the front of the queue is %q, %v", it.Key(), it.Err())
		}
		dbtest.Must(t, it.Close())
		return time.Since(begin)
	}
	for _, flush := range []bool{false, true} {
		for _, q := range []queue{r.DB, k} {
			for i := range n + 10 {
				dbtest.Must(t, q.Put(key(i), nil))
			}
			if flush {
				dbtest.Must(t, r.Flush())
			}
			for i := range n / 2 {
				dbtest.Must(t, q.Delete(key(i)))
			}
			for i := n / 2; i < n; i += 10 {
				dbtest.Must(t, q.DeleteRange(key(i), key(i+10)))
			}
			first, later := front(q), time.Duration(1<<62)
			for range 5 {
				later = min(later, front(q))
			}
			if later > first/10 {
				t.Errorf("flushed %v: the first scan took %v, later ones %v", flush, first, later)
			}
		}
	}
}
