package seerdb_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/seerdb-go/seerdb"
)

// TestMain checks that no test leaves a goroutine behind, and lets the test
// binary stand in for other processes (see childEnv).
func TestMain(m *testing.M) {
	runChild()
	goleak.VerifyTestMain(m)
}

// TestDescriptorsAreClosed opens, uses and closes a database on the real file
// system again and again, and counts what the process has open.
func TestDescriptorsAreClosed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts in /proc")
	}
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(list)
	}
	dir := t.TempDir()
	before := 0
	for i := range 8 {
		o, to := tiny()
		db, err := seerdb.Open(dir, o.With(to))
		must(t, err)
		for j := range 200 {
			must(t, db.Put(fmt.Appendf(nil, "key%03d", (i*37+j)%300), make([]byte, 50+j*3)))
		}
		must(t, db.Flush(context.Background()))
		if i%2 == 0 {
			must(t, db.Compact(context.Background(), nil, nil))
		}
		contents(t, db)
		if _, err := seerdb.Open(dir, o.With(to)); err == nil {
			t.Fatal("opened twice")
		}
		must(t, db.Close())
		if n := count(); i == 1 {
			before = n // the first round may have made what stays, such as the poller's
		} else if i > 1 && n > before {
			t.Fatalf("after %d rounds %d descriptors are open; after the second %d", i+1, n, before)
		}
	}
}
