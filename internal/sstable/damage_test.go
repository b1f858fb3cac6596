package sstable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// damageTables are small tables that have between them every part of the
// format: models, codes, extensions with and without trailers, raw and
// compressed pages.
func damageTables(t testing.TB) map[string][]byte {
	rnd := rand.New(rand.NewPCG(3, 3))
	out := map[string][]byte{}
	for _, shape := range []string{"hex", "sameWindow", "versions", "decimal"} {
		rows := makeRows(rnd, shape, 60)
		out[shape], _ = buildTable(t, rows, WriterOptions{PageSize: 200, Index: IndexLearned, FilterBits: 10})
		out[shape+"/s2"], _ = buildTable(t, rows, WriterOptions{PageSize: 400, Codec: compress.S2, FilterBits: 10})
	}
	rows := makeRows(rnd, "hex", 20)
	out["ranges"], _ = buildRanged(t, rows, makeRanges(rnd, rows, 6), WriterOptions{PageSize: 200, FilterBits: 10})
	out["only ranges"], _ = buildRanged(t, nil, makeRanges(rnd, rows, 9), WriterOptions{FilterBits: 10})
	return out
}

// readAll opens and reads everything, by points, by walks and by Verify, and
// returns the first error, or the entries as text.
func readAll(data []byte, id base.Identity) (string, error) {
	r, err := Open(memFile{bytes.NewReader(data)}, int64(len(data)), ReaderOptions{ID: id})
	if err != nil {
		return "", err
	}
	defer r.Close()
	var text []byte
	write := func(key []byte, t base.Trailer, value []byte) {
		text = append(append(append(append(text, key...), 0), value...), 0)
		text = le.AppendUint64(text, uint64(t))
	}
	for _, o := range []IterOptions{{}, {Bypass: true}} {
		it := r.NewIter(o)
		for kv := it.First(); kv != nil; kv = it.Next() {
			write(kv.Key, kv.Trailer, kv.Value)
			var res Result
			ok, err := r.Get(kv.Key, kv.Trailer.Seq(), &res)
			if err != nil {
				return "", err
			}
			if ok && r.MayContain(base.Hash(kv.Key)) {
				write(nil, res.Trailer, res.Value)
			}
			res.Release()
		}
		if err := it.Close(); err != nil {
			return "", err
		}
	}
	for kv, it := (*base.KV)(nil), r.NewIter(IterOptions{}); ; {
		if kv = it.Prev(); kv == nil {
			if err := it.Close(); err != nil {
				return "", err
			}
			break
		}
		write(kv.Key, kv.Trailer, kv.Value)
	}
	if err := r.Verify(context.Background(), nil); err != nil {
		return "", err
	}
	return string(r.Properties().append(text)), nil
}

// TestFlipEveryByte: damage anywhere is reported as such.
func TestFlipEveryByte(t *testing.T) {
	for name, data := range damageTables(t) {
		if _, err := readAll(data, testID); err != nil {
			t.Fatalf("%s undamaged: %v", name, err)
		}
		step := 2
		if testing.Short() {
			step = 11
		}
		for i := 0; i < len(data); i += step {
			d := bytes.Clone(data)
			d[i] ^= 1 << (i % 8)
			_, err := readAll(d, testID)
			var c *base.CorruptionError
			if !errors.As(err, &c) {
				t.Fatalf("%s: byte %d of %d flipped: %v", name, i, len(data), err)
			}
			if c.File != testID.Name() || c.Offset > int64(i) || c.Offset < 0 {
				t.Fatalf("%s: byte %d of %d flipped: blamed on %s at %d", name, i, len(data), c.File, c.Offset)
			}
		}
	}
}

// TestWrongFile: an intact table under another name, of another database, or
// of another length is not taken for the one wanted.
func TestWrongFile(t *testing.T) {
	rows := makeRows(rand.New(rand.NewPCG(3, 3)), "hex", 150)
	data, _ := buildTable(t, rows, WriterOptions{PageSize: 200})
	for name, id := range map[string]base.Identity{
		"number":   {DB: testID.DB, Type: testID.Type, Num: testID.Num + 1},
		"database": {DB: testID.DB + 1, Type: testID.Type, Num: testID.Num},
		"type":     {DB: testID.DB, Type: base.FileTypeValues, Num: testID.Num},
	} {
		if _, err := readAll(data, id); !errors.Is(err, base.ErrCorruption) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	for n := range data {
		if _, err := readAll(data[:n], testID); !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(data), err)
		}
	}
	if _, err := readAll(append([]byte{0}, data...), testID); !errors.Is(err, base.ErrCorruption) {
		t.Errorf("moved by a byte: %v", err)
	}
}

// TestPagesSwapped: a page with a good checksum in the place of another.
func TestPagesSwapped(t *testing.T) {
	var rows []row
	for i := range 400 {
		rows = append(rows, row{fmt.Appendf(nil, "%06d", i), 256, []byte("v")})
	}
	data, _ := buildTable(t, rows, WriterOptions{PageSize: 200, Index: IndexFences})
	x := openTable(t, data, nil).index
	for a := range x.pages {
		b := (a + 1) % x.pages
		n := x.offset(a+1) - x.offset(a)
		if n != x.offset(b+1)-x.offset(b) {
			continue
		}
		d := bytes.Clone(data)
		copy(d[x.offset(a):], data[x.offset(b):x.offset(b+1)])
		if _, err := readAll(d, testID); !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("page %d in the place of %d: %v", b, a, err)
		}
		return
	}
	t.Fatal("no two neighbours of one size")
}

func TestFormatTooNew(t *testing.T) {
	rows := makeRows(rand.New(rand.NewPCG(3, 3)), "hex", 50)
	data, _ := buildTable(t, rows, WriterOptions{})
	foot := data[len(data)-footerSize:]
	le.PutUint32(foot[64:], uint32(base.FormatNewest+1))
	le.PutUint32(foot[72:], footerSum(foot, testID, int64(len(data)-footerSize)))
	if _, err := readAll(data, testID); !errors.Is(err, base.ErrFormatTooNew) {
		t.Fatal(err)
	}
}

// reseal makes all checksums of a damaged table good again, as a hostile
// author would.
func reseal(data []byte, id base.Identity) {
	off := len(data) - footerSize
	if off < 0 {
		return
	}
	foot := data[off:]
	for i := range 3 {
		o, n := le.Uint64(foot[i*16:]), le.Uint64(foot[i*16+8:])
		if o <= uint64(off) && n <= uint64(off)-o && uint64(off)-o-n >= sumSize {
			le.PutUint32(data[o+n:], id.Checksum(int64(o), data[o:o+n]))
		}
	}
	copy(foot[80:], magic)
	le.PutUint32(foot[72:], footerSum(foot, id, int64(off)))
	if o, n := le.Uint64(foot[16:]), le.Uint64(foot[24:]); o <= uint64(off) && n <= uint64(off)-o {
		if x, err := openIndex(data[o:o+n], int64(le.Uint64(foot))); err == nil && le.Uint64(foot) <= uint64(off) {
			for i := range x.pages {
				a, b := x.offset(i), x.offset(i+1)
				le.PutUint32(data[b-sumSize:], id.Checksum(a, data[a:b-sumSize]))
			}
		}
	}
}

// TestFlipResealed: damage under good checksums is an error or a wrong
// answer, never a panic.
func TestFlipResealed(t *testing.T) {
	for _, data := range damageTables(t) {
		step := 17
		if testing.Short() {
			step = 67
		}
		for i := 0; i < len(data); i += step {
			for _, bit := range []int{0, 3, 7} {
				d := bytes.Clone(data)
				d[i] ^= 1 << bit
				reseal(d, testID)
				_, _ = readAll(d, testID)
			}
		}
	}
}

// sectionAt returns a part of the metadata of a table, in place: 0 the filter, 1
// the index, 2 the properties.
func sectionAt(data []byte, i int) []byte {
	foot := data[len(data)-footerSize:]
	o, n := le.Uint64(foot[i*16:]), le.Uint64(foot[i*16+8:])
	return data[o : o+n]
}

// TestVerifySeesLies: metadata that is well formed and wrong.
func TestVerifySeesLies(t *testing.T) {
	rows := makeRows(rand.New(rand.NewPCG(3, 3)), "hex", 500)
	data, _ := buildTable(t, rows, WriterOptions{PageSize: 400, FilterBits: 10, Index: IndexFences})
	verify := func(want error, spoil func(d []byte)) {
		t.Helper()
		d := bytes.Clone(data)
		spoil(d)
		reseal(d, testID)
		err := openTable(t, d, nil).Verify(context.Background(), nil)
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	verify(nil, func([]byte) {})
	verify(errFilter, func(d []byte) { clear(sectionAt(d, 0)[:64]) })
	verify(errLost, func(d []byte) {
		heads := sectionAt(d, 1)[indexHeaderSize:]
		le.PutUint64(heads[8*5:], le.Uint64(heads[8*6:]))
	})
	verify(base.ErrCorruption, func(d []byte) {
		p := sectionAt(d, 2)
		p[bytes.Index(p, rows[0].key)]--
	})
}

// TestNoBombs: an index that says that a page grows a millionfold is refused
// before any memory is taken for the page.
func TestNoBombs(t *testing.T) {
	rows := makeRows(rand.New(rand.NewPCG(3, 3)), "hex", 500)
	data, _ := buildTable(t, rows, WriterOptions{PageSize: 70_000, Codec: compress.S2})
	b := sectionAt(data, 1)
	size := int64(le.Uint64(data[len(data)-footerSize:]))
	x, err := openIndex(b, size)
	if err != nil {
		t.Fatal(err)
	}
	x.rawWidth, x.rawLens = 4, make([]byte, 4*x.pages)
	if !x.checkOffsets(size) {
		t.Fatal("raw pages are refused")
	}
	le.PutUint32(x.rawLens, 1<<30)
	if x.checkOffsets(size) {
		t.Fatal("a page of 1 GiB is taken")
	}
}

func FuzzTable(f *testing.F) {
	for _, data := range damageTables(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		reseal(data, testID)
		_, _ = readAll(data, testID)
	})
}

func FuzzIndex(f *testing.F) {
	for _, data := range damageTables(f) {
		foot := data[len(data)-footerSize:]
		o, n := le.Uint64(foot[16:]), le.Uint64(foot[24:])
		f.Add(data[o:o+n], int64(le.Uint64(foot)), []byte("key"), uint64(5))
	}
	f.Fuzz(func(t *testing.T, data []byte, size int64, key []byte, trailer uint64) {
		x, err := openIndex(data, size)
		if err != nil {
			return
		}
		page, hint := x.find(key, base.Trailer(trailer))
		if page < 0 || page >= x.pages || hint < noHint || int64(hint) > 1<<31-1 {
			t.Fatalf("find: %d of %d, hint %d", page, x.pages, hint)
		}
	})
}

func FuzzProperties(f *testing.F) {
	p := Properties{Entries: 5, Smallest: []byte("a"), Largest: []byte("b"), FilterBits: 9.5, Codec: 3}
	f.Add(p.append(nil))
	p.Ranges = rangedel.Build([]rangedel.Tombstone{{Lo: []byte("a"), Hi: []byte("c"), Seq: 5}, {Lo: []byte("b"), Seq: 7}})
	f.Add(p.append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, ok := parseProperties(data)
		if !ok {
			return
		}
		q, ok := parseProperties(p.append(nil))
		if !ok || q.Entries != p.Entries || !bytes.Equal(q.Largest, p.Largest) || q.ByKind != p.ByKind || !bytes.Equal(q.Ranges.Append(nil), p.Ranges.Append(nil)) {
			t.Fatalf("%+v became %+v", p, q)
		}
	})
}
