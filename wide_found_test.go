package seerdb_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// Mistakes that were found by reading, of the wider data model.

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
