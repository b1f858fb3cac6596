package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
	"github.com/seerdb-go/seerdb/observe"
)

var apartNames = []string{"", "a", "b", "a\x00", "\xff\xff\xff\xff"}

func apartTrees(t *testing.T, db *seerdb.DB) map[string]dbtest.Tree {
	m := map[string]dbtest.Tree{"": db}
	for _, n := range apartNames[1:] {
		m[n] = dbtest.Keyspace(t, db, n)
	}
	return m
}

func apartKey(i int) []byte { return bytes.Repeat([]byte{byte(i * 7)}, i%5) }

// checkApart looks for every key that each keyspace was given, and for no more.
func checkApart(t *testing.T, db *seerdb.DB, when string) {
	t.Helper()
	for n, s := range apartTrees(t, db) {
		var want []string
		for i := range 40 {
			if i%7 != len(n) {
				want = append(want, string(apartKey(i))+"="+n)
			}
		}
		slices.Sort(want)
		got := dbtest.Contents(t, s) // in the order of keys, which is not that of rows
		slices.Sort(got)
		if want = slices.Compact(want); !slices.Equal(got, want) {
			t.Fatalf("%s: %q has %q, want %q", when, n, got, want)
		}
		for _, row := range want {
			k := []byte(row[:len(row)-len(n)-1])
			v, err := s.AppendGet(nil, k)
			if has, _ := s.Has(k); err != nil || !has || string(v) != n {
				t.Fatalf("%s: %q: get %q: %q, %v", when, n, k, v, err)
			}
		}
		it, err := s.NewIter(nil)
		dbtest.Must(t, err)
		if !it.Last() || it.Next() || it.Next() || !it.Prev() || !it.First() || it.Prev() || it.Prev() || !it.Next() {
			t.Fatalf("%s: %q: the ends do not hold", when, n)
		}
		dbtest.Must(t, it.Close())
	}
}

// TestKeyspacesAreApart: the same keys in several keyspaces do not meet, in the
// memtable, in tables, after reopening, forward and backward.
func TestKeyspacesAreApart(t *testing.T) {
	fs := memfs.New()
	db := dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Sync))
	for i := range 40 {
		for n, s := range apartTrees(t, db) {
			if i%7 == len(n) {
				dbtest.Must(t, s.Delete(apartKey(i)))
			} else {
				dbtest.Must(t, s.Put(apartKey(i), []byte(n)))
			}
		}
	}
	for i := range 40 { // what was written again under another number
		for n, s := range apartTrees(t, db) {
			if i%7 != len(n) {
				dbtest.Must(t, s.Put(apartKey(i), []byte(n)))
			}
		}
	}
	checkApart(t, db, "in the memtable")
	dbtest.Must(t, db.Flush(context.Background()))
	checkApart(t, db, "in tables")
	dbtest.Must(t, db.Close())
	db = dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Sync))
	got, err := db.Keyspaces()
	dbtest.Must(t, err)
	if want := []string{"a", "a\x00", "b", "\xff\xff\xff\xff"}; !slices.Equal(got, want) {
		t.Fatalf("keyspaces %q", got)
	}
	checkApart(t, db, "after reopening")
	for _, n := range apartNames[1:] {
		k, err := db.Keyspace(n, &seerdb.KeyspaceOptions{ErrorIfMissing: true})
		dbtest.Must(t, err)
		dbtest.Must(t, k.Compact(context.Background(), nil, nil))
	}
	checkApart(t, db, "compacted")
	report, err := db.Verify(context.Background())
	dbtest.Must(t, err)
	if !report.Clean() {
		t.Fatal(report.Damage)
	}
}

// TestBatchAcrossKeyspaces: all or nothing, also across a crash.
func TestBatchAcrossKeyspaces(t *testing.T) {
	fs := memfs.New()
	db := dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Sync))
	a, err := db.Keyspace("a", nil)
	dbtest.Must(t, err)
	b, err := db.Keyspace("b", nil)
	dbtest.Must(t, err)
	snap := db.NewSnapshot()
	defer snap.Close()
	batch := db.NewBatch()
	dbtest.Must(t, batch.Put([]byte("k"), []byte("root")))
	dbtest.Must(t, batch.In(a).Put([]byte("k"), []byte("a")))
	dbtest.Must(t, batch.In(b).Put([]byte("k"), []byte("b")))
	dbtest.Must(t, batch.In(b).Delete([]byte("other")))
	dbtest.Must(t, db.Apply(batch, seerdb.DefaultDurability))
	if _, err := snap.In(a).Get([]byte("k")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatalf("the snapshot moved: %v", err)
	}
	disk := fs.CrashClone(memfs.CrashOptions{})
	db = dbtest.Open(t, "db", dbtest.SmallOn(disk, seerdb.Sync))
	for name, get := range map[string]func([]byte) ([]byte, error){"root": db.Get, "a": dbtest.Keyspace(t, db, "a").Get, "b": dbtest.Keyspace(t, db, "b").Get} {
		if v, err := get([]byte("k")); err != nil || string(v) != name {
			t.Fatalf("%s: %q, %v", name, v, err)
		}
	}
}

// TestDropKeyspace: gone at once for new readers, there for open iterators, the
// files go, the log brings nothing back, and a namesake begins empty.
func TestDropKeyspace(t *testing.T) {
	fs := memfs.New()
	db := dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Sync))
	k := dbtest.Keyspace(t, db, "doomed")
	dbtest.Must(t, db.Put([]byte("stays"), nil))
	for i := range 300 {
		dbtest.Must(t, k.Put(fmt.Appendf(nil, "flushed%04d", i), make([]byte, 300)))
	}
	dbtest.Must(t, db.Flush(context.Background()))
	dbtest.Must(t, k.Put([]byte("logged"), []byte("x")))
	it, err := k.NewIter(nil)
	dbtest.Must(t, err)
	if !it.First() {
		t.Fatal(it.Err())
	}
	dbtest.Must(t, db.DropKeyspace("doomed"))
	n := 1
	for it.Next() {
		n++
	}
	if n != 301 || it.Err() != nil {
		t.Fatalf("the open iterator saw %d rows, %v", n, it.Err())
	}
	dbtest.Must(t, it.Close())
	if _, err := k.Get([]byte("logged")); !errors.Is(err, seerdb.ErrNoKeyspace) {
		t.Fatalf("get: %v", err)
	}
	if err := k.Put([]byte("x"), nil); !errors.Is(err, seerdb.ErrNoKeyspace) {
		t.Fatalf("put: %v", err)
	}
	if err := db.DropKeyspace("doomed"); !errors.Is(err, seerdb.ErrNoKeyspace) {
		t.Fatalf("dropped twice: %v", err)
	}
	if files := db.Metrics().IO.Tables.Files + db.Metrics().IO.Values.Files; files != 1 {
		t.Fatalf("%d files are left", files)
	}
	for _, disk := range []*memfs.FS{fs, fs.CrashClone(memfs.CrashOptions{})} {
		if disk == fs {
			dbtest.Must(t, db.Close())
		}
		again := dbtest.Open(t, "db", dbtest.SmallOn(disk, seerdb.Sync))
		if _, err := again.Keyspace("doomed", &seerdb.KeyspaceOptions{ErrorIfMissing: true}); !errors.Is(err, seerdb.ErrNoKeyspace) {
			t.Fatalf("it came back: %v", err)
		}
		namesake := dbtest.Keyspace(t, again, "doomed")
		if n := len(dbtest.Contents(t, namesake)); n != 0 {
			t.Fatalf("its namesake has %d keys", n)
		}
		if v, err := again.Get([]byte("stays")); err != nil || len(v) != 0 {
			t.Fatal(err)
		}
	}
}

// TestManyKeyspaces: ten thousand cost what is in them.
func TestManyKeyspaces(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	fs := memfs.New()
	db := dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Buffered))
	for i := range n {
		k := dbtest.Keyspace(t, db, fmt.Sprintf("space%05d", i))
		if i%100 == 0 {
			dbtest.Must(t, k.Put([]byte("k"), fmt.Appendf(nil, "%d", i)))
		}
	}
	dbtest.Must(t, db.Close())
	db = dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Buffered))
	names, err := db.Keyspaces()
	dbtest.Must(t, err)
	if len(names) != n {
		t.Fatalf("%d keyspaces", len(names))
	}
	for i := 0; i < n; i += 100 {
		if v, err := dbtest.Keyspace(t, db, fmt.Sprintf("space%05d", i)).Get([]byte("k")); err != nil || string(v) != fmt.Sprint(i) {
			t.Fatalf("keyspace %d: %q, %v", i, v, err)
		}
	}
}

// TestKeyspaceBehindStopsOnlyItself: while the compactions of one keyspace
// cannot keep up its writers wait, and those of another do not.
func TestKeyspaceBehindStopsOnlyItself(t *testing.T) {
	fs := memfs.New()
	o := dbtest.SmallOn(fs, seerdb.Relaxed)
	o = dbtest.With(*o, dbtest.TestOptions{FS: fs, L0Trigger: 1, ManualOnly: true})
	db := dbtest.Open(t, "db", o)
	slow, fast := dbtest.Keyspace(t, db, "slow"), dbtest.Keyspace(t, db, "fast")
	blocked := stopWriters(t, db, slow)
	for i := range 3 * o.MemtableSize / 1000 {
		dbtest.Must(t, fast.Put(fmt.Appendf(nil, "k%06d", i), make([]byte, 1000)))
	}
	select {
	case err := <-blocked:
		t.Fatalf("the writer of the crowded keyspace was let through: %v", err)
	default:
	}
	if n := db.Metrics().Memtable.Queue + db.Metrics().Levels[0].Files; n < 10 {
		t.Fatalf("the other keyspace did not fill a memtable: %d", n)
	}
	dbtest.Must(t, slow.Compact(context.Background(), nil, nil))
	dbtest.Must(t, <-blocked)
}

// stopWriters fills L0 of a keyspace until its writers are stopped, and returns
// what one that waits will be told.
func stopWriters(t *testing.T, db *seerdb.DB, k *seerdb.Keyspace) <-chan error {
	for range 9 { // 9 triggers stop
		dbtest.Must(t, k.Put([]byte("k"), nil))
		dbtest.Must(t, db.Flush(context.Background()))
	}
	blocked := make(chan error, 1)
	go func() { blocked <- k.Put([]byte("k"), []byte("waits")) }()
	for db.Metrics().Stalls.Stopped == "" {
		time.Sleep(time.Millisecond)
	}
	return blocked
}

// TestKeyspaceDropEndsItsWriters: a writer that waits for the compactions of a
// keyspace that is dropped gets that as its answer at once.
func TestKeyspaceDropEndsItsWriters(t *testing.T) {
	fs := memfs.New()
	o := dbtest.SmallOn(fs, seerdb.Relaxed)
	db := dbtest.Open(t, "db", dbtest.With(*o, dbtest.TestOptions{FS: fs, L0Trigger: 1, ManualOnly: true}))
	blocked := stopWriters(t, db, dbtest.Keyspace(t, db, "slow"))
	dbtest.Must(t, db.DropKeyspace("slow"))
	select {
	case err := <-blocked:
		if !errors.Is(err, seerdb.ErrNoKeyspace) {
			t.Errorf("the writer was told %v, want ErrNoKeyspace", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a writer of a keyspace that was dropped still waits")
	}
}

// TestStoppedWritersSleep: a writer that is stopped looks again when something
// changed. It used to kick the flusher, which woke it for nothing, around and
// around.
func TestStoppedWritersSleep(t *testing.T) {
	fs := memfs.New()
	o := dbtest.SmallOn(fs, seerdb.Relaxed)
	begun := new(atomic.Int64)
	o.Listener = observe.EventListener{StallBegin: func(string) { begun.Add(1) }}
	db := dbtest.Open(t, "db", dbtest.With(*o, dbtest.TestOptions{FS: fs, L0Trigger: 1, ManualOnly: true}))
	slow := dbtest.Keyspace(t, db, "slow")
	blocked := stopWriters(t, db, slow)
	time.Sleep(100 * time.Millisecond)
	if n := begun.Load(); n > 10 {
		t.Errorf("in 100 ms of nothing the writer was woken %d times", n)
	}
	dbtest.Must(t, slow.Compact(context.Background(), nil, nil))
	dbtest.Must(t, <-blocked)
}

// TestKeyspaceOptionsAgree: the first call since Open decides the options of a
// keyspace; later ones say the same, or nothing, or are refused.
func TestKeyspaceOptionsAgree(t *testing.T) {
	keep := func(_, _ []byte) (seerdb.FilterVerdict, []byte, error) { return seerdb.FilterKeep, nil, nil }
	fs := memfs.New()
	o := dbtest.SmallOn(fs, seerdb.Sync)
	o.Merger, o.CompactionFilter = merger.Max{}, keep // are not those of keyspaces
	first := seerdb.KeyspaceOptions{ValueThreshold: -1, Compression: seerdb.S2, TTL: time.Hour, Merger: merger.Counter{}, CompactionFilter: keep}
	for range 2 { // a new keyspace, and one that was there
		db, err := seerdb.Open("db", o)
		dbtest.Must(t, err)
		k, err := db.Keyspace("full", &first)
		dbtest.Must(t, err)
		plain, err := db.Keyspace("plain", nil)
		dbtest.Must(t, err)
		for _, same := range []*seerdb.KeyspaceOptions{nil, {}, {ErrorIfMissing: true}, {TTL: time.Hour}, {Merger: merger.Counter{}}, &first} {
			if _, err := db.Keyspace("full", same); err != nil {
				t.Errorf("%+v: %v", same, err)
			}
		}
		for _, other := range []seerdb.KeyspaceOptions{
			{ValueThreshold: 100}, {Compression: seerdb.LZ4}, {TTL: time.Minute}, {Merger: merger.Max{}},
		} {
			if _, err := db.Keyspace("full", &other); !errors.Is(err, seerdb.ErrInvalidOptions) {
				t.Errorf("%+v of a keyspace that is open with others: %v", other, err)
			}
		}
		for _, other := range []seerdb.KeyspaceOptions{{ValueThreshold: 100}, {Compression: seerdb.Zstd}, {TTL: time.Minute}, {CompactionFilter: keep}} {
			_, err := db.Keyspace("plain", &other)
			mustNameOption(t, err, other)
		}
		dbtest.Must(t, k.Put([]byte("a"), merger.AppendInt64(nil, 1)))
		dbtest.Must(t, k.Merge([]byte("b"), merger.AppendInt64(nil, 1)))
		if _, expires, err := k.Expiry([]byte("a")); !expires || err != nil {
			t.Errorf("the time to live of the first call does not hold any more: %v", err)
		}
		if err := plain.Merge([]byte("b"), []byte("1")); !errors.Is(err, seerdb.ErrInvalidOptions) {
			t.Errorf("a keyspace without a merge operator takes an operand: %v", err)
		}
		dbtest.Must(t, db.Close())
	}
	db, err := seerdb.Open("db", o)
	dbtest.Must(t, err)
	plain, err := db.Keyspace("plain", nil)
	dbtest.Must(t, err)
	if _, err := db.Keyspace("plain", &seerdb.KeyspaceOptions{Merger: merger.Max{}}); err != nil {
		t.Errorf("a first merge operator: %v", err)
	}
	dbtest.Must(t, plain.Merge([]byte("b"), []byte("1")))
	if _, err := db.Keyspace("plain", &seerdb.KeyspaceOptions{Merger: merger.Counter{}}); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Errorf("another merge operator: %v", err)
	}
	dbtest.Must(t, db.Close())
}

// TestLongestKeysInKeyspace: a keyspace takes keys and bounds as long as the
// database itself does.
func TestLongestKeysInKeyspace(t *testing.T) {
	fs := memfs.New()
	o := dbtest.SmallOn(fs, seerdb.Sync)
	db := dbtest.Open(t, "db", o)
	k, err := db.Keyspace("k", nil)
	dbtest.Must(t, err)
	lo, hi := bytes.Repeat([]byte("a"), seerdb.MaxKeySize), bytes.Repeat([]byte("b"), seerdb.MaxKeySize)
	dbtest.Must(t, k.Put(lo, []byte("v")))
	dbtest.Must(t, k.Put(hi, []byte("v")))
	dbtest.Must(t, k.DeleteRange(lo, hi))
	dbtest.Must(t, db.Flush(context.Background()))
	if n := len(dbtest.Contents(t, k)); n != 1 {
		t.Fatalf("%d rows", n)
	}
}
