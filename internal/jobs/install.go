package jobs

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Install makes an edit durable and then current: the files it adds must be
// synced, and their directory (I4). The generations in flushed leave the state
// in the same step that their tables enter it, so no reader sees both or
// neither. A failure of the manifest poisons.
//
// Tables of keyspaces that were dropped since the job began are left out, and removed.
func (js *Jobs) Install(edit *manifest.Edit, flushed []*generation.Generation) error {
	js.env.Clock.Tick()
	js.env.Versions.Lock()
	defer js.env.Versions.Unlock()
	return js.installLocked(edit, flushed, nil, false)
}

// installLocked is Install for a caller that has the versions locked. A job of one keyspace
// names it, and ends with base.ErrNoKeyspace when that was dropped; filtered is whether a
// filter did something, which open snapshots must not see.
func (js *Jobs) installLocked(edit *manifest.Edit, flushed []*generation.Generation, k *keyspace.Keyspace, filtered bool) error {
	if err := js.env.Versions.Appendable(); err != nil {
		return err
	}
	if js.env.Store.Current() == nil {
		return base.ErrClosed
	}
	if k != nil && k.Dropped() {
		return base.ErrNoKeyspace
	}
	return js.MakeCurrent(edit, js.env.Keyspaces.Missing, func() {}, flushed, filtered)
}

// MakeCurrent makes an edit durable and then current, without the tables of keyspaces
// that are missing; those are removed. What changes with the edit beside the state is
// changed by between. The versions are locked.
func (js *Jobs) MakeCurrent(edit *manifest.Edit, missing func(uint32) bool, between func(), flushed []*generation.Generation, filtered bool) error {
	dead := withoutMissing(edit, missing)
	cur := js.env.Versions.Manifest().Version()
	edit.LastSeq = max(edit.LastSeq, js.env.Commit.LastSeq())
	edit.Clock = js.env.Clock.Mark()
	if err := js.env.Versions.Append(edit); err != nil {
		return err
	}
	next := js.env.Versions.Manifest().Version()
	between()
	js.swap(next, flushed, cur.DroppedBy(edit, next), filtered)
	for _, d := range dead {
		js.env.Remove(d.Type, d.Num, 0)
	}
	return nil
}

// swap makes next current without the flushed generations. The caller has the
// versions locked, so the version of the state does not change during the call; its
// memtables may.
func (js *Jobs) swap(next *manifest.Version, flushed []*generation.Generation, dropped []manifest.Dropped, filtered bool) {
	js.env.Store.Install(next, flushed, dropped, filtered)
	js.mu.Lock()
	w := js.learned
	js.mu.Unlock()
	js.env.Pace.SetDebt(compaction.Backlogs(next, w, js.env.Config))
	for _, g := range flushed {
		js.env.Commit.RaiseDurable(g.LastSeq)
	}
	js.env.Pace.Update()
	if js.env.Room.Lacking() != nil || len(flushed) > 0 {
		js.env.Room.Wake() // there is less to be flushed, or space came back
	}
}

// withoutMissing takes out of an edit the tables of keyspaces that are missing, which
// were dropped since some job made them, and returns them.
func withoutMissing(edit *manifest.Edit, missing func(uint32) bool) (dead []manifest.Dropped) {
	gone := func(n manifest.NewFile) bool { return missing(n.Meta.Keyspace) }
	if !slices.ContainsFunc(edit.Add, gone) {
		return nil
	}
	referenced := map[base.FileNum]bool{}
	for _, n := range edit.Add {
		if gone(n) {
			continue
		}
		referenced[n.Meta.Pack] = true
		for _, r := range n.Meta.ValueRefs {
			referenced[r.File] = true
		}
	}
	edit.Add = slices.DeleteFunc(edit.Add, func(n manifest.NewFile) bool {
		if !gone(n) {
			return false
		}
		m := n.Meta
		switch {
		case m.Pack == 0:
			dead = append(dead, manifest.Dropped{Type: base.FileTypeTable, Num: m.Num})
		case !referenced[m.Pack]:
			referenced[m.Pack] = true // once
			dead = append(dead, manifest.Dropped{Type: base.FileTypePack, Num: m.Pack})
		}
		return true
	})
	edit.AddValues = slices.DeleteFunc(slices.Clone(edit.AddValues), func(m manifest.ValueMeta) bool {
		if referenced[m.Num] {
			return false
		}
		dead = append(dead, manifest.Dropped{Type: base.FileTypeValues, Num: m.Num})
		return true
	})
	return dead
}
