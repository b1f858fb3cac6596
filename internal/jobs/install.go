package jobs

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Install makes an edit durable and then current. The files that the edit adds, and
// their directory, must be synced (I4). The generations in flushed leave the state
// in the same step in which their tables enter it, so no reader sees both or
// neither. A failure of the manifest poisons the database.
//
// Install removes tables of keyspaces that were dropped since the job began.
func (js *Jobs) Install(edit *manifest.Edit, flushed []*generation.Generation) error {
	js.env.Clock.Tick()
	js.env.Versions.Lock()
	defer js.env.Versions.Unlock()
	return js.installLocked(edit, flushed, nil, false)
}

// installLocked is Install for a caller that has the versions locked. If k is not nil and was
// dropped, it returns base.ErrNoKeyspace. filtered means that a filter changed entries, which
// open snapshots must not see.
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
// that are missing, which it removes. It calls between once the edit is durable and
// before it is current. The versions are locked.
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

// swap makes next current and drops the flushed generations from the state. The caller has
// the versions locked, so the version of the state does not change during the call; its
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
		js.env.Room.Wake() // less is to be flushed, or the edit freed space
	}
}

// withoutMissing removes from an edit the tables of missing keyspaces, which were
// dropped since a job wrote the tables, and returns the files that are then unused.
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
