package readstate

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Packs are files that small tables of many keyspaces share. A job that writes
// for more than a few keyspaces puts its small tables into packs, so that it
// makes and syncs a few files and not one for each keyspace. Like the file of
// one table, a pack is removed when no version names a table in it any more.
// See docs/adr/0014.

// packFile is the handle of a pack with a table that a view names.
type packFile struct {
	id      base.Identity
	size    int64
	file    *filecache.File
	handles int                       // tables in it that have a handle; guarded by store.mu
	live    map[base.FileNum]struct{} // the tables in it that the newest version names; guarded by store.mu
}

// packOf returns the handle of the pack of a table, and counts a handle of the
// table. The caller holds st.mu.
func (st *Store) packOf(m *manifest.FileMeta) *packFile {
	p := st.packs[m.Pack]
	if p == nil {
		p = &packFile{
			id:   base.Identity{DB: st.db, Type: base.FileTypePack, Num: m.Pack, Incarnation: m.Incarnation},
			size: int64(m.PackSize), live: map[base.FileNum]struct{}{}, file: st.file(m.FileName()),
		}
		st.packs[m.Pack] = p
	}
	p.handles++
	p.live[m.Num] = struct{}{}
	return p
}

// drop notes that no version names the table any more. The caller holds st.mu.
func (t *Table) drop() {
	t.gone = true
	if t.pack != nil {
		delete(t.pack.live, t.Meta.Num)
	}
}

// leavePack removes the handle of a table from its pack. The caller holds
// st.mu.
func (st *Store) leavePack(t *Table) {
	p := t.pack
	if p == nil {
		return
	}
	if p.handles--; p.handles == 0 {
		delete(st.packs, p.id.Num)
		t.lastOf = p
	}
}

// closePack closes a pack without handles, and removes it if no version names a
// table in it.
func (st *Store) closePack(p *packFile) {
	if err := p.file.Close(); err != nil {
		st.o.Logger.Warn("seerdb: close of a file failed", "file", p.id.Name(), "err", err)
	}
	if len(p.live) == 0 {
		st.o.Remove(base.FileTypePack, p.id.Num, p.size)
	}
}

// Packed returns how many files packs save, and how many bytes more or less
// their files take, compared with a file for each table.
func (st *Store) Packed() (files int, bytes int64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, p := range st.packs {
		if len(p.live) > 0 {
			files++
			bytes += p.size
		}
	}
	for _, t := range st.tables {
		if t.pack != nil && !t.gone {
			files--
			bytes -= int64(t.Meta.Size)
		}
	}
	return files, bytes
}
