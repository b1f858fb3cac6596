package batch

import (
	"encoding/binary"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Op is one operation. Its slices point into the batch.
type Op struct {
	Kind     base.Kind
	Keyspace uint32
	Key      []byte
	Value    []byte // nil for kinds that have none
}

// Expiry splits the value of a PutTTL into its expiry and the value proper. The
// reader has checked the length.
func (o *Op) Expiry() (expiry uint64, value []byte) {
	return binary.LittleEndian.Uint64(o.Value), o.Value[TTLSize:]
}

// Reader walks the operations of an encoded batch without allocating. It is a
// value: a copy continues independently.
type Reader struct {
	rest []byte
	size int // bytes of the whole batch, to name offsets
	left uint32
	seq  base.SeqNum
}

// Decode checks the header of an encoded batch. Next checks each operation,
// Check all of them. Errors are *base.CorruptionError with an offset inside
// data and no file name, which the caller adds.
func Decode(data []byte) (Reader, error) {
	if len(data) < HeaderSize {
		return Reader{}, base.Corruptf("", 0, "batch of %d bytes has no room for its header", len(data))
	}
	if f := binary.LittleEndian.Uint32(data[flagsOffset:]); f != 0 {
		return Reader{}, base.Corruptf("", flagsOffset, "batch has unknown flags %#x", f)
	}
	r := Reader{
		rest: data[HeaderSize:],
		size: len(data),
		left: binary.LittleEndian.Uint32(data[countOffset:]),
		seq:  base.SeqNum(binary.LittleEndian.Uint64(data[seqOffset:])),
	}
	if r.seq > base.SeqNumMax || uint64(r.left) > uint64(base.SeqNumMax-r.seq)+1 {
		return Reader{}, base.Corruptf("", seqOffset, "batch of %d operations at sequence %d runs past the largest sequence", r.left, r.seq)
	}
	// The shortest operation has 3 bytes. Refusing impossible counts here lets
	// callers allocate by the count.
	if uint64(r.left)*3 > uint64(len(r.rest)) {
		return Reader{}, base.Corruptf("", countOffset, "batch of %d bytes is too short for the %d operations of its header", len(data), r.left)
	}
	return r, nil
}

// Check decodes data to its end.
func Check(data []byte) error {
	r, err := Decode(data)
	for err == nil {
		var ok bool
		if _, ok, err = r.Next(); !ok {
			break
		}
	}
	return err
}

// Seq returns the sequence of the operation that Next will return.
func (r *Reader) Seq() base.SeqNum { return r.seq }

// Count returns the number of operations left.
func (r *Reader) Count() int { return int(r.left) }

// Next returns the next operation, or false at the end. Then err is nil if the
// batch ended after its last operation.
func (r *Reader) Next() (op Op, ok bool, err error) {
	if r.left == 0 {
		if len(r.rest) != 0 {
			return Op{}, false, r.damaged("%d bytes after the last operation", len(r.rest))
		}
		return Op{}, false, nil
	}
	p := r.rest
	if len(p) == 0 {
		return Op{}, false, r.damaged("%d operations are missing", r.left)
	}
	op.Kind = base.Kind(p[0])
	if op.Kind > base.KindPutTTL {
		return Op{}, false, r.damaged("unknown operation kind %d", uint8(op.Kind))
	}
	// Both numbers take one byte almost always; uvarint is too big to be
	// inlined.
	var n uint32
	var i int
	if len(p) >= 3 && p[1]|p[2] < 0x80 {
		op.Keyspace, n, i = uint32(p[1]), uint32(p[2]), 3
	} else {
		if op.Keyspace, i = uvarint(p, 1); i < 0 {
			return Op{}, false, r.damaged("bad keyspace")
		}
		n, i = uvarint(p, i)
	}
	if i < 0 || n > base.MaxKeySize || int64(n) > int64(len(p)-i) {
		return Op{}, false, r.damaged("bad key length")
	}
	end := i + int(n)
	op.Key, p = p[i:end:end], p[end:]
	if HasValue(op.Kind) {
		n, i := uvarint(p, 0)
		if i < 0 || n > base.MaxValueSize || int64(n) > int64(len(p)-i) {
			return Op{}, false, r.damaged("bad value length")
		}
		end := i + int(n)
		op.Value, p = p[i:end:end], p[end:]
		if !valueFits(op.Kind, len(op.Value)) {
			return Op{}, false, r.damaged("operation of kind %s has a value of %d bytes", op.Kind, len(op.Value))
		}
	}
	r.rest = p
	r.left--
	r.seq++
	return op, true, nil
}

// valueFits checks the length of values that have a form of their own.
func valueFits(k base.Kind, n int) bool {
	switch k {
	case base.KindPutTTL:
		return n >= TTLSize
	case base.KindRangeDelete:
		return n <= base.MaxKeySize
	}
	return true
}

func (r *Reader) damaged(format string, args ...any) error {
	return base.Corruptf("", int64(r.size-len(r.rest)), "batch: "+format, args...)
}

// uvarint reads an integer of at most 32 bits at p[i:] and returns the index
// after it, or -1.
func uvarint(p []byte, i int) (v uint32, end int) {
	if i < len(p) && p[i] < 0x80 {
		return uint32(p[i]), i + 1
	}
	x, n := binary.Uvarint(p[i:])
	if n <= 0 || x > 1<<32-1 {
		return 0, -1
	}
	return uint32(x), i + n
}

// OpAt decodes the operation at an offset of Data: the value of Len before the
// operation was added, or HeaderSize for the first.
func (b *Batch) OpAt(off int) (Op, error) {
	r := Reader{rest: b.Data[off:], size: len(b.Data), left: 1}
	op, ok, err := r.Next()
	if !ok && err == nil {
		err = r.damaged("no operation at this offset")
	}
	return op, err
}
