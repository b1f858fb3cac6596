package api

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// keyspaceWith opens a keyspace in which k has a value.
func keyspaceWith(t *testing.T, db *seerdb.DB, name, value string) *seerdb.Keyspace {
	t.Helper()
	k, err := db.Keyspace(name, nil)
	dbtest.Must(t, err)
	dbtest.Must(t, k.Put([]byte("k"), []byte(value)))
	return k
}

// invalid checks that a call was refused for its handle.
func invalid(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Errorf("%s: %v, want ErrInvalidOptions", what, err)
	}
}

// everyWrite calls each method of a writer.
func everyWrite(w seerdb.Writer) map[string]error {
	k := []byte("k")
	return map[string]error{
		"put": w.Put(k, k), "delete": w.Delete(k), "single delete": w.SingleDelete(k), "merge": w.Merge(k, k),
		"delete range": w.DeleteRange(nil, nil), "put for a time": w.PutTTL(k, k, time.Hour), "put until": w.PutUntil(k, k, time.Now()),
	}
}

// everyRead calls each method of a reader.
func everyRead(r seerdb.Reader) map[string]error {
	k := []byte("k")
	_, get := r.Get(k)
	_, appendGet := r.AppendGet(nil, k)
	_, has := r.Has(k)
	_, _, expiry := r.Expiry(k)
	it, iter := r.NewIter(nil)
	if iter == nil {
		_ = it.Close()
	}
	rows := r.Range(nil, nil)
	for range rows.All() {
	}
	prefix := r.Prefix(k)
	for range prefix.All() {
	}
	return map[string]error{
		"get": get, "append get": appendGet, "prefix": prefix.Err(), "has": has, "expiry": expiry, "iterator": iter, "rows": rows.Err(),
		"get func": r.GetFunc(k, func([]byte) error { return nil }),
	}
}

// TestHandlesOfAnotherOpening: a keyspace of another database, or of an earlier
// opening, has a number that means something else here. Batches, transactions
// and snapshots refuse it, and nothing is read or written.
func TestHandlesOfAnotherOpening(t *testing.T) {
	fs := memfs.New()
	a := dbtest.Open(t, "a", dbtest.SmallOn(fs, seerdb.Sync))
	old := keyspaceWith(t, a, "orders", "ours")
	oldBatch := a.NewBatch()
	dbtest.Must(t, oldBatch.Put([]byte("k"), nil))
	dbtest.Must(t, a.Close())
	a = dbtest.Open(t, "a", dbtest.SmallOn(fs, seerdb.Sync))
	ours, err := a.Keyspace("orders", nil)
	dbtest.Must(t, err)
	b := dbtest.Open(t, "b", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	theirs := keyspaceWith(t, b, "secrets", "theirs")

	for name, k := range map[string]*seerdb.Keyspace{"another database": theirs, "an earlier opening": old} {
		t.Run(name, func(t *testing.T) {
			for what, err := range everyWrite(a.NewBatch().In(k)) {
				invalid(t, "batch: "+what, err)
			}
			batch := a.NewBatch()
			dbtest.Must(t, batch.Put([]byte("k"), nil))
			_ = batch.In(k).Put([]byte("k"), nil)
			invalid(t, "a batch that refused an operation", a.Apply(batch, seerdb.DefaultDurability))

			s := a.NewSnapshot()
			defer func() { _ = s.Close() }()
			for what, err := range everyRead(s.In(k)) {
				invalid(t, "snapshot: "+what, err)
			}
			x := dbtest.Begin(t, a, nil)
			for what, err := range everyRead(x.In(k)) {
				invalid(t, "transaction: "+what, err)
			}
			for what, err := range everyWrite(x.In(k)) {
				invalid(t, "transaction: "+what, err)
			}
			_, err := x.In(k).GetForUpdate([]byte("k"))
			invalid(t, "transaction: get for update", err)
			dbtest.Must(t, x.Commit())
		})
	}
	invalid(t, "a batch of an earlier opening", a.Apply(oldBatch, seerdb.DefaultDurability))
	if v, err := ours.Get([]byte("k")); string(v) != "ours" {
		t.Errorf("our keyspace has %q, %v", v, err)
	}
	if v, err := theirs.Get([]byte("k")); string(v) != "theirs" {
		t.Errorf("their keyspace has %q, %v", v, err)
	}
	if ok, err := a.Has([]byte("k")); ok || err != nil {
		t.Errorf("the default keyspace has the key: %v, %v", ok, err)
	}
}

// TestBatchBelongsToOneDatabase: a batch goes to the database whose keyspaces it
// writes to. The zero Batch takes the first, until it is reset.
func TestBatchBelongsToOneDatabase(t *testing.T) {
	a := dbtest.Open(t, "a", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	b := dbtest.Open(t, "b", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	ka, kb := keyspaceWith(t, a, "x", "a"), keyspaceWith(t, b, "x", "b")

	var batch seerdb.Batch
	in := batch.In(ka) // naming a keyspace is not writing to it
	dbtest.Must(t, batch.Put([]byte("d"), nil))
	dbtest.Must(t, b.Apply(&batch, seerdb.DefaultDurability))
	dbtest.Must(t, in.Put([]byte("k"), []byte("new")))
	invalid(t, "apply to the other", b.Apply(&batch, seerdb.DefaultDurability))
	dbtest.Must(t, a.Apply(&batch, seerdb.DefaultDurability))
	invalid(t, "both in one batch", batch.In(kb).Put([]byte("k"), nil))
	invalid(t, "apply after that", a.Apply(&batch, seerdb.DefaultDurability))

	batch.Reset()
	dbtest.Must(t, batch.In(kb).Put([]byte("k"), []byte("new")))
	invalid(t, "what names the first keyspace", in.Put([]byte("k"), nil))
	batch.Reset()
	dbtest.Must(t, in.Delete([]byte("k")))
	invalid(t, "apply to the other after a reset", b.Apply(&batch, seerdb.DefaultDurability))
	if v, err := kb.Get([]byte("k")); string(v) != "b" {
		t.Errorf("the other database has %q, %v", v, err)
	}
}

// TestForeignHandlesAreNamed: the error for a handle of another database names
// both directories, and that for one of an earlier opening the one there is.
func TestForeignHandlesAreNamed(t *testing.T) {
	fs := memfs.New()
	a := dbtest.Open(t, "ours", dbtest.SmallOn(fs, seerdb.Sync))
	old := keyspaceWith(t, a, "orders", "value")
	dbtest.Must(t, a.Close())
	a = dbtest.Open(t, "ours", dbtest.SmallOn(fs, seerdb.Sync))
	theirs := keyspaceWith(t, dbtest.Open(t, "theirs", dbtest.SmallOn(memfs.New(), seerdb.Sync)), "secrets", "value")
	for k, want := range map[*seerdb.Keyspace]string{
		old:    `keyspace "orders" is of another Open of ours;`,
		theirs: `keyspace "secrets" is of the database in theirs, and was used with that in ours`,
	} {
		if err := a.NewBatch().In(k).Put([]byte("k"), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
