package api

import (
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestArgumentsAreCopied: the slices that a call gets are the caller's again
// when it returns, also where what it returns is used later.
func TestArgumentsAreCopied(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	for _, k := range []string{"a", "ab", "b", "c"} {
		dbtest.Must(t, db.Put([]byte(k), []byte(k)))
	}
	s := db.NewSnapshot()
	defer func() { _ = s.Close() }()
	x := dbtest.Begin(t, db, nil)
	for name, r := range map[string]interface {
		Range(lo, hi []byte) *seerdb.Rows
		Prefix(p []byte) *seerdb.Rows
		NewIter(*seerdb.IterOptions) (*seerdb.Iter, error)
	}{"database": db, "snapshot": s, "transaction": x} {
		var rows *seerdb.Rows
		scribbled(func(b ...[]byte) { rows = r.Range(b[0], b[1]) }, "ab", "c")
		if got := dbtest.Collect(rows.Keys()); got != "ab b" {
			t.Errorf("%s: range shows %q", name, got)
		}
		scribbled(func(b ...[]byte) { rows = r.Prefix(b[0]) }, "a")
		if got := dbtest.Collect(rows.Keys()); got != "a ab" {
			t.Errorf("%s: prefix shows %q", name, got)
		}
		var it *seerdb.Iter
		scribbled(func(b ...[]byte) {
			var err error
			it, err = r.NewIter(&seerdb.IterOptions{LowerBound: b[0], UpperBound: b[1]})
			dbtest.Must(t, err)
		}, "ab", "c")
		var ok bool
		scribbled(func(b ...[]byte) { ok = it.SeekGE(b[0]) }, "aa")
		if !ok || string(it.Key()) != "ab" || it.Prev() || !it.Last() || string(it.Key()) != "b" {
			t.Errorf("%s: iterator at %q", name, it.Key())
		}
		dbtest.Must(t, it.Close())
	}
	batch := db.NewBatch()
	scribbled(func(b ...[]byte) {
		dbtest.Must(t, batch.Put(b[0], b[1]))
		dbtest.Must(t, batch.DeleteRange(b[2], b[3]))
		dbtest.Must(t, x.Put(b[0], b[1]))
		dbtest.Must(t, x.DeleteRange(b[2], b[3]))
		_, err := x.GetForUpdate(b[4])
		dbtest.Must(t, err)
	}, "d", "value", "b", "bb", "a")
	dbtest.Must(t, db.Apply(batch, seerdb.DefaultDurability))
	if v, err := db.Get([]byte("d")); string(v) != "value" {
		t.Errorf("batch: %q, %v", v, err)
	}
	if v, err := x.Get([]byte("d")); string(v) != "value" {
		t.Errorf("transaction: %q, %v", v, err)
	}
	rows := db.Range(nil, nil)
	if got := dbtest.Collect(rows.Keys()); got != "a ab c d" {
		t.Errorf("after the batch: %q", got)
	}
	dbtest.Must(t, db.Put([]byte("a"), nil))
	if err := x.Commit(); err == nil {
		t.Error("what was asked for update is not what is validated")
	}
}

// scribbled calls fn with copies of strings, and overwrites them.
func scribbled(fn func(args ...[]byte), args ...string) {
	var slices [][]byte
	for _, a := range args {
		slices = append(slices, []byte(a))
	}
	fn(slices...)
	for _, s := range slices {
		for i := range s {
			s[i] ^= 0x55
		}
	}
}
