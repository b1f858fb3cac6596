package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/report"
	"github.com/seerdb-go/seerdb/internal/versions"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/work"
)

// What is set aside for buffers of jobs on the Go heap, and for the garbage that
// the collector lets lie. It depends on the size of tables and pages more than on
// the budget: with those of the default two jobs have some 8 MB in use, which the
// collector lets grow to 16.
const (
	heapShare = 4
	maxHeap   = 16 << 20
)

// Open opens the database in dir, or makes one.
func Open(dir string, o Options) (*Engine, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		opts: o, name: dir, files: filecache.New(o.OpenFiles), opened: time.Now(),
		busy: compaction.Busy{}, manual: make(chan struct{}, 1),
		report: report.New(o.Logger, o.Listener), work: work.New(),
	}
	e.versions = versions.New(versions.Options{Latch: &e.latch, Poison: e.poison})
	e.keyspaces = keyspace.New(
		keyspace.Config{Versions: e.versions, SyncNew: o.Durability == Sync, Closed: func() bool { return e.store.Closed() }},
		keyspace.Options{ValueThreshold: o.ValueThreshold, Codec: o.Codec, Merger: o.Merger, Filter: o.Filter})
	e.root = &Keyspace{e, e.keyspaces.Root()}
	e.clock.Start(o.Clock, o.Elapsed)
	e.room.Init()
	budget := o.MemoryBudget
	if o.NoCache {
		budget = 0
	}
	e.cache = cache.New(cache.Options{Budget: budget})
	e.open.Init(e.cache)
	e.cache.Charge(cache.Heap, min(o.MemoryBudget/heapShare, maxHeap))
	e.background = newBackground(e)
	e.pace = pace.New(pace.Options{
		L0Slowdown: o.L0Slowdown, L0Stop: o.L0Stop, BaseLevelBytes: o.BaseLevelBytes,
		Trees: e.eachTree, Done: e.work.Done(),
	})
	if err := e.openDir(); err != nil {
		e.abandon()
		return nil, err
	}
	if !o.ReadOnly {
		e.room.Opened()
		e.commit.Start()
		e.background.start()
	}
	return e, nil
}

// abandon undoes a failed Open.
func (e *Engine) abandon() {
	e.work.Stop()
	e.work.Wait()
	if e.commit != nil {
		e.commit.Abandon()
	}
	if e.fs != nil {
		e.versions.Undo(e.fs)
	}
	e.releaseDir()
	if e.store == nil {
		e.cache.Close()
		return
	}
	e.store.Close()()
	e.store.Freed()
}

// releaseDir closes manifest, lock and directory. From here on nothing in the
// directory is touched.
func (e *Engine) releaseDir() {
	_ = e.versions.Close()
	if e.dirHandle != nil {
		_ = e.dirHandle.Close()
	}
	if e.dirLock != nil {
		_ = e.dirLock.Close()
	}
	if e.dirRoot != nil {
		_ = e.dirRoot.Close()
	}
}

// openDir opens and locks the directory and brings the state back, or begins
// one. From here on the path is only used to make and open the directory:
// everything else goes through what was opened, so that another directory that
// takes its place is left alone.
func (e *Engine) openDir() error {
	mustExist := e.opts.ErrorIfMissing || e.opts.ReadOnly
	if !mustExist {
		if err := vfs.MkdirAllDurable(e.opts.FS, e.name); err != nil {
			return vfs.Cannot("make the directory "+e.name, err)
		}
	}
	var err error
	if e.dirRoot, err = e.opts.FS.OpenRoot(e.name); err != nil {
		if mustExist && errors.Is(err, fs.ErrNotExist) {
			return e.noDatabase()
		}
		return vfs.Cannot("open the directory "+e.name, err)
	}
	e.io = vfs.NewCounting(e.dirRoot)
	e.fs = filecache.NewFS(e.io, e.files)
	e.store = readstate.New(readstate.Options{
		Dir: e.name, FS: e.io, Files: e.files, Cache: e.cache, Clock: &e.clock, Logger: e.report.Logger,
		MemoryBudget: e.opts.MemoryBudget, MemtableSize: int64(e.opts.MemtableSize), Work: e.work,
		Damaged: e.report.Damage, Remove: e.removeFile, Freed: func() { e.cache.Close() },
	})
	current := base.FileName(base.FileTypeCurrent, 0)
	if mustExist {
		// Look before making anything.
		if _, err := e.fs.Stat(current); errors.Is(err, fs.ErrNotExist) {
			return e.noDatabase()
		}
	}
	lock := e.dirRoot.Lock
	if e.opts.ReadOnly {
		lock = e.dirRoot.LockShared
	}
	if e.dirLock, err = lock(base.FileName(base.FileTypeLock, 0)); err != nil {
		return vfs.Cannot("lock "+e.name, err)
	}
	if e.dirHandle, err = e.fs.OpenDir(vfs.Top); err != nil {
		return vfs.Cannot("open the directory "+e.name, err)
	}
	if !e.opts.ReadOnly {
		e.room.Adopt(filecache.NewFS(e.dirRoot, e.files))
	}
	e.commit = commit.New(commit.Env{
		Durability: e.opts.Durability, SyncInterval: e.opts.SyncInterval,
		MemoryBudget: e.opts.MemoryBudget, MemtableSize: e.opts.MemtableSize, Partitions: e.opts.Partitions,
		FS: e.room.Over(e.fs), Dir: e.dirHandle, Store: e.store, Versions: e.versions, Keyspaces: e.keyspaces,
		Pins: &e.open, Clock: &e.clock, Room: &e.room, Pace: e.pace, Report: e.report, Work: e.work, Latch: &e.latch,
		Tree: storedVersions{e}, Kick: e.background.kick, Blocking: e.background.blocking,
	})
	e.iters = dbiter.Env{
		Store: e.store, Pins: &e.open, Folded: &e.folded, DeadMin: e.opts.DeadMin, FoldFrom: e.opts.FoldFrom, Share: e.commit.ShareActive,
	}
	e.outputs = e.outputEnv()
	names, err := e.fs.List(vfs.Top)
	if err != nil {
		return vfs.Cannot("list the directory "+e.name, err)
	}
	_, err = e.fs.Stat(current)
	switch {
	case err == nil && e.opts.ErrorIfExists:
		return fmt.Errorf("%w in %s", base.ErrExists, e.name)
	case err == nil:
		return e.recover(names)
	case errors.Is(err, fs.ErrNotExist) && mustExist:
		return e.noDatabase()
	case errors.Is(err, fs.ErrNotExist):
		return e.create()
	}
	return vfs.Cannot("find out whether there is a database in "+e.name, err)
}

func (e *Engine) noDatabase() error {
	return fmt.Errorf("%w: there is no seerdb database in %s", base.ErrNotExist, e.name)
}

// create begins a database.
func (e *Engine) create() error {
	v, err := e.versions.Create(e.room.Over(e.fs))
	if err != nil {
		return err
	}
	return e.begin(v, new(manifest.Edit), nil)
}

// begin installs what recovery made, and lets the engine be used. The first
// generation is g, which the pipeline owns from then on; if that is nil it makes one, and
// its log.
func (e *Engine) begin(v *manifest.Version, edit *manifest.Edit, g *generation.Generation) error {
	g, err := e.commit.Begin(v, g)
	if err != nil {
		return err
	}
	edit.LogNum, edit.LogIncarnation = &g.Num, e.versions.Incarnation()
	if err := e.install(edit, nil); err != nil {
		return err
	}
	if err := e.keyspaces.OpenRoot(); err != nil {
		return err
	}
	e.commit.RaiseDurable(e.commit.LastSeq())
	return nil
}
