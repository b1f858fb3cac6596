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

// The commit of a transaction that creates or drops keyspaces. Those are edits of
// the manifest, and a record of the log cannot be made durable in one step with
// one. So what the transaction wrote goes to tables instead, which the same edit
// adds: a crash leaves all of it or nothing, in every durability mode. How it takes
// its place is in commit.Pipeline.TakePlace.
type spaceCommit struct {
	e       *Engine
	b       *batch.Batch // what it wrote and, behind that, marks
	x       *txn.Txn
	ops     int // operations of b before the marks
	created []*keyspace.Keyspace
	dropped []*keyspace.Keyspace
	// own has the numbers to which the transaction gave another meaning: a keyspace
	// that is created, or nil for one that will not be there.
	own    map[uint32]*keyspace.Keyspace
	others []uint32 // numbers that b writes to and that mean here what they mean there
	locked bool     // enter took the locks that leave releases
}

// newSpaceCommit prepares it. Each keyspace that comes or goes is marked by an
// operation that is never applied, and that to the conflict checks of transactions
// writes all its keys: so the order of commits knows of it, whatever is written.
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
		return e.store.Visible(), nil // it dropped what it created, and wrote nothing
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
	ctx, cancel := context.WithCancel(ctx) // ours is asked under locks
	defer cancel()
	begin := e.commit.Stats.Begin()
	// Most of what is in memory goes to tables while commits go on.
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
	e.commit.Changed() // writers to what was dropped may be waiting for a compaction
	e.commit.Stats.End(begin, c.b)
	return seq, nil
}

// check refuses what cannot be committed.
func (c *spaceCommit) check() error {
	if err := commit.CheckBatch(c.b, c.space); err != nil {
		return err
	}
	c.e.versions.Lock()
	defer c.e.versions.Unlock()
	return c.names()
}

// space is the keyspace with a number once this is committed, or nil.
func (c *spaceCommit) space(id uint32) *keyspace.Keyspace {
	if k, own := c.own[id]; own {
		return k
	}
	return c.e.keyspaces.Get(id)
}

// missing is space, if there is none.
func (c *spaceCommit) missing(id uint32) bool { return c.space(id) == nil }

// names says whether the names of the keyspaces still mean what they meant to the
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

// enter writes the tables and makes the edit durable and then current. It leaves
// with the versions locked, and with keyspaces leaving: no reader meets a name before it
// can see what the same commit wrote.
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

// write makes tables of what the transaction wrote, by way of a memtable.
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

// generation is a memtable of the operations, but for those on keyspaces that will
// not be there.
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

// install makes the edit, and the keyspaces and tables current with it. The versions
// are locked, and keyspaces are leaving.
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

// rename makes keyspaces known and forgets others, once the edit is durable.
func (c *spaceCommit) rename(at *jobs.Loading) {
	e := c.e
	for _, k := range c.dropped {
		if newest, asked := e.commit.Drop(k); asked {
			// A transaction that read in it depends on it as on keys that were deleted.
			e.dropped.add(droppedSpace{k: k, newest: newest})
		}
	}
	e.dropped.forget() // the last transaction may have ended before it could see that
	for _, k := range c.created {
		e.commit.Add(k, at.End)
	}
}
