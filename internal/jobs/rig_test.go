package jobs

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/jobs/jobstest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// rig is the jobs of a database, and the commits that give them something to do.
type rig struct {
	*jobstest.Rig
	*Jobs
}

// rigOptions are what a test may change.
type rigOptions struct {
	jobstest.Options
	env  *Env // but for the rooms
	idle bool // no worker runs: the test calls what they would
	// removing is called before a file is removed.
	removing func(r *rig, t base.FileType, n base.FileNum)
}

// newRig returns jobs that have started.
func newRig(t testing.TB, disk *memfs.FS, change func(o *rigOptions)) *rig {
	t.Helper()
	o := rigOptions{Options: jobstest.NewOptions(), env: &Env{Config: jobstest.Config(), MaxCompactions: 1}}
	if change != nil {
		change(&o)
	}
	b := jobstest.New(t, disk, o.Options)
	env := o.env
	env.Outputs, env.Root, env.Store, env.Versions, env.Keyspaces, env.Commit = b.Outputs, b.Root, b.Store, b.Versions, b.Keyspaces, b.Commit
	env.Clock, env.Room, env.Pace, env.Report, env.Work, env.Latch, env.Remove = b.Clock, b.Room, b.Pace, b.Report, b.Work, b.Latch, b.Remove
	r := &rig{Rig: b, Jobs: New(*env)}
	if o.removing != nil {
		b.Removing = func(t base.FileType, n base.FileNum) { o.removing(r, t, n) }
	}
	b.Begin(r.Jobs)
	if !o.idle {
		b.Commit.Start()
		r.Start()
	}
	return r
}
