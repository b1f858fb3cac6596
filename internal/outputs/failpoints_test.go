//go:build failpoints

package outputs_test

import (
	"errors"
	"testing"

	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/outputs"
)

// TestFailpoints: each step of the order of durability can fail, in the job that comes to
// it, and leaves no file.
func TestFailpoints(t *testing.T) {
	for _, c := range []struct {
		point failpoint.Name
		jobs  []string
	}{
		{failpoint.OutputAfterValuesSync, []string{"tables and values", "packs"}},
		{failpoint.OutputAfterTableSync, []string{"tables and values", "packs", "several packs"}},
		{failpoint.OutputAfterDirSync, []string{"tables and values", "packs", "several packs"}},
	} {
		for _, name := range c.jobs {
			job, mine := sweepJobs[name], errors.New("mine")
			r := newRig(t)
			hits := 0
			failpoint.Set(c.point, func() error { hits++; return mine })
			o := outputs.New(&r.Env, 1, false)
			o.ForKeyspaces(job.keyspaces)
			res, err := r.job(o, job.threshold, job.tableSize, job.inputs()...)
			failpoint.Set(c.point, nil)
			if !errors.Is(err, mine) || hits != 1 || len(res.Tables) > 0 || len(r.files()) > 0 {
				t.Errorf("%s at %s: %v after %d hits; %q are left", name, c.point, err, hits, r.files())
			}
			if synced := r.at("sync the directory") >= 0; synced != (c.point == failpoint.OutputAfterDirSync) {
				t.Errorf("%s at %s: the directory was synced: %v", name, c.point, synced)
			}
		}
	}
}
