package engine

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestVerifyFollowsPointers puts a table in the place of another that differs from
// it in one pointer; all checksums of it are right. Verify names the file that the
// pointer leads to, or the table where it is none.
func TestVerifyFollowsPointers(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(p *valuelog.Pointer, encoded []byte, before valuelog.Pointer) // changes either; before is of the key before
		of    base.FileType
		num   base.FileNum // 0: that of the table's own files
	}{
		"another place":  {func(p *valuelog.Pointer, _ []byte, _ valuelog.Pointer) { p.Offset++ }, base.FileTypeValues, 0},
		"another record": {func(p *valuelog.Pointer, _ []byte, _ valuelog.Pointer) { p.Checksum++ }, base.FileTypeValues, 0},
		"beyond the end": {func(p *valuelog.Pointer, _ []byte, _ valuelog.Pointer) { p.Offset = 16_000 }, base.FileTypeValues, 0},
		"another file":   {func(p *valuelog.Pointer, _ []byte, _ valuelog.Pointer) { p.File = 99 }, base.FileTypeValues, 99},
		"no pointer":     {func(_ *valuelog.Pointer, b []byte, _ valuelog.Pointer) { b[len(b)-1] ^= 1 }, base.FileTypeTable, 0},
		"another key":    {func(p *valuelog.Pointer, _ []byte, before valuelog.Pointer) { *p = before }, base.FileTypeTable, 0},
		"all is well":    {func(*valuelog.Pointer, []byte, valuelog.Pointer) {}, 0, 0},
	} {
		mem := memfs.New()
		e := openSmall(t, func(o *Options) {
			o.FS, o.ValueThreshold, o.MemtableSize, o.TableSize, o.ManualOnly = mem, 100, 64<<10, 64<<10, true
		})
		var b batch.Batch
		for i := range 20 {
			if err := b.Put(0, fmt.Appendf(nil, "key%02d", i), bytes.Repeat([]byte{byte(i)}, 500)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := e.Commit(&b, DefaultDurability); err != nil {
			t.Fatal(err)
		}
		if err := e.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		table, values := spoilPointer(t, e, mem, c.spoil)
		num := c.num
		switch {
		case num != 0:
		case c.of == base.FileTypeTable:
			num = table
		default:
			num = values
		}
		report, err := e.Verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var damage *base.CorruptionError
		switch {
		case c.of == 0:
			if !report.Clean() {
				t.Errorf("%s: Verify says %v", what, report.Damage)
			}
		case len(report.Damage) != 1 || !errors.As(report.Damage[0], &damage) || damage.File != base.FileName(c.of, num):
			t.Errorf("%s: Verify says %v, and nothing of %s", what, report.Damage, base.FileName(c.of, num))
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// spoilPointer writes the one table of an engine anew, with its tenth pointer
// changed, and returns the numbers of the table and of its value file.
func spoilPointer(t *testing.T, e *Engine, mem *memfs.FS, spoil func(*valuelog.Pointer, []byte, valuelog.Pointer)) (num, values base.FileNum) {
	t.Helper()
	s, shard := e.store.Acquire()
	defer s.Release(shard)
	var metas []*manifest.FileMeta
	s.Version().All(func(_ int, m *manifest.FileMeta) bool {
		metas = append(metas, m)
		return true
	})
	if len(metas) != 1 {
		t.Fatalf("%d tables", len(metas))
	}
	id := base.Identity{DB: e.versions.DB(), Type: base.FileTypeTable, Num: metas[0].Num, Incarnation: metas[0].Incarnation}
	size := metas[0].Size
	old, err := mem.Open("db/" + id.Name())
	if err != nil {
		t.Fatal(err)
	}
	r, err := sstable.Open(old, int64(size), sstable.ReaderOptions{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := sstable.NewWriter(&out, sstable.WriterOptions{ID: id, PageSize: e.opts.PageSize})
	it := r.NewIter(sstable.IterOptions{Bypass: true})
	n := 0
	var before valuelog.Pointer
	for kv := it.First(); kv != nil; kv = it.Next() {
		value := bytes.Clone(kv.Value)
		p, err := valuelog.DecodePointer(value)
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 10 {
			values = p.File
			was := p
			if spoil(&p, value, before); p != was {
				value = valuelog.AppendPointer(nil, p)
			}
		}
		before = p
		if err := w.Add(kv.Key, kv.Trailer, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(it.Err(), it.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if uint64(out.Len()) != size {
		t.Fatalf("the table has %d bytes, the other %d", out.Len(), size)
	}
	path := "db/" + id.Name()
	if err := mem.Remove(path); err != nil {
		t.Fatal(err)
	}
	f, err := mem.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(out.Bytes())
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return id.Num, values
}
