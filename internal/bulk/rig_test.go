package bulk

import (
	"fmt"
	"iter"
	"testing"

	"github.com/seerdb-go/seerdb/internal/jobs"
	"github.com/seerdb-go/seerdb/internal/jobs/jobstest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// rig is loads into a database with jobs, without an engine.
type rig struct {
	*jobstest.Rig
	jobs  *jobs.Jobs
	loads Env
}

// newRig returns a rig that sorts in as little memory as may be.
func newRig(t testing.TB, change func(*jobstest.Options)) *rig {
	t.Helper()
	o := jobstest.NewOptions()
	o.Keyspace.ValueThreshold = 200
	if change != nil {
		change(&o)
	}
	b := jobstest.New(t, memfs.New(), o)
	r := &rig{Rig: b}
	r.jobs = jobs.New(jobs.Env{
		Config: jobstest.Config(), MaxCompactions: 1, Outputs: b.Outputs,
		Root: b.Root, Store: b.Store, Versions: b.Versions, Keyspaces: b.Keyspaces, Commit: b.Commit, Clock: b.Clock,
		Room: b.Room, Pace: b.Pace, Report: b.Report, Work: b.Work, Latch: b.Latch, Remove: b.Remove,
	})
	r.loads = Env{
		FS: b.Dir, IO: b.IO, Files: b.Files, Cache: b.Cache, MemoryBudget: 1, Config: jobstest.Config(),
		Store: b.Store, Versions: b.Versions, Jobs: r.jobs, Commit: b.Commit, Report: b.Report, Work: b.Work, Latch: b.Latch,
	}
	b.Begin(r.jobs)
	b.Commit.Start()
	r.jobs.Start()
	return r
}

// testRow is a row of a test.
type testRow struct{ key, value string }

// inOrder are n rows in order, with values so long.
func inOrder(n, size int) (rows []testRow) {
	for i := range n {
		rows = append(rows, testRow{fmt.Sprintf("k%06d", i), fmt.Sprintf("%0*d", size, i)})
	}
	return rows
}

// shuffled are the same in another order.
func shuffled(rows []testRow) []testRow {
	out := make([]testRow, len(rows))
	for i := range rows {
		out[i] = rows[i*7919%len(rows)]
	}
	return out
}

// each yields rows in slices that are used again, and calls at, if it is not nil, before each.
func each(rows []testRow, at func(i int)) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		var key, value []byte
		for i, r := range rows {
			if at != nil {
				at(i)
			}
			key, value = append(key[:0], r.key...), append(value[:0], r.value...)
			if !yield(key, value) {
				return
			}
		}
	}
}

// sum is what readers see after a load of rows.
func sum(rows []testRow) map[string]string {
	out := map[string]string{}
	for _, r := range rows {
		out[r.key] = r.value
	}
	return out
}
