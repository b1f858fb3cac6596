package cost

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// TestBulkLoadMemory loads much more than the memory it may take.
func TestBulkLoadMemory(t *testing.T) {
	if dbtest.RaceEnabled {
		t.Skip("the race detector takes memory of its own")
	}
	const rows, budget = 300_000, 8 << 20
	for _, unsorted := range []bool{false, true} {
		db, err := seerdb.Open(t.TempDir(), &seerdb.Options{MemoryBudget: budget, TableSize: 1 << 20})
		dbtest.Must(t, err)
		runtime.GC()
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		most := uint64(0)
		value := []byte(strings.Repeat("v", 200))
		st, err := db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
			var k []byte
			for i := range rows {
				n := i
				if unsorted {
					n = i * 7919 % rows
				}
				if k = fmt.Appendf(k[:0], "key%08d", n); !yield(k, value) {
					return
				}
			}
		}, &seerdb.BulkOptions{Unsorted: unsorted, Progress: func(p seerdb.BulkProgress) {
			if p.Bytes>>20%8 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
		}})
		dbtest.Must(t, err)
		dbtest.Must(t, db.Close())
		if held := int64(most) - int64(before.HeapAlloc); st.Rows != rows || held > budget {
			t.Errorf("unsorted=%v: %d bytes of %d were held", unsorted, held, st.Bytes)
		} else {
			t.Logf("unsorted=%v: at most %d KiB held for %d MiB; %+v", unsorted, held>>10, st.Bytes>>20, st)
		}
	}
}
