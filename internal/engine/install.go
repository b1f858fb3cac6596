package engine

import (
	"errors"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/failpoint"
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
	e.installMu.Lock()
	defer e.installMu.Unlock()
	return e.installLocked(edit, flushed, nil, false)
}

// installLocked is install for a caller that holds installMu. A job of one keyspace
// names it, and ends with errNoKeyspace when that was dropped; filtered is whether a
// filter did something, which open snapshots must not see.
func (e *Engine) installLocked(edit *manifest.Edit, flushed []*generation.Generation, k *Keyspace, filtered bool) error {
	if err := e.appendable(); err != nil {
		return err
	}
	if e.store.Current() == nil {
		return base.ErrClosed
	}
	if k != nil && k.dropped.Load() {
		return errNoKeyspace
	}
	return e.makeCurrent(edit, e.missing, func() {}, flushed, filtered)
}

// makeCurrent makes an edit durable and then current, without the tables of keyspaces
// that are missing; those are removed. What changes with the edit beside the state is
// changed by between. The caller holds installMu.
func (e *Engine) makeCurrent(edit *manifest.Edit, missing func(uint32) bool, between func(), flushed []*generation.Generation, filtered bool) error {
	dead := withoutMissing(edit, missing)
	cur := e.manifest.Version()
	edit.NextFile = e.reservation()
	edit.LastSeq = max(edit.LastSeq, e.lastSeq())
	edit.Clock = e.clock.Mark()
	if err := e.appendEdit(edit); err != nil {
		return err
	}
	next := e.manifest.Version()
	between()
	e.swap(next, flushed, cur.DroppedBy(edit, next), filtered)
	for _, d := range dead {
		e.removeFile(d.Type, d.Num, 0)
	}
	return nil
}

// appendable is why nothing can be appended to the manifest, or nil. The caller holds
// installMu.
func (e *Engine) appendable() error {
	switch p := e.poisoned.Load(); {
	case p != nil:
		return fmt.Errorf("%w: %w", base.ErrReadOnly, *p)
	case e.manifest == nil:
		return base.ErrClosed
	}
	return nil
}

// appendEdit writes and syncs an edit; then the manifest has the next version.
// One that does not fit the version poisons as well, and was not written. The
// caller holds installMu.
func (e *Engine) appendEdit(edit *manifest.Edit) error {
	if err := failpoint.Hit(failpoint.ManifestBeforeAppend); err != nil {
		return err
	}
	return e.appended(e.manifest.Append(edit))
}

// appended is the end of everything that appends to the manifest or syncs it. The
// caller holds installMu.
func (e *Engine) appended(err error) error {
	switch {
	case err == nil:
		s := e.manifest.State()
		e.reserved.Store(uint64(s.NextFile))
		e.spaces.durable.Store(s.NextKeyspace)
		return nil
	case errors.Is(err, base.ErrNoSpace) && e.manifest.Err() == nil:
		// The manifest was cut back: the edit did not happen, and the job that
		// wants it is tried again.
		return fmt.Errorf("manifest: %w", err)
	}
	e.poison(fmt.Errorf("manifest: %w", err))
	return e.refusal()
}

// swap makes next current without the flushed generations. The caller holds
// installMu, so the version of the state does not change during the call; its
// memtables may.
func (e *Engine) swap(next *manifest.Version, flushed []*generation.Generation, dropped []manifest.Dropped, filtered bool) {
	e.store.Install(next, flushed, dropped, filtered)
	e.mu.Lock()
	w := e.observed
	e.mu.Unlock()
	e.pace.SetDebt(compaction.Backlogs(next, w, e.pickConfig()))
	for _, g := range flushed {
		e.durable.raise(g.LastSeq)
	}
	e.pace.Update()
	if e.room.Lacking() != nil || len(flushed) > 0 {
		e.room.Wake() // there is less to be flushed, or space came back
	}
}

// lastSeq is the newest sequence handed out.
func (e *Engine) lastSeq() base.SeqNum {
	e.commit.mu.Lock()
	defer e.commit.mu.Unlock()
	return e.commit.nextSeq - 1
}

// eachTree calls fn for each keyspace that has tables, with its runs in L0.
func (e *Engine) eachTree(fn func(keyspace uint32, runs int)) {
	if s := e.store.Current(); s != nil {
		s.EachTree(func(id uint32, ls *readstate.Levels) { fn(id, len(ls[0])) })
	}
}
