// Package batch is the encoded list of operations that one commit carries. A
// batch is encoded once, while the caller builds it, and those bytes are then
// the log's payload and what recovery replays: nothing is encoded twice.
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
// The value part is missing for the kinds that have no value. Operation i of a
// batch has sequence seq+i (invariant I1). Flags are reserved: a decoder
// refuses those it does not know. The bytes are not checksummed here; the
// log's record framing does that, and says where.
package batch

import (
	"encoding/binary"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	// HeaderSize is the bytes before the first operation.
	HeaderSize = 16

	seqOffset   = 0
	countOffset = 8
	flagsOffset = 12

	// opOverheadMax bounds what an operation takes besides key and value: kind,
	// keyspace (5), key length (3 up to 64 KiB, 5 to be safe), value length (5).
	opOverheadMax = 1 + 3*binary.MaxVarintLen32

	// bufferMin is the first allocation: one small operation and its header
	// without a second growth.
	bufferMin = 256
	// bufferKeep is the largest buffer that Reset keeps for reuse. A pooled
	// batch that once carried a huge value must not pin it for ever.
	bufferKeep = 1 << 20

	// TTLSize is the bytes of the expiry before the value of a PutTTL.
	TTLSize = 8
)

// Batch is a list of operations being built. The zero value is an empty batch.
// It is used by one goroutine at a time.
type Batch struct {
	// Data is the encoded batch, nil while it is empty. Others only read it.
	Data []byte

	count   uint32
	kvBytes int
	ranges  uint32   // operations that are range deletes
	merges  uint32   // operations that are merges
	expires bool     // some operation has an expiry
	others  uint32   // operations on keyspaces but 0
	spaces  []uint32 // these keyspaces, each once
	err     error    // the first operation that was refused; sticky until Reset
}

// Put sets key to value. Both are copied. An error (a limit of package base)
// leaves the operations unchanged, and is kept: see Err.
func (b *Batch) Put(keyspace uint32, key, value []byte) error {
	return b.Add(base.KindPut, keyspace, key, value)
}

// Delete removes key.
func (b *Batch) Delete(keyspace uint32, key []byte) error {
	return b.Add(base.KindDelete, keyspace, key, nil)
}

// SingleDelete removes a key that was put once since it was last deleted.
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

// PutTTL sets key to value until the instant expiry, in the unit that the
// engine chooses. It is stored as 8 bytes before the value.
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

// Add appends an operation of any kind. A kind without a value ignores value;
// the value of a PutTTL begins with its expiry, as Op.Expiry reads it.
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
// lists its keyspace. Few batches write to several.
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

// Keyspaces lists the keyspaces but the default one that operations are for,
// each once. The slice is the batch's own.
func (b *Batch) Keyspaces() []uint32 { return b.spaces }

// RangeDeletes is the number of range deletes.
func (b *Batch) RangeDeletes() int { return int(b.ranges) }

// Merges is the number of merges.
func (b *Batch) Merges() int { return int(b.merges) }

// Expires reports whether some operation has an expiry.
func (b *Batch) Expires() bool { return b.expires }

// Any reports whether fn answers true for a keyspace that the batch writes to.
func (b *Batch) Any(fn func(keyspace uint32) bool) bool {
	return b.count > b.others && fn(0) || slices.ContainsFunc(b.spaces, fn)
}

// close makes the operation part of the batch.
func (b *Batch) close(buf []byte, kvBytes int) {
	b.Data = buf
	b.count++
	b.kvBytes += kvBytes
	binary.LittleEndian.PutUint32(buf[countOffset:], b.count)
}

// Refuse makes the batch refuse all operations from now on, and its commit.
func (b *Batch) Refuse(err error) { _ = b.refuse(err) }

// refuse records why an operation was not taken.
func (b *Batch) refuse(err error) error {
	if b.err == nil {
		b.err = err
	}
	return err
}

// Err is why an operation was refused since the last Reset, or nil. A batch
// with an error must not be committed: it lacks an operation whose failure the
// caller may have overlooked.
func (b *Batch) Err() error { return b.err }

// grow returns buf with room for need more bytes, and a header.
func grow(buf []byte, need int) []byte {
	size := max(len(buf), HeaderSize)
	if cap(buf) < size+need {
		// Doubling, but never past the limit, which an int holds everywhere.
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

// appendUvarint is binary.AppendUvarint for lengths, most of which take one
// byte: small enough to be inlined.
func appendUvarint(dst []byte, v uint32) []byte {
	if v < 0x80 {
		return append(dst, byte(v))
	}
	return binary.AppendUvarint(dst, uint64(v))
}

// SetSeq gives the first operation its sequence. The batch must not be empty.
func (b *Batch) SetSeq(s base.SeqNum) {
	binary.LittleEndian.PutUint64(b.Data[seqOffset:], uint64(s))
}

// Seq is the sequence of the first operation, 0 before SetSeq.
func (b *Batch) Seq() base.SeqNum {
	if len(b.Data) == 0 {
		return 0
	}
	return base.SeqNum(binary.LittleEndian.Uint64(b.Data[seqOffset:]))
}

// Count is the number of operations.
func (b *Batch) Count() int { return int(b.count) }

// Len is the bytes of the encoded batch.
func (b *Batch) Len() int { return max(len(b.Data), HeaderSize) }

// KeyValueBytes is the sum of the lengths of all keys and values: with Count,
// it bounds what the batch will take in a memtable.
func (b *Batch) KeyValueBytes() int { return b.kvBytes }

// Empty reports whether there is no operation.
func (b *Batch) Empty() bool { return b.count == 0 }

// Reset empties the batch for reuse. Its memory is kept unless it is large.
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

// Mark is a place in a batch.
type Mark struct {
	state Batch
	size  int
}

// Mark returns the end of the batch as it is now.
func (b *Batch) Mark() Mark { return Mark{*b, len(b.Data)} }

// Truncate takes the batch back to a mark, and lets what comes next be written
// over what is gone: the caller holds no slices of that.
func (b *Batch) Truncate(m Mark) {
	data := b.Data[:m.size]
	*b = m.state
	b.Data, b.spaces = data, slices.Clip(m.state.spaces)
	if m.size > 0 {
		binary.LittleEndian.PutUint32(b.Data[countOffset:], b.count)
	}
}

// Rollback takes the batch back to a mark: operations added since are gone.
// What they occupied is not written over, so slices of them stay valid.
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
