package cost

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// TestDescriptorsAreClosed opens, uses and closes a database on the real file
// system again and again, and counts what the process has open.
func TestDescriptorsAreClosed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts in /proc")
	}
	dir := t.TempDir()
	before := 0
	for i := range 8 {
		o, to := dbtest.Tiny()
		db, err := seerdb.Open(dir, dbtest.With(o, to))
		dbtest.Must(t, err)
		for j := range 200 {
			dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%03d", (i*37+j)%300), make([]byte, 50+j*3)))
		}
		dbtest.Must(t, db.Flush(context.Background()))
		if i%2 == 0 {
			dbtest.Must(t, db.Compact(context.Background(), nil, nil))
		}
		dbtest.Contents(t, db)
		if _, err := seerdb.Open(dir, dbtest.With(o, to)); err == nil {
			t.Fatal("opened twice")
		}
		dbtest.Must(t, db.Close())
		if n := dbtest.OpenDescriptors(t); i == 1 {
			before = n // the first round may have made what stays, such as the poller's
		} else if i > 1 && n > before {
			t.Fatalf("after %d rounds %d descriptors are open; after the second %d", i+1, n, before)
		}
	}
}
