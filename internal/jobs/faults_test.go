package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// retire makes what was committed immutable.
func (r *rig) retire() {
	r.Helper()
	r.Check(r.Commit.Retire(r.Context(), func([]*generation.Generation) func() error {
		return func() error { return nil }
	}))
}

// newQuietRig is a model rig in which no job runs unless the test runs it.
func newQuietRig(t testing.TB, change func(*rigOptions)) *modelRig {
	m := newModelRig(t, 7, func(o *rigOptions) {
		o.idle = true
		if change != nil {
			change(o)
		}
	})
	m.Commit.Start()
	return m
}

// fill flushes so many runs, of some operations each.
func (m *modelRig) fill(runs, operations int) {
	m.Helper()
	for range runs {
		for range operations {
			m.do()
		}
		m.retire()
		m.Check(m.FlushAll(m.Context()))
	}
}

// compactAll runs what there is to pick, until a job fails.
func (r *rig) compactAll() error {
	for {
		j, err := r.pickCompaction()
		if j == nil {
			return err
		}
		if err := r.compact(r.Context(), j); err != nil {
			return err
		}
	}
}

// faults are what meets a job, and whether the database may be poisoned by it.
var faults = []struct {
	op      faultfs.OpKind
	path    string
	err     error
	poisons bool
	// harmless means that some of these cost nothing: those of marks behind edits.
	harmless bool
}{
	{op: faultfs.OpCreate, path: "*.sst", err: syscall.ENOSPC},
	{op: faultfs.OpCreate, path: "*.val", err: syscall.EIO},
	{op: faultfs.OpCreate, path: "*.pack", err: syscall.ENOSPC},
	{op: faultfs.OpWrite, path: "*.sst", err: syscall.EIO},
	{op: faultfs.OpWrite, path: "*.val", err: syscall.ENOSPC},
	{op: faultfs.OpWrite, path: "*.pack", err: syscall.EIO},
	{op: faultfs.OpSync, path: "*.sst", err: syscall.ENOSPC},
	{op: faultfs.OpSync, path: "*.val", err: syscall.EIO},
	{op: faultfs.OpSync, path: "*.pack", err: syscall.EIO},
	{op: faultfs.OpWrite, path: "MANIFEST*", err: syscall.ENOSPC, harmless: true},
	{op: faultfs.OpWrite, path: "MANIFEST*", err: syscall.EIO, poisons: true, harmless: true},
	{op: faultfs.OpSync, path: "MANIFEST*", err: syscall.EIO, poisons: true},
	{op: faultfs.OpDirSync, err: syscall.EIO, poisons: true},
}

// TestFaultSweep: whichever operation on a file fails, a flush and a compaction lose no row,
// leave no file and no busy table, and either succeed when they are tried again or have
// poisoned the database, which goes on being read.
func TestFaultSweep(t *testing.T) {
	for name, c := range map[string]struct {
		before func(m *modelRig)
		run    func(m *modelRig) error
		also   []faultfs.OpKind
	}{
		"flush": {
			func(m *modelRig) { m.fill(1, 20); m.some(60); m.retire() },
			func(m *modelRig) error { return m.FlushAll(m.Context()) }, nil,
		},
		"compaction": {
			func(m *modelRig) { m.fill(5, 30) },
			func(m *modelRig) error { return m.compactAll() }, []faultfs.OpKind{faultfs.OpRead},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := slices.Clone(faults)
			for _, op := range c.also { // of reads only those for what is picked cost nothing
				for _, path := range []string{"*.sst", "*.pack"} {
					fault := faults[0]
					fault.op, fault.path, fault.err, fault.harmless = op, path, syscall.EIO, true
					all = append(all, fault)
				}
			}
			for _, fault := range all {
				step := 1
				for skip := 0; ; skip += step {
					if skip > 3 && testing.Short() {
						step = 11
					}
					m := newQuietRig(t, func(o *rigOptions) {
						if o.env.Config.PackFrom = 100; fault.path == "*.pack" {
							o.env.Config.PackFrom = 0 // also for one keyspace
						}
					})
					c.before(m)
					fired := m.FS.Inject(faultfs.Rule{Op: fault.op, Path: fault.path, Err: fault.err, Skip: skip, Count: 1})
					err := c.run(m)
					m.FS.Clear()
					what := fmt.Sprintf("operation %b of %s, the %dth", fault.op, fault.path, skip)
					if fired.Count() == 0 {
						if err != nil || skip == 0 {
							t.Fatalf("%s: %v", what, err)
						}
						m.Close()
						break
					}
					m.afterFault(what, err, fault.err, fault.poisons, fault.harmless, c.run)
					m.Close()
				}
			}
		})
	}
}

// some makes some operations.
func (m *modelRig) some(n int) {
	for range n {
		m.do()
	}
}

// afterFault checks what a job left that met cause and returned err, and runs it again.
func (m *modelRig) afterFault(what string, err, cause error, poisons, harmless bool, again func(*modelRig) error) {
	m.Helper()
	m.want(what)
	if err == nil && m.Latch.Cause() == nil && harmless {
		m.wantRest(what)
		return
	}
	if poisoned := m.Latch.Cause(); poisoned != nil {
		if !poisons || !errors.Is(err, base.ErrReadOnly) || !errors.Is(poisoned, cause) {
			m.Fatalf("%s: %v, and the database is poisoned by %v", what, err, poisoned)
		}
		return
	}
	if !errors.Is(err, cause) || poisons {
		m.Fatalf("%s: %v, expected %v", what, err, cause)
	}
	m.wantRest(what)
	if err := again(m); err != nil {
		m.Fatalf("%s: once more: %v", what, err)
	}
	m.want(what + ", once more")
	m.wantRest(what + ", once more")
	if errs := m.Errors(); len(errs) > 0 {
		m.Fatalf("%s: what goes on again fails with %v", what, errs)
	}
}

// TestLogsThatStay: a flush is done though the logs that it makes useless cannot be removed.
func TestLogsThatStay(t *testing.T) {
	m := newQuietRig(t, nil)
	m.some(20)
	m.retire()
	fired := m.FS.Inject(faultfs.Rule{Op: faultfs.OpRemove, Path: "*.wal"})
	m.Check(m.FlushAll(t.Context()))
	if m.want("the log stays"); fired.Count() == 0 || len(m.Store.Current().Imm) > 0 || m.Latch.Cause() != nil {
		t.Errorf("%d removals failed, %d memtables wait, poisoned by %v", fired.Count(), len(m.Store.Current().Imm), m.Latch.Cause())
	}
}

// TestLogsGoAfterTheirTables: when a log is removed a power cut leaves a manifest that does
// not need it, and the files that this names (I4, I11).
func TestLogsGoAfterTheirTables(t *testing.T) {
	logs := 0
	m := newModelRig(t, 3, func(o *rigOptions) {
		o.removing = func(r *rig, typ base.FileType, n base.FileNum) {
			if typ != base.FileTypeLog {
				return
			}
			logs++
			left := r.Disk.CrashClone(memfs.CrashOptions{})
			st, err := manifest.Recover(left, "db")
			if err != nil {
				r.Errorf("log %d goes: %v", n, err)
				return
			}
			if st.LogNum <= n {
				r.Errorf("log %d goes, and the logs from %d on are needed", n, st.LogNum)
			}
			sizes := map[string]uint64{}
			st.Version.All(func(_ int, f *manifest.FileMeta) bool {
				sizes[f.FileName()] = max(f.Size, f.PackSize)
				return true
			})
			for num, f := range st.Version.Values {
				sizes[base.FileName(base.FileTypeValues, num)] = f.Bytes
			}
			for name, size := range sizes {
				if info, err := left.Stat("db/" + name); err != nil || uint64(info.Size()) < size {
					r.Errorf("log %d goes, and a power cut leaves of %s with %d bytes: %v, %v", n, name, size, info, err)
				}
			}
		}
	})
	for range 30 {
		m.some(25)
		m.Check(m.Flush(t.Context()))
	}
	m.Close()
	if logs < 20 {
		t.Errorf("%d logs were removed", logs)
	}
}

// TestFlushLeavesWhatFollows: a flush up to a sequence leaves newer generations and their logs
// alone, and says that they are needed.
func TestFlushLeavesWhatFollows(t *testing.T) {
	m := newQuietRig(t, nil)
	m.some(20)
	m.retire()
	last := m.Store.Current().Imm[0].LastSeq
	m.some(20)
	m.retire()
	newer := m.Store.Current().Imm[0]
	m.flushMu.Lock()
	did, err := m.flushBefore(t.Context(), last)
	m.flushMu.Unlock()
	if s := m.Store.Current(); err != nil || !did || len(s.Imm) != 1 || s.Imm[0] != newer {
		t.Fatalf("%v, %v; %d memtables wait", did, err, len(s.Imm))
	}
	if st := m.Versions.Manifest().State(); st.LogNum != newer.Num || m.Commit.DurableSeq() < last {
		t.Errorf("logs from %d on are needed, the oldest that is left is %d; durable up to %d of %d", st.LogNum, newer.Num, m.Commit.DurableSeq(), last)
	}
	m.want("the newer one is in memory")
	m.wantRest("the newer one is in memory")
}

// TestFlushMakesDurable what no sync of the log did.
func TestFlushMakesDurable(t *testing.T) {
	r := newRig(t, memfs.New(), func(o *rigOptions) { o.Commit.Durability = commit.Buffered })
	r.Put(r.Keyspaces.Root(), "a", "1")
	last := r.Commit.LastSeq()
	if got := r.Commit.DurableSeq(); got >= last {
		t.Errorf("durable up to %d before a flush, of %d", got, last)
	}
	r.Check(r.Flush(t.Context()))
	if got := r.Commit.DurableSeq(); got != last {
		t.Errorf("durable up to %d behind a flush, of %d", got, last)
	}
}

// TestFlushWaitsForWriters: commits that have their place in a memtable and are not applied yet
// are part of its flush.
func TestFlushWaitsForWriters(t *testing.T) {
	m := newQuietRig(t, nil)
	m.some(20)
	g := m.Store.Current().Active
	g.Mem.BeginWrite()
	m.retire()
	flushed := make(chan error)
	go func() { flushed <- m.FlushAll(context.Background()) }()
	select {
	case err := <-flushed:
		t.Errorf("a flush ended beside a commit that is being applied: %v", err)
		g.Mem.EndWrite()
	case <-time.After(20 * time.Millisecond):
		g.Mem.EndWrite()
		m.Check(<-flushed)
	}
	m.want("behind the writer")
}

// TestFlushThatIsCutShort: one whose context ends leaves no file, and costs nothing.
func TestFlushThatIsCutShort(t *testing.T) {
	m := newQuietRig(t, nil)
	m.some(60)
	m.retire()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.FlushAll(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a flush without time: %v", err)
	}
	m.want("cut short")
	m.wantRest("cut short")
	m.Check(m.FlushAll(t.Context()))
	m.want("once more")
}
