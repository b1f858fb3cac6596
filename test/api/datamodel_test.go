package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

// kindsTree is a database or a keyspace with all kinds of operations.
type kindsTree interface {
	dbtest.Tree
	Merge(key, operand []byte) error
	DeleteRange(lo, hi []byte) error
	SingleDelete(key []byte) error
	PutTTL(key, value []byte, d time.Duration) error
	Compact(ctx context.Context, lo, hi []byte) error
}

// checkKinds looks for what writeKinds left.
func checkKinds(t *testing.T, trees []kindsTree, when string, rows int) {
	t.Helper()
	for i, s := range trees {
		got := dbtest.Contents(t, s)
		if len(got) != rows {
			t.Fatalf("%s, tree %d: %d rows, want %d: %q", when, i, len(got), rows, got)
		}
		v, err := s.AppendGet(nil, []byte("n"))
		dbtest.Must(t, err)
		if n, err := merger.Int64(v); err != nil || n != 42 {
			t.Fatalf("%s, tree %d: the counter is %d, %v", when, i, n, err)
		}
		for key, there := range map[string]bool{"k05": false, "k09": true, "k10": false, "k15": true, "k19": false, "k20": true, "k40": false, "k49": false, "n": true} {
			if has, err := s.Has([]byte(key)); err != nil || has != there {
				t.Fatalf("%s, tree %d: has %s: %v, %v", when, i, key, has, err)
			}
		}
		if v, err := s.AppendGet(nil, []byte("k15")); string(v) != "back" {
			t.Fatalf("%s: %q, %v", when, v, err)
		}
	}
}

func writeKinds(t *testing.T, s kindsTree) {
	for i := range 50 {
		dbtest.Must(t, s.Put(fmt.Appendf(nil, "k%02d", i), []byte("v")))
	}
	dbtest.Must(t, s.DeleteRange([]byte("k10"), []byte("k20")))
	dbtest.Must(t, s.Put([]byte("k15"), []byte("back")))
	dbtest.Must(t, s.DeleteRange([]byte("k40"), nil))
	dbtest.Must(t, s.SingleDelete([]byte("k05")))
	dbtest.Must(t, s.PutTTL([]byte("k06"), []byte("soon gone"), time.Second))
	for range 3 {
		dbtest.Must(t, s.Merge([]byte("n"), merger.AppendInt64(nil, 14)))
	}
}

// TestEveryKindOfOperation walks each kind through memtable, tables, reopening
// and compaction, in the default keyspace and in another.
func TestEveryKindOfOperation(t *testing.T) {
	fs := memfs.New()
	clock := dbtest.NewClock()
	options := func() *seerdb.Options {
		o := dbtest.SmallOn(fs, seerdb.Sync)
		o.Merger = merger.Counter{}
		return dbtest.With(*o, dbtest.TestOptions{FS: fs, Clock: clock.Now, ManualOnly: true})
	}
	db := dbtest.Open(t, "db", options())
	trees := func() []kindsTree {
		k, err := db.Keyspace("other", &seerdb.KeyspaceOptions{Merger: merger.Counter{}})
		dbtest.Must(t, err)
		return []kindsTree{db, k}
	}
	for _, s := range trees() {
		writeKinds(t, s)
	}
	check := func(when string, rows int) {
		t.Helper()
		checkKinds(t, trees(), when, rows)
	}
	snap := db.NewSnapshot()
	check("in the memtable", 31)
	dbtest.Must(t, db.Flush(context.Background()))
	check("in tables", 31)
	clock.Add(time.Second)
	check("later", 30)
	if v, err := snap.Get([]byte("k06")); err != nil || string(v) != "soon gone" {
		t.Fatalf("the snapshot's time moved: %q, %v", v, err)
	}
	dbtest.Must(t, snap.Close())
	dbtest.Must(t, db.Close())
	db = dbtest.Open(t, "db", options())
	check("after reopening", 30)
	for _, s := range trees() {
		dbtest.Must(t, s.Compact(context.Background(), nil, nil))
	}
	check("compacted", 30)
	dbtest.Must(t, db.Close())
	o := options()
	o.Merger = nil
	if _, err := seerdb.Open("db", o); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Fatalf("opened without its merge operator: %v", err)
	}
}

// TestKeyspaceTTL: a Put in a keyspace with a TTL expires, in batches,
// transactions and conditional puts too; one elsewhere does not.
func TestKeyspaceTTL(t *testing.T) {
	clock := dbtest.NewClock()
	o := dbtest.SmallOn(memfs.New(), seerdb.Sync)
	db := dbtest.Open(t, "db", dbtest.With(*o, dbtest.TestOptions{FS: memfs.New(), Clock: clock.Now}))
	k, err := db.Keyspace("sessions", &seerdb.KeyspaceOptions{TTL: time.Minute})
	dbtest.Must(t, err)
	dbtest.Must(t, db.Put([]byte("stays"), nil))
	dbtest.Must(t, k.Put([]byte("a"), nil))
	b := db.NewBatch()
	dbtest.Must(t, b.In(k).Put([]byte("b"), nil))
	dbtest.Must(t, db.Apply(b, seerdb.DefaultDurability))
	dbtest.Must(t, db.Update(context.Background(), func(x *seerdb.Txn) error { return x.In(k).Put([]byte("c"), nil) }))
	if _, err := k.PutIfAbsent([]byte("d"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	dbtest.Must(t, k.PutTTL([]byte("e"), nil, time.Hour))
	if n := len(dbtest.Contents(t, k)); n != 5 {
		t.Fatalf("%d rows", n)
	}
	clock.Add(time.Minute)
	if got := fmt.Sprint(dbtest.Contents(t, k), dbtest.Contents(t, db)); got != "[e=] [stays=]" {
		t.Fatal(got)
	}
}

// TestGetFunc: the same values as Get, wherever they lie, and no allocation.
func TestGetFunc(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, dbtest.WithMerger(merger.Append{}), func(o *seerdb.Options, _ *dbtest.TestOptions) { o.ValueThreshold = 100 })
	long := strings.Repeat("v", 300)
	r.Put("table=1", "apart="+long, "empty=")
	dbtest.Must(t, r.Flush())
	r.Put("memtable=2")
	r.Merge("merged=3", "table=+", "nothing=")
	snap := r.DB.NewSnapshot()
	defer snap.Close()
	r.Delete("memtable")
	stop := errors.New("stop")
	for key, want := range map[string]string{"table": "1+", "apart": long, "empty": "", "memtable": "2", "merged": "3", "nothing": ""} {
		got, calls := "", 0
		dbtest.Must(t, snap.GetFunc([]byte(key), func(v []byte) error {
			got, calls = string(v), calls+1
			return nil
		}))
		if got != want || calls != 1 {
			t.Fatalf("%s: %q in %d calls, want %q", key, got, calls, want)
		}
		if err := snap.GetFunc([]byte(key), func([]byte) error { return stop }); err != stop {
			t.Fatalf("%s: %v", key, err)
		}
	}
	if err := r.DB.GetFunc([]byte("memtable"), func([]byte) error { return nil }); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatal(err)
	}
	key, n := []byte("apart"), 0
	count := func(v []byte) error { n += len(v); return nil }
	if a := dbtest.Allocs(t, func() { dbtest.Must(t, r.DB.GetFunc(key, count)) }); a != 0 {
		t.Fatalf("%v allocations", a)
	}
}

// TestApplyContext: a commit that waits for compaction ends with its context,
// and nothing of it is there.
func TestApplyContext(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.With(*dbtest.SmallOn(memfs.New(), seerdb.Relaxed), dbtest.TestOptions{FS: memfs.New(), L0Trigger: 1, ManualOnly: true}))
	for range 9 {
		dbtest.Must(t, db.Put([]byte("k"), nil))
		dbtest.Must(t, db.Flush(context.Background()))
	}
	b := db.NewBatch()
	dbtest.Must(t, b.Put([]byte("k"), []byte("late")))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := db.ApplyContext(ctx, b, seerdb.DefaultDurability); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if v, err := db.Get([]byte("k")); err != nil || len(v) != 0 {
		t.Fatalf("%q, %v", v, err)
	}
	dbtest.Must(t, db.Compact(context.Background(), nil, nil))
	dbtest.Must(t, db.ApplyContext(context.Background(), b, seerdb.DefaultDurability))
}

// TestTableOfRangesAlone: a table of nothing but range tombstones, over another
// one, could not be opened.
func TestTableOfRangesAlone(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	dbtest.Must(t, db.Put([]byte("k"), []byte("v")))
	dbtest.Must(t, db.Flush(context.Background()))
	dbtest.Must(t, db.DeleteRange([]byte("a"), []byte("z")))
	dbtest.Must(t, db.Flush(context.Background()))
	if _, err := db.Get([]byte("k")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatal(err)
	}
	if rows := dbtest.Contents(t, db); len(rows) != 0 {
		t.Fatal(rows)
	}
	dbtest.Must(t, db.Compact(context.Background(), nil, nil))
}
