package files

import (
	"errors"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

// TestWrongMergerChangesNothing: an Open that is refused for its merge operator
// must not have merged with it what was in the log.
func TestWrongMergerChangesNothing(t *testing.T) {
	fs := memfs.New()
	o := dbtest.SmallOn(fs, seerdb.Sync)
	o.Merger = merger.Append{Sep: ","}
	db, err := seerdb.Open("db", o)
	dbtest.Must(t, err)
	dbtest.Must(t, db.Put([]byte("k"), []byte("a")))
	dbtest.Must(t, db.Merge([]byte("k"), []byte("b")))
	dbtest.Must(t, db.Close())
	for _, readOnly := range []bool{true, false} {
		for _, m := range []seerdb.Merger{merger.Max{}, nil} {
			wrong := *o
			wrong.Merger, wrong.ReadOnly = m, readOnly
			if db, err := seerdb.Open("db", &wrong); !errors.Is(err, seerdb.ErrInvalidOptions) {
				t.Errorf("operator %v, read only %v: %v", m, readOnly, err)
				if err == nil {
					dbtest.Must(t, db.Close())
				}
			}
		}
	}
	db = dbtest.Open(t, "db", o)
	if v, err := db.Get([]byte("k")); string(v) != "a,b" || err != nil {
		t.Fatalf("%q, %v", v, err)
	}
}

// TestWrongMergerReadOnly: a keyspace is not opened with another operator to be
// read, either.
func TestWrongMergerReadOnly(t *testing.T) {
	fs := memfs.New()
	o := dbtest.SmallOn(fs, seerdb.Sync)
	db, err := seerdb.Open("db", o)
	dbtest.Must(t, err)
	k, err := db.Keyspace("k", &seerdb.KeyspaceOptions{Merger: merger.Append{Sep: ","}})
	dbtest.Must(t, err)
	dbtest.Must(t, k.Merge([]byte("k"), []byte("a")))
	dbtest.Must(t, k.Merge([]byte("k"), []byte("b")))
	dbtest.Must(t, db.Close())
	ro := *o
	ro.ReadOnly = true
	db = dbtest.Open(t, "db", &ro)
	for _, m := range []seerdb.Merger{merger.Max{}, nil} {
		if _, err := db.Keyspace("k", &seerdb.KeyspaceOptions{Merger: m}); !errors.Is(err, seerdb.ErrInvalidOptions) {
			t.Errorf("operator %v: %v", m, err)
		}
	}
	k, err = db.Keyspace("k", &seerdb.KeyspaceOptions{Merger: merger.Append{Sep: ","}})
	dbtest.Must(t, err)
	if v, err := k.Get([]byte("k")); string(v) != "a,b" || err != nil {
		t.Fatalf("%q, %v", v, err)
	}
}
