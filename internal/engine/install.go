package engine

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// install makes an edit durable and then current: the files it adds must be
// synced, and their directory (I4). The generations in flushed leave the state
// in the same step that their tables enter it, so no reader sees both or
// neither. A failure of the manifest poisons.
//
// Tables of keyspaces that were dropped since the job began are left out, and removed.
func (e *Engine) install(edit *manifest.Edit, flushed []*generation.Generation) error {
	e.clock.Tick()
	e.versions.Lock()
	defer e.versions.Unlock()
	return e.installLocked(edit, flushed, nil, false)
}

// installLocked is install for a caller that has the versions locked. A job of one keyspace
// names it, and ends with base.ErrNoKeyspace when that was dropped; filtered is whether a
// filter did something, which open snapshots must not see.
func (e *Engine) installLocked(edit *manifest.Edit, flushed []*generation.Generation, k *Keyspace, filtered bool) error {
	if err := e.versions.Appendable(); err != nil {
		return err
	}
	if e.store.Current() == nil {
		return base.ErrClosed
	}
	if k != nil && k.Dropped() {
		return base.ErrNoKeyspace
	}
	return e.makeCurrent(edit, e.keyspaces.Missing, func() {}, flushed, filtered)
}

// makeCurrent makes an edit durable and then current, without the tables of keyspaces
// that are missing; those are removed. What changes with the edit beside the state is
// changed by between. The versions are locked.
func (e *Engine) makeCurrent(edit *manifest.Edit, missing func(uint32) bool, between func(), flushed []*generation.Generation, filtered bool) error {
	dead := withoutMissing(edit, missing)
	cur := e.versions.Manifest().Version()
	edit.LastSeq = max(edit.LastSeq, e.commit.LastSeq())
	edit.Clock = e.clock.Mark()
	if err := e.versions.Append(edit); err != nil {
		return err
	}
	next := e.versions.Manifest().Version()
	between()
	e.swap(next, flushed, cur.DroppedBy(edit, next), filtered)
	for _, d := range dead {
		e.removeFile(d.Type, d.Num, 0)
	}
	return nil
}

// swap makes next current without the flushed generations. The caller has the
// versions locked, so the version of the state does not change during the call; its
// memtables may.
func (e *Engine) swap(next *manifest.Version, flushed []*generation.Generation, dropped []manifest.Dropped, filtered bool) {
	e.store.Install(next, flushed, dropped, filtered)
	e.mu.Lock()
	w := e.observed
	e.mu.Unlock()
	e.pace.SetDebt(compaction.Backlogs(next, w, e.pickConfig()))
	for _, g := range flushed {
		e.commit.RaiseDurable(g.LastSeq)
	}
	e.pace.Update()
	if e.room.Lacking() != nil || len(flushed) > 0 {
		e.room.Wake() // there is less to be flushed, or space came back
	}
}

// eachTree calls fn for each keyspace that has tables, with its runs in L0.
func (e *Engine) eachTree(fn func(keyspace uint32, runs int)) {
	if s := e.store.Current(); s != nil {
		s.EachTree(func(id uint32, ls *readstate.Levels) { fn(id, len(ls[0])) })
	}
}
