package outputs_test

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// sweepJobs are jobs that make files of every type.
var sweepJobs = map[string]struct {
	keyspaces, threshold int
	tableSize            uint64
	inputs               func() []*rows
}{
	"tables and values": {1, 200, 4 << 10, func() []*rows {
		return []*rows{{prefix: "a", n: 100, size: 100}, {prefix: "b", n: 10, size: 1000}}
	}},
	"packs": {3, 2000, 1 << 20, func() []*rows {
		return []*rows{{prefix: "a", n: 10, size: 100}, {prefix: "b", n: 1000, size: 100}, {prefix: "c", n: 10, size: 4000}, {prefix: "d", n: 10, size: 100}}
	}},
	"several packs": {60, 0, 1 << 20, func() (in []*rows) {
		for i := range 45 {
			in = append(in, &rows{prefix: string(rune('A' + i)), n: 1, size: 60_000})
		}
		return in
	}},
}

// TestFailureSweep: whichever operation on a file fails, a job either fails and leaves no
// file, or has made all that it says; and whatever it made is closed, and removed once.
func TestFailureSweep(t *testing.T) {
	for name, job := range sweepJobs {
		for _, c := range []struct {
			op  faultfs.OpKind
			err error
		}{
			{faultfs.OpCreate, syscall.ENOSPC}, {faultfs.OpWrite, syscall.ENOSPC}, {faultfs.OpWrite, syscall.EIO},
			{faultfs.OpSync, syscall.EIO}, {faultfs.OpSync, syscall.ENOSPC}, {faultfs.OpStat, syscall.EIO},
		} {
			for skip := 0; ; skip++ {
				r := newRig(t)
				fired := r.disk.Inject(faultfs.Rule{Op: c.op, Err: c.err, Skip: skip, Count: 1})
				o := outputs.New(&r.Env, 1, false)
				o.ForKeyspaces(job.keyspaces)
				inputs := job.inputs()
				res, err := r.job(o, job.threshold, job.tableSize, inputs...)
				if fired.Count() == 0 {
					if err != nil || skip == 0 {
						t.Fatalf("%s: %v, after %d failures", name, err, skip)
					}
					r.holds(r.disk, res.Tables, inputs...)
					break
				}
				if !errors.Is(err, c.err) || errors.Is(err, base.ErrNoSpace) != (c.err == syscall.ENOSPC) {
					t.Fatalf("%s: operation %d, the %dth: %v, want %v", name, c.op, skip, err, c.err)
				}
				if files := r.files(); len(files) > 0 || len(res.Tables)+len(res.Values) > 0 {
					t.Fatalf("%s: operation %d, the %dth: %q are left, and %d tables are said to be", name, c.op, skip, files, len(res.Tables))
				}
				for _, s := range r.steps {
					if made, ok := strings.CutPrefix(s, "made "); ok && r.at("close "+made) < 0 {
						t.Fatalf("%s: operation %d, the %dth: %s is still open", name, c.op, skip, made)
					}
				}
				if r.poison != nil || r.at("sync the directory") >= 0 || r.at("built") >= 0 {
					t.Fatalf("%s: operation %d, the %dth: a failed job did\n%s", name, c.op, skip, strings.Join(r.steps, "\n"))
				}
			}
		}
	}
}

// TestFailedCloseIsNoFailure: a synced file is durable even if closing it fails; the logger
// gets the error.
func TestFailedCloseIsNoFailure(t *testing.T) {
	for name, job := range sweepJobs {
		r := newRig(t)
		fired := r.disk.Inject(faultfs.Rule{Op: faultfs.OpClose, Err: syscall.EIO, After: true})
		o := outputs.New(&r.Env, 1, false)
		o.ForKeyspaces(job.keyspaces)
		inputs := job.inputs()
		res, err := r.job(o, job.threshold, job.tableSize, inputs...)
		r.check(err)
		if n := strings.Count(r.logged.String(), "close after sync failed"); n == 0 || n != fired.Count() || n != len(r.files()) {
			t.Errorf("%s: %d of %d failed closes are logged, of %q", name, n, fired.Count(), r.files())
		}
		r.disk.Clear()
		r.holds(r.disk, res.Tables, inputs...)
	}
}

// TestDirectoryThatDoesNotSync: it is not known which names are durable, so the database
// is poisoned and the files stay for the next Open to judge.
func TestDirectoryThatDoesNotSync(t *testing.T) {
	for name, job := range sweepJobs {
		r := newRig(t)
		r.disk.Inject(faultfs.Rule{Op: faultfs.OpDirSync, Err: syscall.EIO})
		o := outputs.New(&r.Env, 1, false)
		o.ForKeyspaces(job.keyspaces)
		res, err := r.job(o, job.threshold, job.tableSize, job.inputs()...)
		if !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, syscall.EIO) || !errors.Is(r.poison, syscall.EIO) {
			t.Errorf("%s: %v; poisoned by %v", name, err, r.poison)
		}
		if len(res.Tables) > 0 || r.at("built") >= 0 {
			t.Errorf("%s: a failed job made %d tables", name, len(res.Tables))
		}
		made := 0
		for _, s := range r.steps {
			if strings.HasPrefix(s, "made ") {
				made++
			}
		}
		if files := r.files(); len(files) != made || made == 0 {
			t.Errorf("%s: of %d files %q are left", name, made, files)
		}
	}
}

// TestDiscard: a result that is not installed goes with all its files, each of them once,
// unless the database is poisoned.
func TestDiscard(t *testing.T) {
	for name, job := range sweepJobs {
		r := newRig(t)
		o := outputs.New(&r.Env, 1, false)
		o.ForKeyspaces(job.keyspaces)
		res, err := r.job(o, job.threshold, job.tableSize, job.inputs()...)
		r.check(err)
		files := r.files()
		r.poison = errors.New("poisoned")
		r.Discard(res)
		if left := r.files(); !slices.Equal(left, files) || len(files) == 0 {
			t.Errorf("%s: a poisoned database has %q of %q", name, left, files)
		}
		r.poison = nil
		r.Discard(res)
		if left := r.files(); len(left) > 0 {
			t.Errorf("%s: %q are left", name, left)
		}
	}
}

// TestJobThatIsStopped: a job that ends with an error of its own removes what its complete
// runs made, and syncs nothing. So does one with a pack that is not full.
func TestJobThatIsStopped(t *testing.T) {
	stopped := errors.New("stopped")
	for name, job := range sweepJobs {
		r := newRig(t)
		o := outputs.New(&r.Env, 1, false)
		o.ForKeyspaces(job.keyspaces)
		var all compaction.Result
		for _, in := range job.inputs() {
			o.Next(0, 0, job.threshold)
			res, err := r.run(o, in, job.tableSize)
			r.check(err)
			all.Append(res)
		}
		if len(r.files()) == 0 {
			t.Fatalf("%s made nothing", name)
		}
		res, err := o.Finish(all, stopped)
		if err != stopped || len(res.Tables) > 0 || len(r.files()) > 0 {
			t.Errorf("%s: %v, %d tables, and %q are left", name, err, len(res.Tables), r.files())
		}
		if r.at("sync the directory") >= 0 {
			t.Errorf("%s: the directory was synced", name)
		}
	}
}
