package seerdb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs"
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
	fs := vfs.NewMem()
	now := time.UnixMilli(1_000_000)
	options := func() *seerdb.Options {
		o := smallOn(fs, seerdb.Sync)
		o.Merger = merger.Counter{}
		return o.With(seerdb.TestOptions{FS: fs, Clock: func() time.Time { return now }, ManualOnly: true})
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
	now = now.Add(time.Second)
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
