package engine

import (
	"bytes"
	"context"
	"errors"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/observe"
)

// Verify reads all live files and checks them against each other. What is
// wrong goes into the report; the error is about the checking.
func (e *Engine) Verify(ctx context.Context) (*observe.Report, error) {
	s, shard := e.acquire()
	if s == nil {
		return nil, base.ErrClosed
	}
	defer s.release(shard)
	r := &observe.Report{}
	if err := s.v.version.Check(); err != nil {
		r.Damage = append(r.Damage, err)
	}
	var tables []*table
	s.v.eachTable(func(_ int, t *table) { tables = append(tables, t) })
	for _, t := range tables {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		if err := t.verify(ctx, s.v, r); err != nil {
			if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				return r, err
			}
			if e.closed.Load() {
				return r, base.ErrClosed
			}
			r.Damage = append(r.Damage, err)
		}
		r.Tables++
		r.Bytes += int64(t.meta.Size)
	}
	for _, f := range s.v.values {
		if err := f.verify(ctx); err != nil {
			if ctx.Err() != nil {
				return r, ctx.Err()
			}
			r.Damage = append(r.Damage, err)
		}
		r.ValueFiles++
		r.Bytes += int64(f.meta.Size)
	}
	return r, e.verifyDir(r)
}

// verifyDir looks for files of others, and for our own that are gone.
func (e *Engine) verifyDir(r *observe.Report) error {
	names, err := e.fs.List(e.dir)
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
	r, err := t.open()
	if err != nil {
		return err
	}
	if err := r.Verify(ctx, nil); err != nil {
		return err
	}
	name := base.FileName(base.FileTypeTable, t.meta.Num)
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
	it := r.NewIter(sstable.IterOptions{Bypass: true})
	defer func() { _ = it.Close() }()
	refs := map[base.FileNum]manifest.ValueRef{}
	for kv := it.First(); kv != nil; kv = it.Next() {
		pointer := kv.Value
		switch kv.Trailer.Kind() {
		case base.KindPutPointer:
		case base.KindPutTTLPointer:
			if _, pointer, err = splitExpiry(pointer); err != nil {
				return err
			}
		default:
			continue
		}
		p, err := valuelog.DecodePointer(pointer)
		if err != nil {
			return base.Corruptf(name, -1, "key %q: %v", kv.Key, err)
		}
		ref := refs[p.File]
		refs[p.File] = manifest.ValueRef{File: p.File, Bytes: ref.Bytes + uint64(p.Length), Count: ref.Count + 1}
		if _, err := v.valueReader(p); err != nil {
			return err
		}
	}
	if err := it.Err(); err != nil {
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

// verify checks every record of a value file.
func (f *valueFile) verify(ctx context.Context) error {
	r, err := f.open()
	if err != nil {
		return err
	}
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
