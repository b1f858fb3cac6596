package readstate

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/pack"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/observe"
)

// Verify reads all files of the state, and checks them against each other and
// the manifest. It passes damage to note; an error of note ends the check.
func (s *State) Verify(ctx context.Context, r *observe.Report, note func(error) error) error {
	if err := s.v.version.Check(); err != nil {
		r.Damage = append(r.Damage, err)
	}
	var tables []*Table
	s.v.eachTable(func(_ int, t *Table) { tables = append(tables, t) })
	for _, t := range tables {
		err := ctx.Err()
		if err == nil {
			err = note(t.verify(ctx, s.v, r))
		}
		if err != nil {
			return err
		}
		r.Tables++
		r.Bytes += int64(t.Meta.Size)
	}
	packs := byPack(tables)
	for _, p := range slices.SortedFunc(maps.Keys(packs), func(a, b *packFile) int { return cmp.Compare(a.id.Num, b.id.Num) }) {
		if err := note(s.st.verifyPack(p, packs[p])); err != nil {
			return err
		}
	}
	for _, f := range s.v.values {
		if err := note(f.verify(ctx)); err != nil {
			return err
		}
		r.ValueFiles++
		r.Bytes += int64(f.meta.Size)
	}
	return nil
}

// verify checks every page of a table, and the table's description in the
// manifest: bounds, counts and references to value files.
func (t *Table) verify(ctx context.Context, v *view, report *observe.Report) error {
	r, err := t.openAgain()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if err := r.Verify(ctx, nil); err != nil {
		return err
	}
	name := t.Meta.FileName()
	p := r.Properties()
	if ranges := uint64(p.Ranges.Len()); p.Entries != t.Meta.Entries || ranges != t.Meta.Ranges {
		return base.Corruptf(name, -1, "the table has %d entries and %d range tombstones; the manifest says %d and %d", p.Entries, ranges, t.Meta.Entries, t.Meta.Ranges)
	}
	// The properties agree with the entries, as just verified.
	if first, end := p.Bounds(); !bytes.Equal(first, t.Meta.Smallest) || end.Compare(t.Meta.End()) != 0 {
		return base.Corruptf(name, -1, "the table holds keys %q to %q (bound %d); the manifest says %q to %q (bound %d)",
			first, end.Key, end.Bound, t.Meta.Smallest, t.Meta.Largest, t.Meta.LargestBound)
	}
	report.Pages += int64(p.Pages)
	report.Entries += int64(p.Entries)
	refs, err := t.follow(ctx, v, r)
	if err != nil {
		return err
	}
	for _, want := range t.Meta.ValueRefs {
		if refs[want.File] != want {
			return base.Corruptf(name, -1, "the table refers to %+v in value file %d; the manifest says %+v", refs[want.File], want.File, want)
		}
		delete(refs, want.File)
	}
	if len(refs) > 0 {
		return base.Corruptf(name, -1, "the table refers to %d value files that its description in the manifest lacks", len(refs))
	}
	return nil
}

// follow reads the value of every pointer of a table, which must belong to the
// same key, and counts the pointers by file.
func (t *Table) follow(ctx context.Context, v *view, r *sstable.Reader) (map[base.FileNum]manifest.ValueRef, error) {
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
			if _, pointer, err = base.SplitExpiry(pointer); err != nil {
				return nil, err
			}
		default:
			continue
		}
		p, err := valuelog.DecodePointer(pointer)
		if err != nil {
			return nil, badPointer(t.Meta.FileName(), kv.Key, err)
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
			return nil, base.Corruptf(t.Meta.FileName(), -1,
				"the pointer of key %.200q leads to the value of key %.200q in %s at %d", kv.Key, key, base.FileName(base.FileTypeValues, p.File), p.Offset)
		}
	}
	return refs, it.Err()
}

// openAgain opens the file by its name, as the next opening of the database
// will: another file may have replaced the one that the reader in use has open.
func (t *Table) openAgain() (*sstable.Reader, error) {
	var f sstable.File
	if t.pack != nil {
		f = pack.NewSection(t.st.wholeFile(t.Meta.FileName(), t.Meta.PackSize), t.Meta.Offset, t.Meta.Size)
	} else {
		f = t.st.wholeFile(t.Meta.FileName(), t.Meta.Size)
	}
	r, err := sstable.Open(f, int64(t.Meta.Size), t.readerOptions())
	if err != nil {
		_ = f.Close()
	}
	return r, err
}

// openAgain opens the file by its name, as for a table.
func (f *valueFile) openAgain() (*valuelog.Reader, error) {
	id := f.identity()
	file := f.st.wholeFile(id.Name(), f.meta.Size)
	r, err := valuelog.Open(file, int64(f.meta.Size), valuelog.ReaderOptions{ID: id})
	if err != nil {
		_ = file.Close()
	}
	return r, err
}

// wholeFile returns a file that must be size bytes long. The cache of open
// files decides when it is open: a table may refer to more value files than
// there are descriptors.
func (st *Store) wholeFile(name string, size uint64) *filecache.File {
	return st.o.Files.File(func() (vfs.File, error) {
		f, err := st.openNamed(name)
		if err != nil {
			return nil, err
		}
		if n, err := f.Size(); err != nil || uint64(n) != size {
			_ = f.Close()
			if err != nil {
				return nil, vfs.Cannot("look at "+name, err)
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

// verifyPack checks the directory of a pack, and that the live tables are where
// the manifest says.
func (st *Store) verifyPack(p *packFile, tables []*Table) error {
	name := p.id.Name()
	f := st.wholeFile(name, uint64(p.size))
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
		want := pack.Table{Num: t.Meta.Num, Offset: t.Meta.Offset, Size: t.Meta.Size}
		if got := places[t.Meta.Num]; got != want {
			return base.Corruptf(name, int64(want.Offset), "table %d has %d bytes at %d, as the manifest says; the directory says %d bytes at %d",
				want.Num, want.Size, want.Offset, got.Size, got.Offset)
		}
	}
	return nil
}

// byPack groups tables by pack.
func byPack(tables []*Table) map[*packFile][]*Table {
	packs := map[*packFile][]*Table{}
	for _, t := range tables {
		if t.pack != nil {
			packs[t.pack] = append(packs[t.pack], t)
		}
	}
	return packs
}
