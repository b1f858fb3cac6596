package manifest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// An edit is a sequence of fields, in any order:
//
//	+-------------+----------------+--------------+
//	| tag uvarint | length uvarint | length bytes | ...
//	+-------------+----------------+--------------+
//
// A reader that meets an unknown tag skips the field if the tag is odd, and
// refuses the manifest if it is even. So a developer who adds a field decides
// by its tag whether older programs may ignore it. The same holds for the
// fields at the end of a table's description.
const (
	tagLogNum      = 2  // uvarint
	tagNextFile    = 4  // uvarint
	tagLastSeq     = 6  // uvarint
	tagAddTable    = 8  // see appendTable
	tagRemoveTable = 10 // uvarints: level, number
	tagAddValues   = 12 // uvarints: number, size, bytes, count
	tagSetKeyspace = 14 // see appendKeyspace
	tagDropSpace   = 16 // uvarint
	tagNextSpace   = 18 // uvarint
	tagClock       = 20 // uvarint
	tagLogOpening  = 22 // uvarint
	tagFirstFile   = 24 // uvarint
)

// counters are the tags of fields that an edit has at most once.
var counters = []uint64{tagLogNum, tagNextFile, tagLastSeq, tagNextSpace, tagClock, tagLogOpening, tagFirstFile}

// Fields at the end of a table's description, present unless they are all zero.
// They are even, because a program that ignored them would fail: without range
// tombstones it would find what they delete; without expiries it would write
// wrong ones; without the one sequence it would take new values for the oldest;
// without incarnations it could verify no checksum; and without packs it would
// look for files that do not exist.
const (
	tagRanges  = 2  // uvarints: fragments, bound
	tagExpiry  = 4  // uvarints: entries, earliest, latest
	tagOneSeq  = 6  // uvarint
	tagOpening = 8  // uvarint
	tagPack    = 10 // uvarints: file, its size, offset
)

// tagValuesOpening is such a field, at the end of a value file's description.
const tagValuesOpening = 2 // uvarint

func mayBeSkipped(tag uint64) bool { return tag&1 == 1 }

// fileNumMax is far above any number in use, with room for arithmetic.
const fileNumMax = 1 << 62

// AppendEdit appends the encoding of e.
func AppendEdit(dst []byte, e *Edit) []byte {
	var body []byte
	field := func(tag uint64, values ...uint64) {
		body = body[:0]
		for _, v := range values {
			body = binary.AppendUvarint(body, v)
		}
		dst = appendField(dst, tag, body)
	}
	if e.LogNum != nil {
		field(tagLogNum, uint64(*e.LogNum))
	}
	if e.NextFile != 0 {
		field(tagNextFile, uint64(e.NextFile))
	}
	if e.LastSeq != 0 {
		field(tagLastSeq, uint64(e.LastSeq))
	}
	if e.LogIncarnation != 0 {
		field(tagLogOpening, e.LogIncarnation)
	}
	if e.FirstFile != 0 {
		field(tagFirstFile, uint64(e.FirstFile))
	}
	if e.NextKeyspace != 0 {
		field(tagNextSpace, uint64(e.NextKeyspace))
	}
	if e.Clock != 0 {
		field(tagClock, e.Clock)
	}
	for _, id := range e.DropKeyspaces {
		field(tagDropSpace, uint64(id))
	}
	for _, k := range e.SetKeyspaces {
		dst = appendField(dst, tagSetKeyspace, appendKeyspace(body[:0], k))
	}
	for _, m := range e.AddValues {
		dst = appendField(dst, tagAddValues, appendValues(body[:0], m))
	}
	for _, o := range e.Remove {
		field(tagRemoveTable, uint64(o.Level), uint64(o.Num))
	}
	for _, n := range e.Add {
		body = appendTable(body[:0], n)
		dst = appendField(dst, tagAddTable, body)
	}
	return dst
}

func appendField(dst []byte, tag uint64, body []byte) []byte {
	dst = binary.AppendUvarint(dst, tag)
	dst = binary.AppendUvarint(dst, uint64(len(body)))
	return append(dst, body...)
}

// appendValues appends a value file's description, without the end of its
// fields.
func appendValues(dst []byte, m ValueMeta) []byte {
	for _, v := range []uint64{uint64(m.Num), m.Size, m.Bytes, m.Count} {
		dst = binary.AppendUvarint(dst, v)
	}
	if m.Incarnation != 0 {
		dst = appendField(dst, tagValuesOpening, binary.AppendUvarint(nil, m.Incarnation))
	}
	return dst
}

// appendTable appends a table's description: uvarints, and for keys a length
// and bytes, without the end of its fields.
func appendTable(dst []byte, n NewFile) []byte {
	u := func(v uint64) { dst = binary.AppendUvarint(dst, v) }
	key := func(k []byte) { u(uint64(len(k))); dst = append(dst, k...) }
	f := n.Meta
	u(uint64(n.Level))
	u(uint64(f.Num))
	u(f.Size)
	u(uint64(f.Keyspace))
	u(uint64(f.Location))
	u(uint64(f.Format))
	u(f.Run)
	key(f.Smallest)
	key(f.Largest)
	u(uint64(f.SmallestSeq))
	u(uint64(f.LargestSeq))
	u(f.Entries)
	u(f.Deletes)
	u(f.RawKeyBytes)
	u(f.RawValueBytes)
	u(uint64(len(f.ValueRefs)))
	for _, r := range f.ValueRefs {
		u(uint64(r.File))
		u(r.Bytes)
		u(r.Count)
	}
	field := func(tag uint64, values ...uint64) {
		if slices.Max(values) == 0 {
			return
		}
		var b [3 * binary.MaxVarintLen64]byte
		body := b[:0]
		for _, v := range values {
			body = binary.AppendUvarint(body, v)
		}
		dst = appendField(dst, tag, body)
	}
	field(tagRanges, f.Ranges, uint64(f.LargestBound))
	field(tagExpiry, f.Expiring, f.MinExpiry, f.MaxExpiry)
	field(tagOneSeq, uint64(f.OneSeq))
	field(tagOpening, f.Incarnation)
	field(tagPack, uint64(f.Pack), f.PackSize, f.Offset)
	return dst
}

// appendKeyspace appends a keyspace: its number and two strings, each a length
// and bytes.
func appendKeyspace(dst []byte, k Keyspace) []byte {
	dst = binary.AppendUvarint(dst, uint64(k.ID))
	for _, s := range []string{k.Name, k.Merger} {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	return dst
}

// DecodeEdit is the inverse of AppendEdit. It copies what it needs of p. Bytes
// that AppendEdit never writes are a *base.CorruptionError with the offset in p
// and no file name; a field of a later version is base.ErrFormatTooNew.
func DecodeEdit(p []byte) (*Edit, error) {
	d := decoder{p: p}
	e := &Edit{}
	seen := uint64(0)
	for d.more() {
		tag, body := d.field()
		if d.err != nil {
			break
		}
		if slices.Contains(counters, tag) {
			if seen&(1<<tag) != 0 {
				d.fail("field %d occurs twice", tag)
				break
			}
			seen |= 1 << tag
		}
		e.decodeField(tag, &body)
		d.err = body.end(tag)
	}
	if d.err != nil {
		return nil, d.err
	}
	return e, nil
}

func (e *Edit) decodeField(tag uint64, d *decoder) {
	switch tag {
	case tagLogNum:
		num := d.fileNum()
		e.LogNum = &num
	case tagNextFile:
		e.NextFile = d.fileNum()
	case tagLastSeq:
		e.LastSeq = d.seq()
	case tagLogOpening:
		e.LogIncarnation = d.uvarint()
	case tagFirstFile:
		e.FirstFile = d.fileNum()
	case tagNextSpace:
		e.NextKeyspace = d.keyspaceID()
	case tagClock:
		e.Clock = d.clock()
	case tagDropSpace:
		e.DropKeyspaces = append(e.DropKeyspaces, d.keyspaceID())
	case tagSetKeyspace:
		e.SetKeyspaces = append(e.SetKeyspaces, d.keyspace())
	case tagAddValues:
		e.AddValues = append(e.AddValues, d.values())
	case tagRemoveTable:
		e.Remove = append(e.Remove, OldFile{Level: d.level(), Num: d.fileNum()})
	case tagAddTable:
		e.Add = append(e.Add, d.table())
	default:
		d.unknown(tag)
	}
}

// decoder reads the parts of an edit. After its first error it returns zeros.
type decoder struct {
	p    []byte
	pos  int
	base int // offset of p in the edit
	err  error
}

func (d *decoder) more() bool { return d.err == nil && d.pos < len(d.p) }

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = base.Corruptf("", int64(d.base+d.pos), "edit: "+format, args...)
	}
	d.pos = len(d.p)
}

// end checks that the body of a field ends here.
func (d *decoder) end(tag uint64) error {
	if d.more() {
		d.fail("%d bytes after field %d", len(d.p)-d.pos, tag)
	}
	return d.err
}

// unknown skips a field of a later version if its tag is odd, and refuses an
// even one.
func (d *decoder) unknown(tag uint64) {
	switch {
	case tag == 0:
		d.fail("field with tag 0")
	case !mayBeSkipped(tag):
		d.err = fmt.Errorf("%w: the manifest has field %d, which this version does not know", base.ErrFormatTooNew, tag)
	}
	d.pos = len(d.p)
}

// field reads a tag, and returns it with a decoder of the field's body.
func (d *decoder) field() (tag uint64, body decoder) {
	tag = d.uvarint()
	n := d.uvarint()
	if n > uint64(len(d.p)-d.pos) {
		d.fail("field %d has length %d, past the end of the edit", tag, n)
		return tag, body
	}
	body = decoder{p: d.p[d.pos : d.pos+int(n)], base: d.base + d.pos}
	d.pos += int(n)
	return tag, body
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.p[d.pos:])
	if n <= 0 {
		d.fail("expected a uvarint")
		return 0
	}
	d.pos += n
	return v
}

// limited reads a number, at most limit.
func (d *decoder) limited(limit uint64, what string) uint64 {
	v := d.uvarint()
	if v > limit {
		d.fail("%s is %d, the limit is %d", what, v, limit)
		return 0
	}
	return v
}

func (d *decoder) fileNum() base.FileNum {
	return base.FileNum(d.limited(fileNumMax, "file number"))
}

func (d *decoder) seq() base.SeqNum {
	return base.SeqNum(d.limited(uint64(base.SeqNumMax), "sequence"))
}

func (d *decoder) level() int { return int(d.limited(base.NumLevels-1, "level")) }

func (d *decoder) key() []byte { return d.bytes(base.MaxKeySize, "key") }

// bytes reads a length, at most limit, and that many bytes.
func (d *decoder) bytes(limit uint64, what string) []byte {
	n := int(d.limited(limit, "length of a "+what))
	if n > len(d.p)-d.pos {
		d.fail("%s of %d bytes is too long", what, n)
		return nil
	}
	b := bytes.Clone(d.p[d.pos : d.pos+n])
	d.pos += n
	return b
}

func (d *decoder) values() ValueMeta {
	m := ValueMeta{Num: d.fileNum(), Size: d.uvarint(), Bytes: d.uvarint(), Count: d.uvarint()}
	d.fields("value file", []uint64{tagValuesOpening}, func(tag uint64, body *decoder) bool {
		if tag == tagValuesOpening {
			m.Incarnation = body.uvarint()
		}
		return tag == tagValuesOpening
	})
	return m
}

func (d *decoder) table() NewFile {
	f := &FileMeta{}
	n := NewFile{Level: d.level(), Meta: f}
	f.Num = d.fileNum()
	f.Size = d.uvarint()
	f.Keyspace = uint32(d.limited(1<<32-1, "keyspace"))
	f.Location = Location(d.limited(1<<8-1, "location"))
	f.Format = base.FormatVersion(d.limited(1<<32-1, "format"))
	f.Run = d.uvarint()
	f.Smallest = d.key()
	f.Largest = d.key()
	f.SmallestSeq = d.seq()
	f.LargestSeq = d.seq()
	f.Entries = d.uvarint()
	f.Deletes = d.uvarint()
	f.RawKeyBytes = d.uvarint()
	f.RawValueBytes = d.uvarint()
	// A reference takes at least three bytes.
	if refs := d.limited(uint64(len(d.p)-d.pos)/3+1, "count of value references"); refs > 0 {
		f.ValueRefs = make([]ValueRef, refs)
		for i := range f.ValueRefs {
			f.ValueRefs[i] = ValueRef{File: d.fileNum(), Bytes: d.uvarint(), Count: d.uvarint()}
		}
	}
	d.tableFields(f)
	return n
}

// tableFields reads the fields at the end of a table's description.
func (d *decoder) tableFields(f *FileMeta) {
	known := []uint64{tagRanges, tagExpiry, tagOneSeq, tagOpening, tagPack}
	d.fields("table", known, func(tag uint64, body *decoder) bool {
		switch tag {
		case tagRanges:
			f.Ranges = body.uvarint()
			f.LargestBound = base.Bound(body.limited(uint64(base.BoundNone), "bound"))
		case tagExpiry:
			f.Expiring, f.MinExpiry, f.MaxExpiry = body.uvarint(), body.uvarint(), body.uvarint()
		case tagOneSeq:
			f.OneSeq = body.seq()
		case tagOpening:
			f.Incarnation = body.uvarint()
		case tagPack:
			f.Pack, f.PackSize, f.Offset = body.fileNum(), body.uvarint(), body.uvarint()
		default:
			return false
		}
		return true
	})
}

func (d *decoder) keyspace() Keyspace {
	k := Keyspace{ID: d.keyspaceID()}
	k.Name = string(d.bytes(MaxKeyspaceName, "name"))
	k.Merger = string(d.bytes(MaxKeyspaceName, "name of a merge operator"))
	return k
}

func (d *decoder) keyspaceID() uint32 { return uint32(d.limited(maxKeyspace+1, "keyspace")) }

// clock reads a time in Unix milliseconds.
func (d *decoder) clock() uint64 { return d.limited(uint64(base.SeqNumMax), "time") }

// fields passes each field at the end of a description to fn, which returns
// whether it knows the tag. Tags in once may occur only once.
func (d *decoder) fields(what string, once []uint64, fn func(tag uint64, body *decoder) bool) {
	seen := uint64(0)
	for d.more() {
		tag, body := d.field()
		if d.err != nil {
			return
		}
		if slices.Contains(once, tag) {
			if seen&(1<<tag) != 0 {
				d.fail("field %d occurs twice in a %s", tag, what)
				return
			}
			seen |= 1 << tag
		}
		if !fn(tag, &body) {
			body.unknown(tag)
		}
		d.err = body.end(tag)
	}
}
