package seerdb_test

import (
	"context"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// Bugs that were found by reading, each with the input that showed it.

// A seek whose target is what Key returned: the first source to move overwrites
// that buffer, and the next one must not look for the overwritten key.
func TestSeekToOwnKey(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	for _, run := range []string{"bdeg", "af"} {
		for _, k := range run {
			dbtest.Must(t, db.Put([]byte(string(k)), []byte{byte(k)}))
		}
		dbtest.Must(t, db.Flush(context.Background()))
	}
	it, err := db.NewIter(nil)
	dbtest.Must(t, err)
	if !it.SeekGE([]byte("f")) || !it.SeekLT(it.Key()) || string(it.Key()) != "e" {
		t.Fatalf("before f comes %q, want e", it.Key())
	}
	if !it.SeekGE([]byte("f")) || !it.SeekLT(it.Value()) || string(it.Key()) != "e" {
		t.Fatalf("before the value of f comes %q, want e", it.Key())
	}
	dbtest.Must(t, it.Close())
}
