package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

var testID = base.Identity{DB: 77, Type: base.FileTypeLog, Num: 5}

// file is a file being built, and where its records begin.
type file struct {
	data     []byte
	starts   []int64
	payloads []string
	synced   int64
}

func newFile() *file {
	f := &file{data: AppendFileHeader(nil, testID, base.FormatNewest, []byte("extra"))}
	f.starts = append(f.starts, 0)
	return f
}

// add appends a record.
func (f *file) add(payload string) {
	f.starts = append(f.starts, int64(len(f.data)))
	f.payloads = append(f.payloads, payload)
	f.data = Append(f.data, testID, int64(len(f.data)), KindData, f.synced, []byte(payload))
}

// sync makes the next record say that everything before it is durable.
func (f *file) sync() { f.synced = int64(len(f.data)) }

func (f *file) mark() {
	f.sync()
	f.data = Append(f.data, testID, f.synced, KindMark, f.synced, nil)
}

// start returns where the record begins that contains offset i.
func (f *file) start(i int) (at int64) {
	for _, s := range f.starts {
		if s <= int64(i) {
			at = s
		}
	}
	return at
}

// read returns the payloads of the data records of some bytes, and how the reading ended.
func read(data []byte) (payloads []string, off int64, err error) {
	r := NewReader(bytes.NewReader(data), int64(len(data)), testID)
	if _, err = r.ReadFileHeader(); err != nil {
		return nil, 0, err
	}
	for {
		var p []byte
		p, off, err = r.Next()
		if err != nil {
			return payloads, off, err
		}
		if r.Kind() == KindData {
			payloads = append(payloads, string(p))
		}
	}
}

// threeRecords is a file of three small records of which nothing was synced.
func threeRecords() *file {
	f := newFile()
	f.add("the first")
	f.add("")
	f.add("the third one")
	return f
}

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	f := newFile()
	for i := range 50 {
		n := rng.IntN(100)
		if i%10 == 9 {
			n = windowSize - 50 + rng.IntN(100) // around the reader's window
		}
		if i == 25 {
			n = 3*windowSize + 1
		}
		p := make([]byte, n)
		for j := range p {
			p[j] = byte(rng.Uint32())
		}
		f.add(string(p))
		if i%7 == 0 {
			f.mark()
		}
	}
	got, off, err := read(f.data)
	if err != io.EOF || off != int64(len(f.data)) || len(got) != len(f.payloads) {
		t.Fatalf("%d of %d records, at %d, %v", len(got), len(f.payloads), off, err)
	}
	for i := range got {
		if got[i] != f.payloads[i] {
			t.Fatalf("record %d differs", i)
		}
	}
}

// TestTornAnywhere cuts a file at every byte, and puts after the cut nothing,
// zeros, 0xFF, noise, or what an older file had there: always the whole records
// before the cut come out, and nothing else.
func TestTornAnywhere(t *testing.T) {
	f := threeRecords()
	rng := rand.New(rand.NewPCG(5, 6))
	stale := newFile()
	stale.data = AppendFileHeader(nil, base.Identity{DB: 77, Type: base.FileTypeLog, Num: 4}, base.FormatNewest, []byte("extra"))
	for _, p := range f.payloads {
		stale.data = Append(stale.data, base.Identity{DB: 77, Type: base.FileTypeLog, Num: 4}, int64(len(stale.data)), KindData, 0, []byte(p))
	}
	fills := map[string]func(n int) []byte{
		"nothing": func(int) []byte { return nil },
		"zeros":   func(n int) []byte { return make([]byte, n) },
		"0xff":    func(n int) []byte { return bytes.Repeat([]byte{0xff}, n) },
		"noise": func(n int) []byte {
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			return p
		},
		"stale": func(n int) []byte { return stale.data[len(stale.data)-n:] },
	}
	for name, fill := range fills {
		for cut := range f.data {
			data := append(bytes.Clone(f.data[:cut]), fill(len(f.data)-cut)...)
			if bytes.Equal(data, f.data) || name == "stale" && cut == 0 {
				// The fill happens to be what was cut; or the file is another
				// one under this name, which TestMisplaced is about.
				continue
			}
			got, off, err := read(data)
			want, whole := 0, int64(0)
			for i, s := range append(f.starts[1:], int64(len(f.data))) {
				// A fill may equal the end of a record that was cut.
				if bytes.HasPrefix(data, f.data[:s]) {
					want, whole = i, s
				}
			}
			if len(got) != want || off != whole {
				t.Fatalf("%s from %d: %d records to %d, want %d to %d", name, cut, len(got), off, want, whole)
			}
			clean := len(data) == int(whole)
			if clean != (err == io.EOF) || !clean && err != ErrTorn {
				t.Fatalf("%s from %d: %v", name, cut, err)
			}
		}
	}
}

// TestFlipUnsynced flips every bit of a file of which nothing is known to be
// durable: the record with the flip, and all behind it, are cut.
func TestFlipUnsynced(t *testing.T) {
	f := threeRecords()
	for bit := range len(f.data) * 8 {
		data := bytes.Clone(f.data)
		data[bit/8] ^= 1 << (bit % 8)
		got, off, err := read(data)
		if err != ErrTorn || off != f.start(bit/8) {
			t.Fatalf("bit %d: %v at %d", bit, err, off)
		}
		for i := range got {
			if got[i] != f.payloads[i] {
				t.Fatalf("bit %d: record %d is %q", bit, i, got[i])
			}
		}
	}
}

// TestFlipSynced flips every bit of a file that ends with a mark: damage is
// reported where it is, but for damage to the mark, which loses nothing.
func TestFlipSynced(t *testing.T) {
	f := threeRecords()
	end := len(f.data)
	f.mark()
	for bit := range len(f.data) * 8 {
		data := bytes.Clone(f.data)
		data[bit/8] ^= 1 << (bit % 8)
		got, off, err := read(data)
		if bit/8 >= end {
			if err != ErrTorn || off != int64(end) || fmt.Sprint(got) != fmt.Sprint(f.payloads) {
				t.Fatalf("bit %d of the mark: %d records, %v at %d", bit, len(got), err, off)
			}
			continue
		}
		var c *base.CorruptionError
		if !errors.As(err, &c) || c.File != "000005.wal" || c.Offset != f.start(bit/8) || off != c.Offset {
			t.Fatalf("bit %d: %v at %d", bit, err, off)
		}
	}
}

// TestSyncedDecides damages the second of four records. The last may or may not say that
// the second was durable.
func TestSyncedDecides(t *testing.T) {
	for _, known := range []int{0, 1, 2, 3} {
		f := newFile()
		f.add("one")
		f.add("two")
		f.add("three")
		f.starts = append(f.starts, int64(len(f.data)))
		f.synced = f.starts[known]
		f.add("four")
		f.data[f.starts[2]+HeaderSize] ^= 1
		durable := f.synced
		got, off, err := read(f.data)
		if len(got) != 1 || off != f.starts[2] {
			t.Fatalf("known %d: %q to %d", known, got, off)
		}
		f.data[f.starts[2]+HeaderSize] ^= 1
		r := NewReader(bytes.NewReader(f.data), int64(len(f.data)), testID)
		for r.Durable() != durable {
			if _, _, err := r.Next(); err != nil {
				t.Fatalf("known %d: Durable is %d, want %d", known, r.Durable(), durable)
			}
		}
		if damage := known == 3; damage != errors.Is(err, base.ErrCorruption) || !damage && err != ErrTorn {
			t.Fatalf("synced to record %d: %v", known, err)
		}
	}
}

func TestKnowDurable(t *testing.T) {
	f := threeRecords()
	for cut := range len(f.data) + 1 {
		for _, durable := range []int64{f.starts[2], int64(len(f.data))} {
			r := NewReader(bytes.NewReader(f.data[:cut]), int64(cut), testID)
			r.KnowDurable(durable)
			var err error
			for err == nil {
				_, _, err = r.Next()
			}
			if short := int64(cut) < durable; short != errors.Is(err, base.ErrCorruption) {
				t.Fatalf("%d bytes of which %d were durable: %v", cut, durable, err)
			}
		}
	}
}

// TestMisplaced copies a record to another place, and a file to another name.
func TestMisplaced(t *testing.T) {
	f := newFile()
	f.add("same length")
	f.add("same_length")
	copy(f.data[f.starts[2]:], f.data[f.starts[1]:f.starts[2]])
	if got, off, err := read(f.data); len(got) != 1 || off != f.starts[2] || err != ErrTorn {
		t.Fatalf("a copied record was read: %q, %d, %v", got, off, err)
	}
	f = threeRecords()
	for _, id := range []base.Identity{
		{DB: 78, Type: base.FileTypeLog, Num: 5},
		{DB: 77, Type: base.FileTypeManifest, Num: 5},
		{DB: 77, Type: base.FileTypeLog, Num: 6},
	} {
		r := NewReader(bytes.NewReader(f.data), int64(len(f.data)), id)
		if _, err := r.ReadFileHeader(); !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("read as %v: %v", id, err)
		}
		if _, _, err := r.Next(); !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("the error is not sticky: %v", err)
		}
	}
	h, ok := Identify(bytes.NewReader(f.data), int64(len(f.data)))
	if !ok || h.ID != testID || string(h.Extra) != "extra" {
		t.Fatalf("%+v %v", h, ok)
	}
}

// TestImplausible gives records a good checksum and fields that cannot be.
func TestImplausible(t *testing.T) {
	head := newFile().data
	end := int64(len(head))
	for name, data := range map[string][]byte{
		"synced past itself": Append(bytes.Clone(head), testID, end, KindData, end+1, nil),
		"a second header":    Append(bytes.Clone(head), testID, end, KindHeader, 0, nil),
		"kind 0":             Append(bytes.Clone(head), testID, end, 0, 0, nil),
		"kind 4":             Append(bytes.Clone(head), testID, end, kindEnd, 0, nil),
		"a mark that says":   Append(bytes.Clone(head), testID, end, KindMark, 0, []byte("something")),
	} {
		if _, off, err := read(data); err != ErrTorn || off != end {
			t.Errorf("%s: %v at %d", name, err, off)
		}
	}
	if _, _, err := read(Append(nil, testID, 0, KindData, 0, nil)); err != ErrTorn {
		t.Errorf("no header: %v", err)
	}
	other := AppendFileHeader(nil, base.Identity{DB: 1, Type: base.FileTypeLog, Num: 1}, base.FormatNewest, nil)
	if _, _, err := read(Append(nil, testID, 0, KindHeader, 0, other[HeaderSize:])); !errors.Is(err, base.ErrCorruption) {
		t.Errorf("a header of another file with the checksum of this one: %v", err)
	}
}

// TestProofAnywhere puts the proof of damage at every place relative to the
// chunks in which the reader looks for it.
func TestProofAnywhere(t *testing.T) {
	for _, n := range []int{0, windowSize - 3*HeaderSize} {
		for shift := range 2 * HeaderSize {
			f := newFile()
			f.add(string(make([]byte, n+shift)))
			bad := f.starts[1]
			f.mark()
			f.data[bad] ^= 1
			if _, off, err := read(f.data); !errors.Is(err, base.ErrCorruption) || off != bad {
				t.Fatalf("a record of %d bytes before the proof: %v at %d", n+shift, err, off)
			}
		}
	}
}

func TestFormatTooNew(t *testing.T) {
	data := AppendFileHeader(nil, testID, base.FormatNewest+1, nil)
	if _, _, err := read(data); !errors.Is(err, base.ErrFormatTooNew) {
		t.Fatal(err)
	}
	if _, _, err := read(AppendFileHeader(nil, testID, 0, nil)); !errors.Is(err, base.ErrCorruption) {
		t.Fatal(err)
	}
	if _, _, err := read(Append(nil, testID, 0, KindHeader, 0, []byte("short"))); !errors.Is(err, base.ErrCorruption) {
		t.Fatal(err)
	}
}

// faultyReader fails, or ends early, at an offset.
type faultyReader struct {
	data []byte
	at   int64
	err  error
}

func (r faultyReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > r.at {
		return copy(p, r.data[min(off, r.at):r.at]), r.err
	}
	return copy(p, r.data[off:]), nil
}

func TestReadErrors(t *testing.T) {
	f := threeRecords()
	failed := errors.New("bad sector")
	r := NewReader(faultyReader{f.data, 20, failed}, int64(len(f.data)), testID)
	if _, _, err := r.Next(); err != failed {
		t.Fatalf("got %v", err)
	}
	r = NewReader(faultyReader{f.data, 20, io.EOF}, int64(len(f.data)), testID)
	if _, _, err := r.Next(); !errors.Is(err, base.ErrCorruption) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("a file that is shorter than its size: %v", err)
	}
}

// TestHostileTail puts a tail of headers behind a bad record that all claim to
// be the proof of damage, each with a long payload. The work is bounded.
func TestHostileTail(t *testing.T) {
	f := threeRecords()
	bad := int64(len(f.data))
	f.data = append(f.data, bytes.Repeat([]byte{0xff}, HeaderSize)...)
	const tail = 1 << 20
	size := len(f.data) + tail
	for len(f.data)+HeaderSize <= size {
		off := len(f.data)
		h := Append(nil, testID, 1, KindData, bad+1, nil)
		left := size - off - HeaderSize
		binary.LittleEndian.PutUint32(h[lengthOffset:], uint32(left))
		f.data = append(f.data, h...)
	}
	_, off, err := read(f.data)
	if !errors.Is(err, base.ErrCorruption) || off != bad {
		t.Fatalf("%v at %d", err, off)
	}
}

// zeros is a file of zeros but for its beginning.
type zeros []byte

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(z)) {
		copy(p, z[off:])
	}
	return len(p), nil
}

// TestLengthBeforeMemory checks that the reader does not allocate what a damaged header
// claims, whether the file is shorter or not.
func TestLengthBeforeMemory(t *testing.T) {
	const claimed = 16 << 20
	h := Append(nil, testID, 0, KindHeader, 0, nil)
	binary.LittleEndian.PutUint32(h[lengthOffset:], claimed)
	for _, size := range []int64{HeaderSize, HeaderSize + claimed - 1, HeaderSize + claimed} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, _, err := NewReader(zeros(h), size, testID).Next(); err != ErrTorn {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
			t.Fatalf("%d bytes allocated", n)
		}
	}
}

func FuzzReader(f *testing.F) {
	three := threeRecords()
	f.Add(three.data, uint16(0))
	three.mark()
	f.Add(three.data, uint16(40))
	f.Add([]byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, durable uint16) {
		r := NewReader(bytes.NewReader(data), int64(len(data)), testID)
		r.KnowDurable(int64(durable))
		var sum, at int64
		for {
			p, off, err := r.Next()
			if off != at {
				t.Fatalf("record at %d, want %d", off, at)
			}
			if err != nil {
				if err != io.EOF && err != ErrTorn && !errors.Is(err, base.ErrCorruption) {
					t.Fatal(err)
				}
				if err != nil && !errors.Is(err, base.ErrCorruption) && at < int64(durable) {
					t.Fatalf("%v at %d, but %d bytes were durable", err, at, durable)
				}
				break
			}
			// What was read is what Append writes.
			if again := Append(nil, testID, off, r.Kind(), int64(decodeHeader(data[off:]).synced), p); !bytes.HasPrefix(data[off:], again) {
				t.Fatalf("record at %d is not what Append makes of it", off)
			}
			at += Size(len(p))
			sum += int64(len(p))
		}
		if sum > int64(len(data)) {
			t.Fatalf("%d payload bytes from %d", sum, len(data))
		}
	})
}
