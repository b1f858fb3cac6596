package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb/internal/base"
)

// sampleEdit has every field.
func sampleEdit() *Edit {
	num := base.FileNum(1234567)
	f := table(50, 51, "smallest", "smallest\xff\x00", 100, 1<<40, ValueRef{9, 100, 2}, ValueRef{300, 1 << 33, 5})
	f.Keyspace = 77
	f.Ranges, f.LargestBound = 3, base.BoundExclusive
	f.Expiring, f.MinExpiry, f.MaxExpiry = 2, 1<<40, 1<<41
	f.OneSeq = 1 << 39
	return &Edit{
		LogNum: &num, NextFile: 99, LastSeq: 1 << 50,
		AddValues: []ValueMeta{{Num: 300, Size: 1 << 34, Bytes: 1 << 33, Count: 5}, {Num: 9, Size: 1, Bytes: 1, Count: 1}},
		Remove:    []OldFile{{0, 3}, {6, 1 << 40}},
		Add:       []NewFile{{0, f}, {6, table(1, 2, "", "", 0, 0)}},
	}
}

// mustDecode takes the part of testing.TB that a rapid.T has too.
func mustDecode(t interface{ Fatal(...any) }, p []byte) *Edit {
	e, err := DecodeEdit(p)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// sameEdit compares edits by their encoding, which says everything.
func sameEdit(a, b *Edit) bool { return bytes.Equal(AppendEdit(nil, a), AppendEdit(nil, b)) }

func TestEditRoundTrip(t *testing.T) {
	want := sampleEdit()
	got := mustDecode(t, AppendEdit(nil, want))
	want.Add[1].Meta.Smallest, want.Add[1].Meta.Largest = nil, nil // no bytes decode to nil
	got.Add[1].Meta.Smallest, got.Add[1].Meta.Largest = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %s\nwant %s", got, want)
	}
	if e := mustDecode(t, nil); !reflect.DeepEqual(e, &Edit{}) {
		t.Fatalf("an empty edit: %s", e)
	}
	rapid.Check(t, func(t *rapid.T) {
		e := &Edit{NextFile: base.FileNum(rapid.Uint64Range(0, fileNumMax).Draw(t, "next"))}
		for range rapid.IntRange(0, 4).Draw(t, "tables") {
			f := &FileMeta{
				Num: base.FileNum(rapid.Uint64Range(0, fileNumMax).Draw(t, "num")), Size: rapid.Uint64().Draw(t, "size"),
				Keyspace: rapid.Uint32().Draw(t, "keyspace"), Location: Location(rapid.Byte().Draw(t, "location")),
				Format: base.FormatVersion(rapid.Uint32().Draw(t, "format")), Run: rapid.Uint64().Draw(t, "run"),
				Smallest:    rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "smallest"),
				Largest:     rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "largest"),
				SmallestSeq: base.SeqNum(rapid.Uint64Range(0, uint64(base.SeqNumMax)).Draw(t, "seq")),
				Entries:     rapid.Uint64().Draw(t, "entries"), Deletes: rapid.Uint64().Draw(t, "deletes"),
				RawKeyBytes: rapid.Uint64().Draw(t, "keys"), RawValueBytes: rapid.Uint64().Draw(t, "values"),
				Ranges: rapid.Uint64Range(0, 2).Draw(t, "ranges"), LargestBound: base.Bound(rapid.IntRange(0, 2).Draw(t, "bound")),
				Expiring: rapid.Uint64Range(0, 2).Draw(t, "expiring"), MinExpiry: rapid.Uint64().Draw(t, "min"), MaxExpiry: rapid.Uint64().Draw(t, "max"),
				OneSeq: base.SeqNum(rapid.Uint64Range(0, 2).Draw(t, "one")),
			}
			for range rapid.IntRange(0, 3).Draw(t, "refs") {
				f.ValueRefs = append(f.ValueRefs, ValueRef{base.FileNum(rapid.Uint64Range(0, fileNumMax).Draw(t, "file")), rapid.Uint64().Draw(t, "bytes"), rapid.Uint64().Draw(t, "count")})
			}
			e.Add = append(e.Add, NewFile{rapid.IntRange(0, base.NumLevels-1).Draw(t, "level"), f})
		}
		if got := mustDecode(t, AppendEdit(nil, e)); !reflect.DeepEqual(got, e) {
			t.Fatalf("got %s\nwant %s", got, e)
		}
	})
}

// TestFieldsOfTheFuture: a field that this version does not know is skipped or
// refused, as its tag says, at both levels.
func TestFieldsOfTheFuture(t *testing.T) {
	e := sampleEdit()
	p := appendField(AppendEdit(nil, e), 101, []byte("what later versions may say"))
	if got := mustDecode(t, appendField(p, 1, nil)); !sameEdit(got, e) {
		t.Fatalf("got %s", got)
	}
	if _, err := DecodeEdit(appendField(p, 102, nil)); !errors.Is(err, base.ErrFormatTooNew) {
		t.Fatal(err)
	}
	body := appendTable(nil, e.Add[0])
	p = appendField(nil, tagAddTable, appendField(body, 33, []byte("more about the table")))
	if got := mustDecode(t, p); !sameEdit(got, &Edit{Add: e.Add[:1]}) {
		t.Fatalf("got %s", got)
	}
	p = appendField(nil, tagAddTable, appendField(body, 34, nil))
	if _, err := DecodeEdit(p); !errors.Is(err, base.ErrFormatTooNew) {
		t.Fatal(err)
	}
}

// TestOldPrograms: a table without ranges and expiries is described as ever, and
// one with them by fields that older versions refuse.
func TestOldPrograms(t *testing.T) {
	plain := table(1, 1, "a", "b", 1, 2)
	body := appendTable(nil, NewFile{1, plain})
	if n := len(body); body[n-1] != 0 { // the count of value references
		t.Errorf("%x has a field at its end", body)
	}
	for tag, f := range map[uint64]FileMeta{tagRanges: {Ranges: 1}, tagExpiry: {Expiring: 1}, tagOneSeq: {OneSeq: 1}} {
		with := *plain
		with.Ranges, with.Expiring, with.OneSeq = f.Ranges, f.Expiring, f.OneSeq
		got := appendTable(nil, NewFile{1, &with})
		if !bytes.HasPrefix(got, body) || uint64(got[len(body)]) != tag || mayBeSkipped(tag) {
			t.Errorf("tag %d: %x after %x", tag, got, body)
		}
	}
}

func TestBadEdits(t *testing.T) {
	field := func(tag uint64, values ...uint64) []byte {
		var body []byte
		for _, v := range values {
			body = binary.AppendUvarint(body, v)
		}
		return appendField(nil, tag, body)
	}
	table := appendTable(nil, NewFile{1, table(1, 1, "a", "b", 1, 2)})
	for name, p := range map[string][]byte{
		"tag 0":                 field(0),
		"a field twice":         append(field(tagNextFile, 1), field(tagNextFile, 1)...),
		"a number too many":     field(tagNextFile, 1, 2),
		"no number":             field(tagNextFile),
		"a number too long":     append([]byte{tagNextFile, 11}, bytes.Repeat([]byte{0xff}, 11)...),
		"file number too large": field(tagNextFile, fileNumMax+1),
		"sequence too large":    field(tagLastSeq, 1<<56),
		"level too large":       field(tagRemoveTable, 7, 1),
		"length past the end":   {tagNextFile, 2, 1},
		"half a table":          appendField(nil, tagAddTable, table[:len(table)-1]),
		"a key that is long":    appendField(nil, tagAddTable, append([]byte{1, 1, 1, 0, 0, 1, 1}, 0x81, 0x80, 0x04)),
		"many references":       appendField(nil, tagAddTable, append(table[:len(table)-1:len(table)-1], 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)),
		"half a field":          appendField(nil, tagAddTable, append(bytes.Clone(table), 3, 9)),
		"tag 0 in a table":      appendField(nil, tagAddTable, append(bytes.Clone(table), 0, 0)),
		"an unknown bound":      appendField(nil, tagAddTable, append(bytes.Clone(table), field(tagRanges, 1, 3)...)),
		"ranges twice":          appendField(nil, tagAddTable, append(bytes.Clone(table), append(field(tagRanges, 1, 1), field(tagRanges, 1, 1)...)...)),
		"more than ranges":      appendField(nil, tagAddTable, append(bytes.Clone(table), field(tagRanges, 1, 1, 1)...)),
		"half of ranges":        appendField(nil, tagAddTable, append(bytes.Clone(table), field(tagRanges, 1)...)),
		"half an expiry":        appendField(nil, tagAddTable, append(bytes.Clone(table), field(tagExpiry, 1, 2)...)),
	} {
		e, err := DecodeEdit(p)
		var c *base.CorruptionError
		if !errors.As(err, &c) || c.Offset < 0 || c.Offset > int64(len(p)) {
			t.Errorf("%s: %s, %v", name, e, err)
		}
	}
}

// checkEdit decodes bytes that may be anything.
func checkEdit(t *testing.T, p []byte) {
	t.Helper()
	e, err := DecodeEdit(p)
	if err != nil {
		if !errors.Is(err, base.ErrCorruption) && !errors.Is(err, base.ErrFormatTooNew) {
			t.Fatal(err)
		}
		return
	}
	if again := mustDecode(t, AppendEdit(nil, e)); !sameEdit(e, again) {
		t.Fatalf("%s became %s", e, again)
	}
	if v, err := (&Version{}).Apply(e); err == nil {
		if err := v.Check(); err != nil {
			t.Fatalf("%s was applied: %v", e, err)
		}
	}
}

func TestDamagedEdits(t *testing.T) {
	good := AppendEdit(nil, sampleEdit())
	for bit := range len(good) * 8 {
		p := bytes.Clone(good)
		p[bit/8] ^= 1 << (bit % 8)
		checkEdit(t, p)
	}
	for n := range good {
		checkEdit(t, good[:n])
	}
	rng := rand.New(rand.NewPCG(1, 3))
	for range 5000 {
		p := bytes.Clone(good)
		for range 1 + rng.IntN(6) {
			p[rng.IntN(len(p))] = byte(rng.Uint32())
		}
		checkEdit(t, p)
	}
}

func FuzzDecodeEdit(f *testing.F) {
	f.Add(AppendEdit(nil, sampleEdit()))
	f.Add(AppendEdit(nil, flushEdit(0)))
	f.Add([]byte{})
	f.Fuzz(checkEdit)
}

func TestCurrentRoundTrip(t *testing.T) {
	v1 := current{format: base.FormatV1, db: 0x123456789abcdef, manifest: 1234567, synced: 1 << 40}
	checkCurrent(t, v1, "seerdb\nformat 1\ndatabase 0123456789abcdef\nmanifest MANIFEST-1234567\nsynced 1099511627776\nchecksum ")
	v2 := v1
	v2.format, v2.incarnation = base.FormatV2, 0xfedcba987654321
	checkCurrent(t, v2, "seerdb\nformat 2\ndatabase 0123456789abcdef\nincarnation 0fedcba987654321\nmanifest MANIFEST-1234567\nsynced 1099511627776\nchecksum ")
	v2.closed = []ClosedLog{{Num: 17, Size: 1234}, {Num: 1234567}}
	checkCurrent(t, v2, "seerdb\nformat 2\ndatabase 0123456789abcdef\nincarnation 0fedcba987654321\nmanifest MANIFEST-1234567\nsynced 1099511627776\nclosed 000017.wal 1234\nclosed 1234567.wal 0\nchecksum ")
}

// checkCurrent encodes and decodes a CURRENT that begins with want, and damages
// it in every place.
func checkCurrent(t *testing.T, c current, want string) {
	t.Helper()
	text := c.encode()
	if got, err := parseCurrent(text); err != nil || !reflect.DeepEqual(got, c) {
		t.Fatalf("%+v, %v", got, err)
	}
	if !bytes.HasPrefix(text, []byte(want)) || len(text) != len(want)+9 {
		t.Fatalf("%q", text)
	}
	for bit := range len(text) * 8 {
		p := bytes.Clone(text)
		p[bit/8] ^= 1 << (bit % 8)
		if got, err := parseCurrent(p); !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("bit %d: %+v, %v", bit, got, err)
		}
	}
	for n := range text {
		if _, err := parseCurrent(text[:n]); !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	for _, more := range []string{"\n", " ", "x"} {
		if _, err := parseCurrent(append(bytes.Clone(text), more...)); !errors.Is(err, base.ErrCorruption) {
			t.Fatalf("followed by %q: %v", more, err)
		}
	}
	c.format = base.FormatNewest + 1
	if _, err := parseCurrent(c.encode()); !errors.Is(err, base.ErrFormatTooNew) {
		t.Fatal(err)
	}
	c.format = 0
	if _, err := parseCurrent(c.encode()); !errors.Is(err, base.ErrCorruption) {
		t.Fatal(err)
	}
}

func FuzzParseCurrent(f *testing.F) {
	c := current{format: base.FormatV1, db: 1, manifest: 2, synced: 3}
	f.Add(c.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		c, err := parseCurrent(p)
		if err != nil && !errors.Is(err, base.ErrCorruption) && !errors.Is(err, base.ErrFormatTooNew) {
			t.Fatal(err)
		}
		if err == nil && !bytes.Equal(c.encode(), p) {
			t.Fatalf("%q is taken for %q", p, c.encode())
		}
	})
}
