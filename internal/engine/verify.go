package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/pack"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/wal"
	"github.com/seerdb-go/seerdb/observe"
)

// Verify reads all live files and checks them against each other. What is
// wrong goes into the report; the error is about the checking.
func (e *Engine) Verify(ctx context.Context) (*observe.Report, error) {
	s, shard := e.keep()
	if s == nil {
		return nil, base.ErrClosed
	}
	defer s.letGo(shard)
	r := &observe.Report{}
	note := func(err error) error { return e.noteDamage(ctx, r, err) }
	if err := s.v.version.Check(); err != nil {
		r.Damage = append(r.Damage, err)
	}
	var tables []*table
	s.v.eachTable(func(_ int, t *table) { tables = append(tables, t) })
	for _, t := range tables {
		err := ctx.Err()
		if err == nil {
			err = note(t.verify(ctx, s.v, r))
		}
		if err != nil {
			return r, err
		}
		r.Tables++
		r.Bytes += int64(t.meta.Size)
	}
	packs := byPack(tables)
	for _, p := range slices.SortedFunc(maps.Keys(packs), func(a, b *packFile) int { return cmp.Compare(a.id.Num, b.id.Num) }) {
		if err := note(e.verifyPack(p, packs[p])); err != nil {
			return r, err
		}
	}
	for _, f := range s.v.values {
		if err := note(f.verify(ctx)); err != nil {
			return r, err
		}
		r.ValueFiles++
		r.Bytes += int64(f.meta.Size)
	}
	for _, g := range s.generations() {
		if err := note(e.verifyLog(g)); err != nil {
			return r, err
		}
	}
	if err := note(e.verifyManifest(s)); err != nil {
		return r, err
	}
	return r, e.verifyDir(r)
}

// noteDamage adds what a check found to the report, or returns why it could not
// be made: that says nothing about the files.
func (e *Engine) noteDamage(ctx context.Context, r *observe.Report, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case e.closed.Load():
		return base.ErrClosed
	case vfs.IsTooManyFiles(err):
		return err
	}
	if gone := e.reach(); gone != nil {
		return e.fileError("list the directory "+e.name, gone)
	}
	r.Damage = append(r.Damage, err)
	return nil
}

// verifyLog reads what was written to the log of a generation.
func (e *Engine) verifyLog(g *generation.Generation) error {
	if g.Log == nil {
		return nil
	}
	size := g.Log.Size()
	id := base.Identity{DB: e.dbID, Type: base.FileTypeLog, Num: g.Num, Incarnation: e.incarnation}
	_, err := wal.Replay(e.fs, id.Name(), id, size, func(payload []byte, _ int64) error { return batch.Check(payload) })
	if s := e.state.Load(); err == nil || s == nil || !slices.Contains(s.generations(), g) {
		return nil // in the latter case a flush has removed it
	}
	if errors.Is(err, fs.ErrNotExist) {
		return missingLog(g.Num)
	}
	return err
}

// verifyManifest reads CURRENT and the manifest. What is open for reading only
// has no manifest of its own, and compares with what was read at first.
func (e *Engine) verifyManifest(s *state) error {
	e.installMu.Lock()
	log := e.manifest
	e.installMu.Unlock()
	if log != nil {
		return log.Verify()
	}
	st, err := manifest.Recover(e.fs, top)
	if err == nil && st.Version.String() != s.v.version.String() {
		err = base.Corruptf(base.FileName(base.FileTypeManifest, st.ManifestNum), -1, "the manifest is not the one that was read when the database was opened")
	}
	return err
}

// verifyDir looks for files of others, and for our own that are gone.
func (e *Engine) verifyDir(r *observe.Report) error {
	names, err := e.fs.List(top)
	if err != nil {
		return e.fileError("list the directory", err)
	}
	for _, name := range names {
		if _, _, ours := base.ParseFileName(name); !ours {
			r.Foreign = append(r.Foreign, name)
		}
	}
	return nil
}

// verify checks every page of a table, and what the manifest says of it:
// bounds, counts and references to value files.
func (t *table) verify(ctx context.Context, v *view, report *observe.Report) error {
	r, err := t.openAgain()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if err := r.Verify(ctx, nil); err != nil {
		return err
	}
	name := t.meta.FileName()
	p := r.Properties()
	if ranges := uint64(p.Ranges.Len()); p.Entries != t.meta.Entries || ranges != t.meta.Ranges {
		return base.Corruptf(name, -1, "the table has %d entries and %d ranges; the manifest says %d and %d", p.Entries, ranges, t.meta.Entries, t.meta.Ranges)
	}
	// That the properties are true of the entries has just been proved.
	if first, end := p.Bounds(); !bytes.Equal(first, t.meta.Smallest) || end.Compare(t.meta.End()) != 0 {
		return base.Corruptf(name, -1, "the table holds keys %q to %q (bound %d); the manifest says %q to %q (bound %d)",
			first, end.Key, end.Bound, t.meta.Smallest, t.meta.Largest, t.meta.LargestBound)
	}
	report.Pages += int64(p.Pages)
	report.Entries += int64(p.Entries)
	refs, err := t.follow(ctx, v, r)
	if err != nil {
		return err
	}
	for _, want := range t.meta.ValueRefs {
		if refs[want.File] != want {
			return base.Corruptf(name, -1, "the table refers to %+v in value file %d; the manifest says %+v", refs[want.File], want.File, want)
		}
		delete(refs, want.File)
	}
	if len(refs) > 0 {
		return base.Corruptf(name, -1, "the table refers to %d value files that the manifest does not count", len(refs))
	}
	return nil
}

// follow reads the value behind every pointer of a table, which has to be that of
// the same key, and counts the pointers by file.
func (t *table) follow(ctx context.Context, v *view, r *sstable.Reader) (map[base.FileNum]manifest.ValueRef, error) {
	refs := map[base.FileNum]manifest.ValueRef{}
	files := map[base.FileNum]*valuelog.Sequential{}
	defer func() {
		for _, f := range files {
			_ = f.Reader.Close()
		}
	}()
	it := r.NewIter(sstable.IterOptions{Bypass: true})
	defer func() { _ = it.Close() }()
	var value []byte
	for kv := it.First(); kv != nil; kv = it.Next() {
		pointer := kv.Value
		var err error
		switch kv.Trailer.Kind() {
		case base.KindPutPointer:
		case base.KindPutTTLPointer:
			if _, pointer, err = splitExpiry(pointer); err != nil {
				return nil, err
			}
		default:
			continue
		}
		p, err := valuelog.DecodePointer(pointer)
		if err != nil {
			return nil, badPointer(t.meta.FileName(), kv.Key, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ref := refs[p.File]
		refs[p.File] = manifest.ValueRef{File: p.File, Bytes: ref.Bytes + uint64(p.Length), Count: ref.Count + 1}
		f := files[p.File]
		if f == nil {
			vf, err := v.valueFile(p)
			if err != nil {
				return nil, err
			}
			f = &valuelog.Sequential{}
			if f.Reader, err = vf.openAgain(); err != nil {
				return nil, err
			}
			files[p.File] = f
		}
		if value, err = f.AppendValue(value[:0], p); err != nil {
			return nil, err
		}
		switch key, err := f.Key(p); {
		case err != nil:
			return nil, err
		case !bytes.Equal(key, kv.Key):
			return nil, base.Corruptf(t.meta.FileName(), -1,
				"the pointer of key %.200q leads to the value of key %.200q in %s at %d", kv.Key, key, base.FileName(base.FileTypeValues, p.File), p.Offset)
		}
	}
	return refs, it.Err()
}

// openAgain opens the file by its name, as the next opening of the database will:
// the reader in use may hold one that another file has replaced since.
func (t *table) openAgain() (*sstable.Reader, error) {
	var f sstable.File
	if t.pack != nil {
		f = pack.NewSection(t.e.wholeFile(t.meta.FileName(), t.meta.PackSize), t.meta.Offset, t.meta.Size)
	} else {
		f = t.e.wholeFile(t.meta.FileName(), t.meta.Size)
	}
	r, err := sstable.Open(f, int64(t.meta.Size), t.readerOptions())
	if err != nil {
		_ = f.Close()
	}
	return r, err
}

// openAgain is that of a table for a value file.
func (f *valueFile) openAgain() (*valuelog.Reader, error) {
	id := f.identity()
	file := f.e.wholeFile(id.Name(), f.meta.Size)
	r, err := valuelog.Open(file, int64(f.meta.Size), valuelog.ReaderOptions{ID: id})
	if err != nil {
		_ = file.Close()
	}
	return r, err
}

// wholeFile is a file that has to be size bytes long, of which the cache of open
// files decides when it is open: a table may refer to more value files than there
// are descriptors.
func (e *Engine) wholeFile(name string, size uint64) *filecache.File {
	return e.files.File(func() (vfs.File, error) {
		f, err := e.openNamed(name)
		if err != nil {
			return nil, err
		}
		if n, err := f.Size(); err != nil || uint64(n) != size {
			_ = f.Close()
			if err != nil {
				return nil, e.fileError("look at "+name, err)
			}
			return nil, base.Corruptf(name, -1, "the file has %d bytes; the manifest says %d", n, size)
		}
		return f, nil
	})
}

// verify checks every record of a value file.
func (f *valueFile) verify(ctx context.Context) error {
	r, err := f.openAgain()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	var n uint64
	err = r.Scan(ctx, func(rec valuelog.Record) error {
		n++
		return nil
	})
	if err == nil && n != f.meta.Count {
		return base.Corruptf(base.FileName(base.FileTypeValues, f.meta.Num), -1, "the file has %d values; the manifest says %d", n, f.meta.Count)
	}
	return err
}
