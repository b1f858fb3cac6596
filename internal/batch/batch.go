// Package batch encodes the list of operations that one commit carries. A batch
// is encoded once, while the caller builds it; the same bytes are the log's
// payload and what recovery replays.
//
//	 0        8        12         16
//	+--------+--------+----------+-----------+-----------+--
//	| seq    | count  | flags    | operation | operation | ...
//	| u64 LE | u32 LE | u32 LE=0 |           |           |
//	+--------+--------+----------+-----------+-----------+--
//
//	operation:
//	+---------+-------------------+--------------+-----+----------------+-------+
//	| kind u8 | keyspace uvarint  | klen uvarint | key | [vlen uvarint] | value |
//	+---------+-------------------+--------------+-----+----------------+-------+
//
// Kinds without a value have no value part. Operation i of a batch has sequence
// seq+i (I1). Flags are reserved: decoders refuse those they do not know. The
// batch has no checksum of its own; the log's record framing has one.
package batch

import (
	"encoding/binary"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	// HeaderSize is the length of the header, which the first operation follows.
	HeaderSize = 16

	seqOffset   = 0
	countOffset = 8
	flagsOffset = 12

	// opOverheadMax bounds what an operation takes besides key and value: kind,
	// keyspace (5), key length (3 up to 64 KiB, 5 to be safe), value length (5).
	opOverheadMax = 1 + 3*binary.MaxVarintLen32

	// bufferMin is the size of the first allocation: a small operation and the
	// header fit without a second.
	bufferMin = 256
	// bufferKeep is the size of the largest buffer that Reset keeps, so that a
	// pooled batch does not pin the memory of one huge value for ever.
	bufferKeep = 1 << 20

	// TTLSize is the length of the expiry before the value of a PutTTL.
	TTLSize = 8
)

// Batch is a list of operations being built. The zero value is an empty batch.
// It is used by one goroutine at a time.
type Batch struct {
	// Data is the encoded batch, nil while it is empty. Callers only read it.
	Data []byte

	count   uint32
	kvBytes int
	ranges  uint32   // operations that are range deletes
	merges  uint32   // operations that are merges
	expires bool     // some operation has an expiry
	others  uint32   // operations on keyspaces other than 0
	spaces  []uint32 // these keyspaces, each once
	err     error    // the first operation that was refused; sticky until Reset
}

// Put sets key to value and copies both. If a limit of package base is
// exceeded, it leaves the operations unchanged and returns an error, which Err
// keeps.
func (b *Batch) Put(keyspace uint32, key, value []byte) error {
	return b.Add(base.KindPut, keyspace, key, value)
}

// Delete removes key.
func (b *Batch) Delete(keyspace uint32, key []byte) error {
	return b.Add(base.KindDelete, keyspace, key, nil)
}

// SingleDelete removes a key that was put at most once since it was last
// deleted.
func (b *Batch) SingleDelete(keyspace uint32, key []byte) error {
	return b.Add(base.KindSingleDelete, keyspace, key, nil)
}

// Merge adds an operand to key.
func (b *Batch) Merge(keyspace uint32, key, operand []byte) error {
	return b.Add(base.KindMerge, keyspace, key, operand)
}

// DeleteRange removes the keys in [lo, hi).
func (b *Batch) DeleteRange(keyspace uint32, lo, hi []byte) error {
	if len(hi) > base.MaxKeySize {
		return b.refuse(base.ErrKeyTooLarge)
	}
	return b.Add(base.KindRangeDelete, keyspace, lo, hi)
}

// PutTTL sets key to value until expiry, a time in the engine's unit. It stores
// expiry in 8 bytes before the value.
func (b *Batch) PutTTL(keyspace uint32, key, value []byte, expiry uint64) error {
	if len(value) > base.MaxValueSize-TTLSize {
		return b.refuse(base.ErrValueTooLarge)
	}
	buf, err := b.open(base.KindPutTTL, keyspace, key, TTLSize+len(value))
	if err != nil {
		return err
	}
	buf = binary.LittleEndian.AppendUint64(buf, expiry)
	b.close(append(buf, value...), len(key)+TTLSize+len(value))
	return nil
}

// Add appends an operation of any kind. Kinds without a value ignore value; the
// value of a PutTTL begins with its expiry, as in Op.Expiry.
func (b *Batch) Add(kind base.Kind, keyspace uint32, key, value []byte) error {
	switch {
	case !HasValue(kind):
		value = nil
	case !valueFits(kind, len(value)):
		return b.refuse(base.ErrValueTooLarge)
	}
	buf, err := b.open(kind, keyspace, key, len(value))
	if err != nil {
		return err
	}
	b.close(append(buf, value...), len(key)+len(value))
	return nil
}

// open checks the limits, makes room and writes an operation up to its value.
func (b *Batch) open(kind base.Kind, keyspace uint32, key []byte, valueLen int) ([]byte, error) {
	switch {
	case len(key) > base.MaxKeySize:
		return nil, b.refuse(base.ErrKeyTooLarge)
	case valueLen > base.MaxValueSize:
		return nil, b.refuse(base.ErrValueTooLarge)
	case b.err != nil:
		return nil, b.err
	}
	buf := b.Data
	need := opOverheadMax + len(key) + valueLen
	if cap(buf)-len(buf) < need || len(buf) == 0 {
		if need > base.MaxBatchSize-max(len(buf), HeaderSize) {
			return nil, b.refuse(base.ErrBatchTooLarge)
		}
		buf = grow(buf, need)
	}
	if kind >= base.KindMerge || keyspace != 0 {
		b.note(kind, keyspace)
	}
	buf = append(buf, byte(kind))
	buf = appendUvarint(buf, keyspace)
	buf = appendUvarint(buf, uint32(len(key)))
	buf = append(buf, key...)
	if HasValue(kind) {
		buf = appendUvarint(buf, uint32(valueLen))
	}
	return buf, nil
}

// note counts an operation that is not a plain one on the default keyspace, and
// adds its keyspace to the list, which is searched linearly: few batches write
// to several keyspaces.
func (b *Batch) note(kind base.Kind, keyspace uint32) {
	switch kind {
	case base.KindRangeDelete:
		b.ranges++
	case base.KindMerge:
		b.merges++
	case base.KindPutTTL:
		b.expires = true
	}
	if keyspace == 0 {
		return
	}
	b.others++
	if n := len(b.spaces); n == 0 || b.spaces[n-1] != keyspace && !slices.Contains(b.spaces, keyspace) {
		b.spaces = append(b.spaces, keyspace)
	}
}

// Keyspaces returns the keyspaces other than the default one that the batch
// writes to, each once. The slice belongs to the batch.
func (b *Batch) Keyspaces() []uint32 { return b.spaces }

// RangeDeletes returns the number of range deletes.
func (b *Batch) RangeDeletes() int { return int(b.ranges) }

// Merges returns the number of merges.
func (b *Batch) Merges() int { return int(b.merges) }

// Expires reports whether some operation has an expiry.
func (b *Batch) Expires() bool { return b.expires }

// Any reports whether fn returns true for a keyspace that the batch writes to.
func (b *Batch) Any(fn func(keyspace uint32) bool) bool {
	return b.count > b.others && fn(0) || slices.ContainsFunc(b.spaces, fn)
}

// close ends the operation that open began and makes it part of the batch.
func (b *Batch) close(buf []byte, kvBytes int) {
	b.Data = buf
	b.count++
	b.kvBytes += kvBytes
	binary.LittleEndian.PutUint32(buf[countOffset:], b.count)
}

// Refuse makes the batch refuse all further operations, and its commit, with
// err.
func (b *Batch) Refuse(err error) { _ = b.refuse(err) }

// refuse keeps the first error of an operation.
func (b *Batch) refuse(err error) error {
	if b.err == nil {
		b.err = err
	}
	return err
}

// Err returns the first error of an operation since the last Reset, or nil. A
// batch with an error must not be committed: an operation is missing from it,
// and the caller may have ignored the error.
func (b *Batch) Err() error { return b.err }

// grow returns buf with room for need more bytes, and a header.
func grow(buf []byte, need int) []byte {
	size := max(len(buf), HeaderSize)
	if cap(buf) < size+need {
		// Double, but never past MaxBatchSize, which fits an int on every
		// platform.
		want := max(bufferMin, size+need)
		if 2*uint64(cap(buf)) > uint64(want) {
			want = int(min(2*uint64(cap(buf)), base.MaxBatchSize))
		}
		next := make([]byte, len(buf), want)
		copy(next, buf)
		buf = next
	}
	if len(buf) == 0 {
		buf = buf[:HeaderSize]
		clear(buf)
	}
	return buf
}

// appendUvarint is binary.AppendUvarint, small enough to be inlined for lengths
// of one byte, which most are.
func appendUvarint(dst []byte, v uint32) []byte {
	if v < 0x80 {
		return append(dst, byte(v))
	}
	return binary.AppendUvarint(dst, uint64(v))
}

// SetSeq sets the sequence of the first operation. The batch must not be empty.
func (b *Batch) SetSeq(s base.SeqNum) {
	binary.LittleEndian.PutUint64(b.Data[seqOffset:], uint64(s))
}

// Seq returns the sequence of the first operation, or 0 before SetSeq.
func (b *Batch) Seq() base.SeqNum {
	if len(b.Data) == 0 {
		return 0
	}
	return base.SeqNum(binary.LittleEndian.Uint64(b.Data[seqOffset:]))
}

// Count returns the number of operations.
func (b *Batch) Count() int { return int(b.count) }

// Len returns the length of the encoded batch.
func (b *Batch) Len() int { return max(len(b.Data), HeaderSize) }

// KeyValueBytes returns the sum of the lengths of all keys and values. With
// Count it bounds what the batch takes in a memtable.
func (b *Batch) KeyValueBytes() int { return b.kvBytes }

// Empty reports whether the batch has no operations.
func (b *Batch) Empty() bool { return b.count == 0 }

// Reset empties the batch for reuse. It keeps the memory unless that is large.
func (b *Batch) Reset() {
	data := b.Data[:0]
	if cap(data) > bufferKeep {
		data = nil
	}
	*b = Batch{Data: data, spaces: b.spaces[:0]}
}

// Reader returns a reader of the operations added so far.
func (b *Batch) Reader() Reader {
	if b.count == 0 {
		return Reader{}
	}
	return Reader{rest: b.Data[HeaderSize:], size: len(b.Data), left: b.count, seq: b.Seq()}
}

// HasValue reports whether operations of a kind carry a value.
func HasValue(k base.Kind) bool {
	return k != base.KindDelete && k != base.KindSingleDelete
}

// Mark is a position in a batch, for Truncate and Rollback.
type Mark struct {
	state Batch
	size  int
}

// Mark returns the current end of the batch.
func (b *Batch) Mark() Mark { return Mark{*b, len(b.Data)} }

// Truncate removes the operations added since a mark. Later operations
// overwrite their bytes, so the caller must hold no slices of them.
func (b *Batch) Truncate(m Mark) {
	data := b.Data[:m.size]
	*b = m.state
	b.Data, b.spaces = data, slices.Clip(m.state.spaces)
	if m.size > 0 {
		binary.LittleEndian.PutUint32(b.Data[countOffset:], b.count)
	}
}

// Rollback removes the operations added since a mark. It does not let later
// operations overwrite their bytes, so slices of them stay valid.
func (b *Batch) Rollback(m Mark) {
	if len(b.Data) == m.size { // nothing was added, so nothing may be written over
		data := b.Data
		*b = m.state
		b.Data = data
		return
	}
	data := b.Data[:m.size:m.size]
	*b = m.state
	b.Data, b.spaces = data, slices.Clip(m.state.spaces)
	if m.size > 0 {
		b.Data = slices.Clone(data)
		binary.LittleEndian.PutUint32(b.Data[countOffset:], b.count)
	}
}
