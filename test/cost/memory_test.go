package cost

import (
	"context"
	"fmt"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/offheap"
)

// TestCloseGivesMemoryBack counts the memory outside the Go heap, which no
// garbage collector returns. The cache once stayed mapped after every Close of
// a database that had read a page: what closes it waits for the last state, and
// states were counted down and never up.
func TestCloseGivesMemoryBack(t *testing.T) {
	before := offheap.Mapped()
	dir := t.TempDir()
	for range 3 {
		db, err := seerdb.Open(dir, &seerdb.Options{Durability: seerdb.Buffered})
		dbtest.Must(t, err)
		for i := range 1000 {
			dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%04d", i), []byte("value")))
		}
		dbtest.Must(t, db.Flush(context.Background()))
		it, err := db.NewIter(nil)
		dbtest.Must(t, err)
		for ok := it.First(); ok; ok = it.Next() {
			_ = it.Value()
		}
		dbtest.Must(t, it.Close())
		late, err := db.NewIter(nil)
		dbtest.Must(t, err)
		late.First()
		if db.Close() == nil {
			t.Fatal("Close did not report the open iterator")
		}
		_ = late.Close()
		if n := offheap.Mapped() - before; n != 0 {
			t.Fatalf("%d bytes are mapped after Close", n)
		}
	}
}
