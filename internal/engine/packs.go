package engine

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/pack"
)

// Packs: small tables of many keyspaces that share a file. A job that writes for
// more than a few keyspaces puts those of its tables that stay small into packs,
// so that it makes and syncs a few files and not one for each keyspace. A pack
// is removed when no version names a table in it any more, as the file of one
// table is. Why: docs/adr/0014.

// packFile is the handle of a pack of which a view names a table.
type packFile struct {
	id      base.Identity
	size    int64
	file    *filecache.File
	handles int                       // of tables in it; guarded by Engine.mu
	live    map[base.FileNum]struct{} // the tables in it that the newest version names; guarded by Engine.mu
}

// packOf makes or finds the handle of the pack in which a table lies, and counts
// a handle of the table. The caller holds e.mu.
func (e *Engine) packOf(m *manifest.FileMeta) *packFile {
	p := e.packs[m.Pack]
	if p == nil {
		p = &packFile{
			id:   base.Identity{DB: e.dbID, Type: base.FileTypePack, Num: m.Pack, Incarnation: m.Incarnation},
			size: int64(m.PackSize), live: map[base.FileNum]struct{}{}, file: e.file(m.FileName()),
		}
		e.packs[m.Pack] = p
	}
	p.handles++
	p.live[m.Num] = struct{}{}
	return p
}

// drop notes that no version names the table any more. The caller holds e.mu.
func (t *table) drop() {
	t.gone = true
	if t.pack != nil {
		delete(t.pack.live, t.meta.Num)
	}
}

// leavePack gives up the handle of a table in a pack. The caller holds e.mu.
func (e *Engine) leavePack(t *table) {
	p := t.pack
	if p == nil {
		return
	}
	if p.handles--; p.handles == 0 {
		delete(e.packs, p.id.Num)
		t.lastOf = p
	}
}

// closePack closes a pack without handles, and removes it if no version names a
// table in it.
func (e *Engine) closePack(p *packFile) {
	if err := p.file.Close(); err != nil {
		e.opts.Logger.Warn("seerdb: close of a file failed", "file", p.id.Name(), "err", err)
	}
	if len(p.live) == 0 {
		e.removeFile(base.FileTypePack, p.id.Num, p.size)
	}
}

// packed is by how many files, and by how many bytes of files, what packs take
// differs from what the tables in them would take in files of their own.
func (e *Engine) packed() (files int, bytes int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.packs {
		if len(p.live) > 0 {
			files++
			bytes += p.size
		}
	}
	for _, t := range e.tables {
		if t.pack != nil && !t.gone {
			files--
			bytes -= int64(t.meta.Size)
		}
	}
	return files, bytes
}

// packsIn is the numbers of the packs in which tables lie.
func packsIn(tables []*manifest.FileMeta) map[base.FileNum]struct{} {
	packs := map[base.FileNum]struct{}{}
	for _, m := range tables {
		if m.Pack != 0 {
			packs[m.Pack] = struct{}{}
		}
	}
	return packs
}

// byPack lists the tables that lie in each pack.
func byPack(tables []*table) map[*packFile][]*table {
	packs := map[*packFile][]*table{}
	for _, t := range tables {
		if t.pack != nil {
			packs[t.pack] = append(packs[t.pack], t)
		}
	}
	return packs
}

// verifyPack checks the directory of a pack, and that it has its live tables where
// the manifest says they are.
func (e *Engine) verifyPack(p *packFile, tables []*table) error {
	name := p.id.Name()
	f := e.wholeFile(name, uint64(p.size))
	defer func() { _ = f.Close() }()
	dir, err := pack.Read(f, p.size, p.id)
	if err != nil {
		return err
	}
	places := make(map[base.FileNum]pack.Table, len(dir))
	for _, t := range dir {
		places[t.Num] = t
	}
	for _, t := range tables {
		want := pack.Table{Num: t.meta.Num, Offset: t.meta.Offset, Size: t.meta.Size}
		if got := places[t.meta.Num]; got != want {
			return base.Corruptf(name, int64(want.Offset), "table %d has %d bytes at %d, as the manifest says; the directory says %d bytes at %d",
				want.Num, want.Size, want.Offset, got.Size, got.Offset)
		}
	}
	return nil
}
