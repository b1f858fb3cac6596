package seerdb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

// kindsTree is a database or a keyspace with all kinds of operations.
type kindsTree interface {
	tree
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
		got := contents(t, s)
		if len(got) != rows {
			t.Fatalf("%s, tree %d: %d rows, want %d: %q", when, i, len(got), rows, got)
		}
		v, err := s.AppendGet(nil, []byte("n"))
		must(t, err)
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
		must(t, s.Put(fmt.Appendf(nil, "k%02d", i), []byte("v")))
	}
	must(t, s.DeleteRange([]byte("k10"), []byte("k20")))
	must(t, s.Put([]byte("k15"), []byte("back")))
	must(t, s.DeleteRange([]byte("k40"), nil))
	must(t, s.SingleDelete([]byte("k05")))
	must(t, s.PutTTL([]byte("k06"), []byte("soon gone"), time.Second))
	for range 3 {
		must(t, s.Merge([]byte("n"), merger.AppendInt64(nil, 14)))
	}
}

// TestEveryKindOfOperation walks each kind through memtable, tables, reopening
// and compaction, in the default keyspace and in another.
func TestEveryKindOfOperation(t *testing.T) {
	fs := memfs.New()
	clock := newWideClock()
	options := func() *seerdb.Options {
		o := smallOn(fs, seerdb.Sync)
		o.Merger = merger.Counter{}
		return o.With(seerdb.TestOptions{FS: fs, Clock: clock.now, ManualOnly: true})
	}
	db := open(t, "db", options())
	trees := func() []kindsTree {
		k, err := db.Keyspace("other", &seerdb.KeyspaceOptions{Merger: merger.Counter{}})
		must(t, err)
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
	must(t, db.Flush(context.Background()))
	check("in tables", 31)
	clock.add(time.Second)
	check("later", 30)
	if v, err := snap.Get([]byte("k06")); err != nil || string(v) != "soon gone" {
		t.Fatalf("the snapshot's time moved: %q, %v", v, err)
	}
	must(t, snap.Close())
	must(t, db.Close())
	db = open(t, "db", options())
	check("after reopening", 30)
	for _, s := range trees() {
		must(t, s.Compact(context.Background(), nil, nil))
	}
	check("compacted", 30)
	must(t, db.Close())
	o := options()
	o.Merger = nil
	if _, err := seerdb.Open("db", o); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Fatalf("opened without its merge operator: %v", err)
	}
}

// TestKeyspaceTTL: a Put in a keyspace with a TTL expires, in batches,
// transactions and conditional puts too; one elsewhere does not.
func TestKeyspaceTTL(t *testing.T) {
	clock := newWideClock()
	o := smallOn(memfs.New(), seerdb.Sync)
	db := open(t, "db", o.With(seerdb.TestOptions{FS: memfs.New(), Clock: clock.now}))
	k, err := db.Keyspace("sessions", &seerdb.KeyspaceOptions{TTL: time.Minute})
	must(t, err)
	must(t, db.Put([]byte("stays"), nil))
	must(t, k.Put([]byte("a"), nil))
	b := db.NewBatch()
	must(t, b.In(k).Put([]byte("b"), nil))
	must(t, db.Apply(b, seerdb.DefaultDurability))
	must(t, db.Update(context.Background(), func(x *seerdb.Txn) error { return x.In(k).Put([]byte("c"), nil) }))
	if _, err := k.PutIfAbsent([]byte("d"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	must(t, k.PutTTL([]byte("e"), nil, time.Hour))
	if n := len(contents(t, k)); n != 5 {
		t.Fatalf("%d rows", n)
	}
	clock.add(time.Minute)
	if got := fmt.Sprint(contents(t, k), contents(t, db)); got != "[e=] [stays=]" {
		t.Fatal(got)
	}
}

// TestGetFunc: the same values as Get, wherever they lie, and no allocation.
func TestGetFunc(t *testing.T) {
	r := newRig(t, quiet, withMerger(merger.Append{}), func(o *seerdb.Options, _ *seerdb.TestOptions) { o.ValueThreshold = 100 })
	long := strings.Repeat("v", 300)
	r.put("table=1", "apart="+long, "empty=")
	must(t, r.flush())
	r.put("memtable=2")
	r.merge("merged=3", "table=+", "nothing=")
	snap := r.db.NewSnapshot()
	defer snap.Close()
	r.del("memtable")
	stop := errors.New("stop")
	for key, want := range map[string]string{"table": "1+", "apart": long, "empty": "", "memtable": "2", "merged": "3", "nothing": ""} {
		got, calls := "", 0
		must(t, snap.GetFunc([]byte(key), func(v []byte) error {
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
	if err := r.db.GetFunc([]byte("memtable"), func([]byte) error { return nil }); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatal(err)
	}
	key, n := []byte("apart"), 0
	count := func(v []byte) error { n += len(v); return nil }
	if a := allocs(t, func() { must(t, r.db.GetFunc(key, count)) }); a != 0 {
		t.Fatalf("%v allocations", a)
	}
}

// TestApplyContext: a commit that waits for compaction ends with its context,
// and nothing of it is there.
func TestApplyContext(t *testing.T) {
	db := open(t, "db", smallOn(memfs.New(), seerdb.Relaxed).With(seerdb.TestOptions{FS: memfs.New(), L0Trigger: 1, ManualOnly: true}))
	for range 9 {
		must(t, db.Put([]byte("k"), nil))
		must(t, db.Flush(context.Background()))
	}
	b := db.NewBatch()
	must(t, b.Put([]byte("k"), []byte("late")))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := db.ApplyContext(ctx, b, seerdb.DefaultDurability); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if v, err := db.Get([]byte("k")); err != nil || len(v) != 0 {
		t.Fatalf("%q, %v", v, err)
	}
	must(t, db.Compact(context.Background(), nil, nil))
	must(t, db.ApplyContext(context.Background(), b, seerdb.DefaultDurability))
}
