package jobs

import (
	"fmt"
	"testing"

	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/observe"
)

// TestTimeOfTables: the time that jobs take for tables is counted, and of that the time for
// models.
func TestTimeOfTables(t *testing.T) {
	r := newRig(t, memfs.New(), nil)
	k := r.env.Keyspaces.Root()
	for range 2 { // runs that overlap: one alone would only be moved
		for i := range 200 {
			r.Put(k, fmt.Sprintf("key %06d", i), "value")
		}
		r.Check(r.Flush(t.Context()))
	}
	var m observe.Metrics
	r.Metrics(&m)
	flushed := m.Index
	if flushed.Training <= 0 || flushed.BuildTime < flushed.Training {
		t.Errorf("a flush took %v for tables, and %v of that for models", flushed.BuildTime, flushed.Training)
	}
	r.Check(r.Compact(t.Context(), k, nil, nil))
	r.Metrics(&m)
	if m.Index.Training < flushed.Training || m.Index.BuildTime <= flushed.BuildTime {
		t.Errorf("after a compaction it is %v and %v, before it %v and %v", m.Index.BuildTime, m.Index.Training, flushed.BuildTime, flushed.Training)
	}
}
