package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/bulk"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/jobs"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/outputs"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/report"
	"github.com/seerdb-go/seerdb/internal/versions"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/work"
)

// The part of the budget for buffers of jobs on the Go heap and for uncollected
// garbage. The need depends on the sizes of tables and pages more than on the budget:
// with the defaults two jobs use some 8 MB, which the collector lets grow to 16.
const (
	heapShare = 4
	maxHeap   = 16 << 20
)

// Open opens the database in dir, or creates one.
func Open(dir string, o Options) (*Engine, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		opts: o, opened: time.Now(), dir: directory{name: dir, files: filecache.New(o.OpenFiles)},
		report: report.New(o.Logger, o.Listener), work: work.New(),
	}
	e.clock.Start(o.Clock, o.Elapsed)
	e.room.Init()
	budget := o.MemoryBudget
	if o.NoCache {
		budget = 0
	}
	e.cache = cache.New(cache.Options{Budget: budget})
	e.cache.Charge(cache.Heap, min(o.MemoryBudget/heapShare, maxHeap))
	e.open.Init(e.cache)
	e.versions = versions.New(versions.Options{Latch: &e.latch, Poison: func(cause error) { e.commit.Poison(cause) }})
	op := &opening{e: e}
	if err := op.run(); err != nil {
		op.abandon()
		return nil, err
	}
	if !o.ReadOnly {
		e.room.Opened()
		e.commit.Start()
		e.jobs.Start()
	}
	return e, nil
}

// opening is an Open in progress.
type opening struct{ e *Engine }

// abandon undoes an Open that failed.
func (o *opening) abandon() {
	e := o.e
	e.work.Stop()
	e.work.Wait()
	if e.store == nil {
		e.dir.release()
		e.cache.Close()
		return
	}
	e.commit.Abandon()
	e.versions.Undo(e.dir.fs)
	_ = e.versions.Close()
	e.dir.release()
	e.store.Close()()
	e.store.Freed()
}

// run opens and locks the directory, and recovers the database or creates one.
func (o *opening) run() error {
	e := o.e
	mustExist := e.opts.ErrorIfMissing || e.opts.ReadOnly
	if err := e.dir.open(e.opts.FS, mustExist); err != nil {
		return err
	}
	current := base.FileName(base.FileTypeCurrent, 0)
	if mustExist {
		// Check before creating anything.
		if _, err := e.dir.fs.Stat(current); errors.Is(err, fs.ErrNotExist) {
			return e.dir.noDatabase()
		}
	}
	if err := e.dir.take(e.opts.ReadOnly); err != nil {
		return err
	}
	if !e.opts.ReadOnly {
		e.room.Adopt(filecache.NewFS(e.dir.root, e.dir.files))
	}
	o.furnish()
	names, err := e.dir.fs.List(vfs.Top)
	if err != nil {
		return vfs.Cannot("list the directory "+e.dir.name, err)
	}
	_, err = e.dir.fs.Stat(current)
	switch {
	case err == nil && e.opts.ErrorIfExists:
		return fmt.Errorf("%w in %s", base.ErrExists, e.dir.name)
	case err == nil:
		return o.recover(names)
	case errors.Is(err, fs.ErrNotExist) && mustExist:
		return e.dir.noDatabase()
	case errors.Is(err, fs.ErrNotExist):
		return o.create()
	}
	return vfs.Cannot("find out whether there is a database in "+e.dir.name, err)
}

// furnish makes the components of the engine, each from those before it.
func (o *opening) furnish() {
	e, opts := o.e, &o.e.opts
	d, config := &e.dir, opts.compaction()
	over := e.room.Over(d.fs) // for files that may take the reserve
	remove := func(t base.FileType, n base.FileNum, size int64) { d.remove(t, n, size, e.report) }
	e.store = readstate.New(readstate.Options{
		Dir: d.name, FS: d.io, Files: d.files, Cache: e.cache, Clock: &e.clock, Logger: e.report.Logger,
		MemoryBudget: opts.MemoryBudget, MemtableSize: int64(opts.MemtableSize), Work: e.work,
		Damaged: e.report.Damage, Remove: remove, Freed: func() { e.cache.Close() },
	})
	e.keyspaces = keyspace.New(
		keyspace.Config{Versions: e.versions, SyncNew: opts.Durability == Sync, Closed: e.store.Closed},
		keyspace.Options{ValueThreshold: opts.ValueThreshold, Codec: opts.Codec, Merger: opts.Merger, Filter: opts.Filter})
	e.root = &Keyspace{e, e.keyspaces.Root()}
	pace := pace.New(pace.Options{
		L0Slowdown: opts.L0Slowdown, L0Stop: opts.L0Stop, BaseLevelBytes: opts.BaseLevelBytes,
		Trees: e.store.Runs, Done: e.work.Done(),
	})
	e.commit = commit.New(commit.Env{
		Durability: opts.Durability, SyncInterval: opts.SyncInterval,
		MemoryBudget: opts.MemoryBudget, MemtableSize: opts.MemtableSize, Partitions: opts.Partitions,
		FS: over, Dir: d.handle, Store: e.store, Versions: e.versions, Keyspaces: e.keyspaces,
		Pins: &e.open, Clock: &e.clock, Room: &e.room, Pace: pace, Report: e.report, Work: e.work, Latch: &e.latch,
		Tree: &e.dropped,
		Kick: func() { e.jobs.Kick() }, Blocking: func(s commit.Stop) error { return e.jobs.Blocking(s) },
	})
	e.dropped.init(e.store, e.versions, e.keyspaces, e.commit)
	e.jobs = jobs.New(jobs.Env{
		Config: config, MaxCompactions: opts.MaxCompactions, ManualOnly: opts.ManualOnly || opts.ReadOnly,
		Outputs: outputs.Env{
			FS: d.fs, Room: over, Dir: d.handle, PageSize: opts.PageSize, FilterBits: opts.FilterBits, Index: opts.Index,
		},
		Root: d.root, Store: e.store, Versions: e.versions, Keyspaces: e.keyspaces, Commit: e.commit,
		Clock: &e.clock, Room: &e.room, Pace: pace, Report: e.report, Work: e.work, Latch: &e.latch, Remove: remove,
	})
	e.iters = dbiter.Env{
		Store: e.store, Pins: &e.open, Folded: new(dbiter.Folded), DeadMin: opts.DeadMin, FoldFrom: opts.FoldFrom, Share: e.commit.ShareActive,
	}
	e.loads = bulk.Env{
		FS: d.fs, IO: d.io, Files: d.files, Cache: e.cache, MemoryBudget: opts.MemoryBudget,
		Config: config, Store: e.store, Versions: e.versions, Jobs: e.jobs, Commit: e.commit,
		Report: e.report, Work: e.work, Latch: &e.latch,
	}
}

// create creates a database.
func (o *opening) create() error {
	v, err := o.e.versions.Create(o.e.room.Over(o.e.dir.fs))
	if err != nil {
		return err
	}
	return o.begin(v, new(manifest.Edit), nil)
}

// begin installs the result of recovery and starts the engine. The first generation is g,
// which the pipeline owns from then on; if g is nil, the pipeline makes a generation and
// its log.
func (o *opening) begin(v *manifest.Version, edit *manifest.Edit, g *generation.Generation) error {
	e := o.e
	g, err := e.commit.Begin(v, g)
	if err != nil {
		return err
	}
	edit.LogNum, edit.LogIncarnation = &g.Num, e.versions.Incarnation()
	if err := e.jobs.Install(edit, nil); err != nil {
		return err
	}
	if err := e.keyspaces.OpenRoot(); err != nil {
		return err
	}
	e.commit.RaiseDurable(e.commit.LastSeq())
	return nil
}
