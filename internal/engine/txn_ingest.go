package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/jobs"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/txn"
)

// spaceCommit is the commit of a transaction that creates or drops keyspaces. Keyspaces
// change by an edit of the manifest, and no step makes an edit and a log record durable
// together. So the writes of the transaction go to tables, which the same edit adds: a
// crash leaves all of the transaction or nothing, in every durability mode. See
// commit.Ingestion for the steps.
type spaceCommit struct {
	e       *Engine
	b       *batch.Batch // the transaction's writes, followed by marks
	x       *txn.Txn
	ops     int // operations of b before the marks
	created []*keyspace.Keyspace
	dropped []*keyspace.Keyspace
	// own maps numbers of keyspaces that the transaction changes: to the keyspace that
	// it creates, or to nil if it dropped the keyspace or undid its creation.
	own    map[uint32]*keyspace.Keyspace
	others []uint32 // numbers of the other keyspaces that b writes to
	locked bool     // enter took the locks that leave releases
}

// newSpaceCommit prepares the commit. It marks each keyspace that is created or dropped
// by an operation that is never applied. To conflict checks of transactions the mark
// writes all keys of the keyspace, so that its creation or drop has a place in the
// order of commits even if the transaction writes nothing.
func (e *Engine) newSpaceCommit(w *txnBuffers) (*spaceCommit, error) {
	c := &spaceCommit{
		e: e, b: &w.batch, x: &w.conflict, ops: w.batch.Count(),
		created: w.spaces.created(), dropped: w.spaces.dropped(), own: map[uint32]*keyspace.Keyspace{},
	}
	for id := range w.spaces.gone {
		c.own[id] = nil
	}
	for _, k := range c.created {
		c.own[k.ID()] = k
	}
	c.others = slices.DeleteFunc(slices.Clone(c.b.Keyspaces()), func(id uint32) bool {
		_, own := c.own[id]
		return own
	})
	for _, k := range slices.Concat(c.created, c.dropped) {
		if err := c.b.DeleteRange(k.ID(), nil, nil); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// run commits, and returns the last sequence. The error is definite unless
// errors.Is(err, base.ErrCommitUnknown).
func (c *spaceCommit) run(ctx context.Context) (base.SeqNum, error) {
	e := c.e
	if c.b.Count() == 0 {
		return e.store.Visible(), nil // the transaction dropped what it created, and wrote nothing
	}
	if err := e.report.Callers.Refuse("the commit of a transaction that creates or drops keyspaces", callback.CallingJob); err != nil {
		return 0, err
	}
	if err := c.check(); err != nil {
		return 0, err
	}
	if c.b.Expires() {
		e.clock.Use() // before any read can see it
	}
	if !e.work.Enter() {
		return 0, e.latch.Refusal()
	}
	defer e.work.Leave()
	ctx, cancel := context.WithCancel(ctx) // our own: its methods are called under locks
	defer cancel()
	begin := e.commit.Stats.Begin()
	// Flush most of memory while commits still go on.
	if err := e.Flush(ctx); err != nil {
		return 0, err
	}
	frees := reserve.Frees(c.b)
	if !frees {
		if err := e.commit.WaitUnstopped(ctx, func(p *pace.Pressure) string { return p.Stops(c.b) }); err != nil {
			return 0, err
		}
	}
	if err := e.room.Lacking(); err != nil && !frees {
		return 0, err
	}
	if err := e.commit.MayCommit(ctx, c.x, c.others); err != nil {
		return 0, err
	}
	e.clock.Tick() // enter holds locks
	seq, err := e.jobs.Ingest(ctx, &jobs.Ingestion{
		Ingestion: commit.Ingestion{Batch: c.b, Txn: c.x, Others: c.others},
		Enter:     c.enter,
		Leave:     c.leave,
	})
	if err != nil {
		return 0, err
	}
	e.commit.Changed() // writers to dropped keyspaces may wait for a compaction
	e.commit.Stats.End(begin, c.b)
	return seq, nil
}

// check refuses a batch that can never be committed.
func (c *spaceCommit) check() error {
	if err := commit.CheckBatch(c.b, c.space); err != nil {
		return err
	}
	c.e.versions.Lock()
	defer c.e.versions.Unlock()
	return c.names()
}

// space returns the keyspace that has a number once c is committed, or nil.
func (c *spaceCommit) space(id uint32) *keyspace.Keyspace {
	if k, own := c.own[id]; own {
		return k
	}
	return c.e.keyspaces.Get(id)
}

// missing reports whether space returns nil.
func (c *spaceCommit) missing(id uint32) bool { return c.space(id) == nil }

// names returns an error if the name of a keyspace no longer means what it meant to the
// transaction. The versions are locked.
func (c *spaceCommit) names() error {
	e := c.e
	if e.store.Closed() {
		return base.ErrClosed
	}
	for _, k := range c.dropped {
		if e.keyspaces.Named(k.Name()) != k {
			return fmt.Errorf("%w: keyspace %q was dropped by another client too", base.ErrConflict, k.Name())
		}
	}
	for _, k := range c.created {
		if now := e.keyspaces.Named(k.Name()); now != nil && !c.drops(now) {
			return fmt.Errorf("%w: keyspace %q was created by another client too", base.ErrConflict, k.Name())
		}
	}
	return nil
}

func (c *spaceCommit) drops(k *keyspace.Keyspace) bool {
	now, own := c.own[k.ID()]
	return own && now == nil
}

// enter writes the tables and makes the edit durable and then current. It returns
// with the versions and keyspace.Set.leaving locked, so that no reader finds a new name
// before it can see the writes of the same commit.
func (c *spaceCommit) enter(at *jobs.Loading) error {
	e := c.e
	res, err := c.write()
	if err != nil {
		return err
	}
	e.versions.Lock()
	e.keyspaces.BeginLeaving()
	c.locked = true
	err = e.jobs.Outcome(func() error { return c.install(at, res) })
	if err != nil {
		e.jobs.Discard(res)
	}
	return err
}

func (c *spaceCommit) leave() {
	if c.locked {
		c.e.keyspaces.EndLeaving()
		c.e.versions.Unlock()
	}
}

// write writes the operations of the transaction to tables, through a memtable.
func (c *spaceCommit) write() (res compaction.Result, err error) {
	e := c.e
	g, err := c.generation()
	if err != nil {
		return res, err
	}
	defer e.store.FreeGeneration(g)
	if g.Mem.Empty() {
		return res, nil
	}
	s, shard := e.store.Keep()
	if s == nil {
		return res, base.ErrClosed
	}
	defer s.LetGo(shard)
	return e.jobs.WriteMemtable(context.Background(), s.Version(), g, c.space, reserve.Frees(c.b))
}

// generation returns a memtable of the operations, except those on keyspaces that the
// transaction drops.
func (c *spaceCommit) generation() (*generation.Generation, error) {
	e := c.e
	need := memtable.BatchBound(c.b)
	mem, err := memtable.New(memtable.Options{Capacity: need, Partitions: 1})
	if err != nil {
		return nil, err
	}
	g := &generation.Generation{Mem: mem, Charge: need}
	e.store.ChargeMemtables(g.Charge)
	if err := g.Mem.Share(); err != nil {
		e.store.FreeGeneration(g)
		return nil, err
	}
	mem.Reserve(need)
	mem.BeginWrite()
	defer mem.EndWrite()
	var a memtable.Applier
	a.Init(mem, nil, nil, c.b.RangeDeletes())
	seq := c.b.Seq()
	r := c.b.Reader()
	for range c.ops {
		op, ok, err := r.Next()
		if err != nil || !ok {
			panic(fmt.Sprintf("engine: a batch that was just encoded does not decode: %v", err))
		}
		if c.space(op.Keyspace) != nil {
			a.Add(&op, seq)
		}
		seq++
	}
	a.Flush()
	return g, nil
}

// install makes the edit durable, and with it the keyspaces and tables current. The
// versions and keyspace.Set.leaving are locked.
func (c *spaceCommit) install(at *jobs.Loading, res compaction.Result) error {
	e := c.e
	if err := c.names(); err != nil {
		return err
	}
	if err := e.versions.Appendable(); err != nil {
		return err
	}
	edit := jobs.FlushEdit(res, uint64(e.versions.NewFileNum()))
	for _, k := range c.created {
		edit.SetKeyspaces = append(edit.SetKeyspaces, k.Record())
	}
	for _, k := range c.dropped {
		dropTree(edit, e.versions.Manifest().Version(), k)
	}
	return e.jobs.MakeCurrent(edit, c.missing, func() { c.rename(at) }, nil, false)
}

// rename adds created keyspaces and removes dropped ones, once the edit is durable.
func (c *spaceCommit) rename(at *jobs.Loading) {
	e := c.e
	for _, k := range c.dropped {
		if newest, asked := e.commit.Drop(k); asked {
			// A transaction that read in it depends on it as if its keys were deleted.
			e.dropped.add(droppedSpace{k: k, newest: newest})
		}
	}
	e.dropped.forget() // the last transaction may have ended before it saw the entries
	for _, k := range c.created {
		e.commit.Add(k, at.End)
	}
}
