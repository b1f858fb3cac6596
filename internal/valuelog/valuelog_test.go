package valuelog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/compress"
)

var testID = base.Identity{DB: 0xfeedface, Type: base.FileTypeValues, Num: 7}

// memFile is a file in memory.
type memFile struct {
	data   []byte
	err    error // what reads fail with, if set
	reads  int
	closed bool
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.reads++
	if f.err != nil {
		return 0, f.err
	}
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Close() error { f.closed = true; return nil }

type pair struct {
	key, value []byte
	p          Pointer
}

// build writes pairs to a file.
func build(t testing.TB, codec compress.Codec, pairs []pair) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out, testID, codec)
	for i := range pairs {
		p, err := w.Add(pairs[i].key, pairs[i].value)
		if err != nil {
			t.Fatal(err)
		}
		pairs[i].p = p
	}
	size := w.Size()
	info, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if info.Size != size || info.Size != uint64(out.Len()) || info.Count != uint64(len(pairs)) {
		t.Fatalf("info %+v of a file of %d bytes, Size said %d", info, out.Len(), size)
	}
	return out.Bytes()
}

func open(t testing.TB, data []byte, c *cache.Cache) *Reader {
	t.Helper()
	r, err := Open(&memFile{data: data}, int64(len(data)), ReaderOptions{ID: testID, Cache: c})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// testPairs are values of all sorts of sizes, some compressible.
func testPairs(n int) []pair {
	rnd := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 3, 100, 1000, 5000, 70_000}
	pairs := make([]pair, n)
	for i := range pairs {
		v := make([]byte, sizes[rnd.IntN(len(sizes))])
		for k := range v {
			if i%2 == 0 || k%3 == 0 {
				v[k] = byte(rnd.Uint32())
			}
		}
		pairs[i] = pair{key: fmt.Appendf(nil, "key%05d", i), value: v}
	}
	pairs[0].key = nil
	return pairs
}

// readers are the ways to read a value.
func readers(r *Reader) map[string]func([]byte, Pointer) ([]byte, error) {
	return map[string]func([]byte, Pointer) ([]byte, error){
		"value":      r.AppendValue,
		"uncached":   r.AppendUncached,
		"sequential": (&Sequential{Reader: r}).AppendValue,
	}
}

func TestRoundTrip(t *testing.T) {
	for _, codec := range []compress.Codec{compress.None, compress.LZ4, compress.Zstd, compress.S2} {
		for _, budget := range []int64{-1, 0, 100 << 10, 64 << 20} {
			pairs := testPairs(60)
			data := build(t, codec, pairs)
			var c *cache.Cache
			if budget >= 0 {
				c = cache.New(cache.Options{Budget: budget})
			}
			r := open(t, data, c)
			for name, read := range readers(r) {
				for round := range 3 {
					for i, p := range pairs {
						got, err := read([]byte("before"), p.p)
						if err != nil || !bytes.Equal(got, append([]byte("before"), p.value...)) {
							t.Fatalf("%v, budget %d, %s, round %d, value %d: %d bytes, %v", codec, budget, name, round, i, len(got), err)
						}
					}
				}
			}
			checkScan(t, r, pairs)
			checkKeys(t, r, pairs)
			if err := r.Close(); err != nil || !r.f.(*memFile).closed {
				t.Fatalf("close: %v", err)
			}
			if c != nil {
				c.Close()
			}
		}
	}
}

// checkKeys reads the key of every record, forward and backward.
func checkKeys(t *testing.T, r *Reader, pairs []pair) {
	t.Helper()
	s := Sequential{Reader: r}
	for i := range 2 * len(pairs) {
		p := pairs[min(i, 2*len(pairs)-1-i)]
		_, err := s.AppendValue(nil, p.p)
		if key, keyErr := s.Key(p.p); err != nil || keyErr != nil || !bytes.Equal(key, p.key) {
			t.Fatalf("key %d: %q, %v, %v", i, key, err, keyErr)
		}
	}
}

func checkScan(t *testing.T, r *Reader, pairs []pair) {
	t.Helper()
	i := 0
	err := r.Scan(context.Background(), func(rec Record) error {
		if rec.Pointer != pairs[i].p || !bytes.Equal(rec.Key, pairs[i].key) || !bytes.Equal(rec.Value, pairs[i].value) {
			t.Fatalf("record %d: %v %q, want %v %q", i, rec.Pointer, rec.Key, pairs[i].p, pairs[i].key)
		}
		i++
		return nil
	})
	if err != nil || i != len(pairs) {
		t.Fatalf("scan: %d of %d, %v", i, len(pairs), err)
	}
}

func TestEmptyFile(t *testing.T) {
	r := open(t, build(t, compress.None, nil), nil)
	checkScan(t, r, nil)
}

// TestLargeValue reads values past the limits of scratch buffers and cache.
func TestLargeValue(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 3<<20)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	half := bytes.Repeat(noise[:1<<20], 3)
	pairs := []pair{{key: []byte("noise"), value: noise}, {key: []byte("half"), value: half}, {key: []byte("small"), value: noise[:10]}}
	c := cache.New(cache.Options{Budget: 64 << 20})
	defer c.Close()
	r := open(t, build(t, compress.Zstd, pairs), c)
	for name, read := range readers(r) {
		for i, p := range pairs {
			got, err := read([]byte{1}, p.p)
			if err != nil || got[0] != 1 || !bytes.Equal(got[1:], p.value) {
				t.Fatalf("%s, value %d: %v", name, i, err)
			}
		}
	}
	checkScan(t, r, pairs)
}

// TestForeignBytes: a record from another place, file or database must not
// pass, however sound it is (catalogue 41 to 44).
func TestForeignBytes(t *testing.T) {
	pairs := []pair{{key: []byte("k"), value: []byte("same length 1")}, {key: []byte("k"), value: []byte("same length 2")}}
	data := build(t, compress.None, pairs)
	a, b := pairs[0].p, pairs[1].p

	swapped := bytes.Clone(data)
	copy(swapped[a.Offset:], data[b.Offset:b.Offset+uint64(b.Length)])
	wantCorrupt(t, "record of another offset", func(r *Reader) error { _, err := r.AppendValue(nil, a); return err }, swapped)

	wrong := a
	wrong.Checksum++
	wantCorrupt(t, "pointer to an older file of this number", func(r *Reader) error { _, err := r.AppendValue(nil, wrong); return err }, data)

	for _, id := range []base.Identity{{DB: 1, Type: testID.Type, Num: testID.Num}, {DB: testID.DB, Type: testID.Type, Num: 8}} {
		_, err := Open(&memFile{data: data}, int64(len(data)), ReaderOptions{ID: id})
		if !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("opened as %v: %v", id, err)
		}
	}
}

func wantCorrupt(t *testing.T, what string, f func(*Reader) error, data []byte) {
	t.Helper()
	r := open(t, data, nil)
	var e *base.CorruptionError
	if err := f(r); !errors.As(err, &e) || e.File != testID.Name() {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestFlippedBytes flips every byte of a file, and cuts it everywhere: opening
// or scanning must report it, and reading must report it or be right.
func TestFlippedBytes(t *testing.T) {
	codecs, masks := []compress.Codec{compress.None, compress.S2, compress.Zstd, compress.LZ4}, []byte{0x01, 0x80, 0xff}
	if testing.Short() {
		codecs, masks = codecs[:2], masks[2:]
	}
	for _, codec := range codecs {
		pairs := testPairs(12)
		pairs = slices.DeleteFunc(pairs, func(p pair) bool { return len(p.value) > 1000 })
		data := build(t, codec, pairs)
		for i := range data {
			for _, mask := range masks {
				data[i] ^= mask
				checkDamaged(t, data, pairs, true)
				data[i] ^= mask
			}
		}
		for n := range data {
			checkDamaged(t, data[:n], pairs, true)
		}
		checkDamaged(t, append(bytes.Clone(data), 0), pairs, true)
	}
}

// checkDamaged reads all that can be read of a file. Nothing may be wrong, and
// if damaged is set something must be reported.
func checkDamaged(t *testing.T, data []byte, pairs []pair, damaged bool) {
	t.Helper()
	check := func(err error) {
		if err != nil && !errors.Is(err, base.ErrCorruption) && !errors.Is(err, base.ErrFormatTooNew) {
			t.Fatalf("error of another kind: %v", err)
		}
	}
	r, err := Open(&memFile{data: data}, int64(len(data)), ReaderOptions{ID: testID})
	check(err)
	if err != nil {
		return
	}
	err = r.Scan(context.Background(), func(rec Record) error {
		i := slices.IndexFunc(pairs, func(p pair) bool { return p.p == rec.Pointer })
		if i < 0 || !bytes.Equal(rec.Value, pairs[i].value) || !bytes.Equal(rec.Key, pairs[i].key) {
			t.Fatalf("scan shows what was never written: %v", rec.Pointer)
		}
		return nil
	})
	check(err)
	if damaged && err == nil {
		t.Fatal("damage was not found")
	}
	for name, read := range readers(r) {
		for _, p := range pairs {
			got, err := read(nil, p.p)
			check(err)
			if err == nil && !bytes.Equal(got, p.value) {
				t.Fatalf("%s: wrong bytes for %v", name, p.p)
			}
		}
	}
}

// TestWildPointers: no pointer may lead out of the records.
func TestWildPointers(t *testing.T) {
	pairs := testPairs(5)
	r := open(t, build(t, compress.None, pairs), nil)
	for _, p := range []Pointer{
		{Offset: 0, Length: 20}, {Offset: headerV1 - 1, Length: 30}, {Offset: headerV1, Length: 1},
		{Offset: r.end, Length: 20}, {Offset: r.end - 5, Length: 20}, {Offset: 1<<64 - 1, Length: 20}, {Offset: 1 << 63, Length: 20},
		{Offset: headerV1, Length: 1<<32 - 1}, {Offset: headerV1, Length: 20, RawLength: 1<<32 - 1},
	} {
		p.File = testID.Num
		for name, read := range readers(r) {
			if got, err := read([]byte("x"), p); !errors.Is(err, base.ErrCorruption) || string(got) != "x" {
				t.Errorf("%s %+v: %q, %v", name, p, got, err)
			}
		}
	}
}

// TestReadErrorIsNotRemembered: an I/O error is reported as what it is, and the
// next read works (catalogue 26).
func TestReadErrorIsNotRemembered(t *testing.T) {
	pairs := testPairs(5)
	data := build(t, compress.S2, pairs)
	c := cache.New(cache.Options{Budget: 1 << 20})
	defer c.Close()
	f := &memFile{data: data}
	r, err := Open(f, int64(len(data)), ReaderOptions{ID: testID, Cache: c})
	if err != nil {
		t.Fatal(err)
	}
	eio := errors.New("input/output error")
	for name, read := range readers(r) {
		for _, p := range pairs {
			f.err = eio
			if _, err := read(nil, p.p); err != nil && (!errors.Is(err, eio) || errors.Is(err, base.ErrCorruption)) {
				t.Fatalf("%s: %v", name, err)
			}
			f.err = nil
			if got, err := read(nil, p.p); err != nil || !bytes.Equal(got, p.value) {
				t.Fatalf("%s: %v after the error went away", name, err)
			}
		}
	}
	f.err = eio
	if err := r.Scan(context.Background(), nil); !errors.Is(err, eio) {
		t.Fatalf("scan: %v", err)
	}
}

// failingWriter fails from the n-th byte on.
type failingWriter struct{ n int }

var errFull = errors.New("full")

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.n -= len(b); w.n < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestWriteErrorSticks(t *testing.T) {
	for _, room := range []int{0, 100, writeSize + 100, 3 * writeSize} {
		w := NewWriter(&failingWriter{room}, testID, compress.None)
		for range 1000 {
			if _, err := w.Add([]byte("key"), make([]byte, 1000)); err != nil && !errors.Is(err, errFull) {
				t.Fatal(err)
			}
		}
		if _, err := w.Finish(); !errors.Is(err, errFull) {
			t.Fatalf("room for %d: Finish says %v", room, err)
		}
	}
	w := NewWriter(io.Discard, testID, compress.None)
	if _, err := w.Add(make([]byte, base.MaxKeySize+1), nil); err == nil {
		t.Fatal("a key over the limit went in")
	}
}

// TestFooterThatLies: a footer under a right checksum that does not count what
// is there.
func TestFooterThatLies(t *testing.T) {
	for field := range 3 {
		data := build(t, compress.None, testPairs(3))
		f := data[len(data)-footerSize:]
		f[8*field]++
		binary.LittleEndian.PutUint32(f[32:], testID.Checksum(int64(len(data)-footerSize), f[:32]))
		r, err := Open(&memFile{data: data}, int64(len(data)), ReaderOptions{ID: testID})
		if err == nil {
			err = r.Scan(context.Background(), nil)
		}
		if !errors.Is(err, base.ErrCorruption) {
			t.Errorf("field %d: %v", field, err)
		}
	}
}

func TestScanStops(t *testing.T) {
	r := open(t, build(t, compress.None, testPairs(5)), nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Scan(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	if err := r.Scan(context.Background(), func(Record) error { return stop }); !errors.Is(err, stop) {
		t.Fatal(err)
	}
}

// TestSequentialReadsAhead: values in order cost few reads, however small.
func TestSequentialReadsAhead(t *testing.T) {
	pairs := make([]pair, 2000)
	for i := range pairs {
		pairs[i] = pair{key: fmt.Appendf(nil, "key%05d", i), value: make([]byte, 500)}
	}
	data := build(t, compress.None, pairs)
	f := &memFile{data: data}
	r, err := Open(f, int64(len(data)), ReaderOptions{ID: testID})
	if err != nil {
		t.Fatal(err)
	}
	s := Sequential{Reader: r}
	f.reads = 0
	for i, p := range pairs {
		if i%10 == 9 {
			continue // small gaps do no harm
		}
		if _, err := s.AppendValue(nil, p.p); err != nil {
			t.Fatal(err)
		}
	}
	if f.reads > 12 {
		t.Errorf("%d reads of a file of %d bytes", f.reads, len(data))
	}
}
