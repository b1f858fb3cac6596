package memtable

import (
	"encoding/binary"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// applyAhead is how many operations an applier looks ahead. An insert of
// ascending keys waits for one cache line, a bucket of the hash index: 130 of
// its 370 ns, measured with 3 M deletes in order. That line takes some 100 ns
// to arrive. A window of 8 covers that even for the first operations, which are
// preceded only by hashing, at 10 to 20 ns a key.
const applyAhead = 8

// applyKeys is roughly how many bytes of prefixed keys an applier gathers.
const applyKeys = 4 << 10

// applyRanges is how many range deletes an applier gathers at most. It adds
// those of a batch together, in key order.
const applyRanges = 32 << 10

// Applier adds the operations of a batch to a memtable, in order but some
// operations late: when it takes one, it prefetches the memory that adding it
// will need. Callers call Init first and Flush at the end.
type Applier struct {
	mem     *Memtable
	stripes []base.SeqNum // as for rangedel.Set.Add
	buf     []byte        // keys with their keyspaces' prefixes

	finger       [2]Finger // one for the default keyspace's half, one for the shared half
	taken, added uint
	pending      [applyAhead]pendingOp // operation i is at i%applyAhead
	// Consecutive range deletes are added together: one edit of the set copies
	// each of its nodes once, however many there are.
	ranges   [2][]rangedel.Tombstone
	expected int // how many are expected, if known
}

type pendingOp struct {
	op   batch.Op // its key is as the half stores it, except in range deletes
	half *half    // nil for range deletes
	hash uint64   // unused for range deletes
	seq  base.SeqNum
}

// Init prepares the applier for a batch with that many range deletes. stripes
// are as for rangedel.Set.Add. The applier keeps keys in buf; Flush returns it,
// perhaps larger.
func (a *Applier) Init(m *Memtable, stripes []base.SeqNum, buf []byte, rangeDeletes int) {
	a.mem, a.stripes, a.buf, a.expected = m, stripes, buf[:0], rangeDeletes
}

// Add takes the next operation, with its sequence. Its key and value must stay
// valid until Flush. The caller has a reservation for it and, for a keyspace
// other than the default one, has called Share.
func (a *Applier) Add(op *batch.Op, seq base.SeqNum) {
	switch {
	case len(a.buf) > applyKeys:
		a.drain()
	case a.taken-a.added == applyAhead:
		a.addOldest()
	}
	p := &a.pending[a.taken%applyAhead]
	a.taken++
	p.op, p.seq = *op, seq
	if op.Kind == base.KindRangeDelete {
		return
	}
	p.half = a.mem.root
	if op.Keyspace != 0 {
		// If buf is reallocated, earlier keys stay in the old array.
		from := len(a.buf)
		a.buf = append(binary.BigEndian.AppendUint32(a.buf, op.Keyspace), op.Key...)
		p.op.Key, p.half = a.buf[from:], a.mem.shared.Load()
	}
	p.hash = base.Hash(p.op.Key)
	p.half.Prefetch(p.hash)
}

func (a *Applier) addOldest() {
	p := &a.pending[a.added%applyAhead]
	a.added++
	own := min(p.op.Keyspace, 1)
	if p.op.Kind == base.KindRangeDelete {
		if a.ranges[own] == nil {
			a.ranges[own] = make([]rangedel.Tombstone, 0, min(a.expected, applyRanges))
		}
		a.ranges[own] = append(a.ranges[own], rangeOf(&p.op, p.seq))
		if len(a.ranges[own]) == applyRanges {
			a.addRanges()
		}
		return
	}
	if len(a.ranges[0])+len(a.ranges[1]) > 0 {
		a.addRanges()
	}
	p.half.AddNear(&a.finger[own], p.op.Key, p.hash, base.MakeTrailer(p.seq, p.op.Kind), p.op.Value)
}

// addRanges adds the range deletes gathered since the last other operation.
func (a *Applier) addRanges() {
	if len(a.ranges[0]) > 0 {
		a.mem.root.AddRanges(a.ranges[0], a.stripes)
	}
	if len(a.ranges[1]) > 0 {
		a.mem.shared.Load().AddRanges(a.ranges[1], a.stripes)
	}
	a.ranges[0], a.ranges[1] = a.ranges[0][:0], a.ranges[1][:0]
}

// rangeOf returns the tombstone of a range delete. In the shared half, a range
// without an end ends where the next keyspace begins.
func rangeOf(op *batch.Op, seq base.SeqNum) rangedel.Tombstone {
	if op.Keyspace == 0 {
		return rangedel.Tombstone{Lo: op.Key, Hi: op.Value, Seq: seq}
	}
	end := prefixOf(op.Keyspace + 1)
	hi := end[:]
	if len(op.Value) > 0 {
		hi = prefixed(op.Keyspace, op.Value)
	}
	return rangedel.Tombstone{Lo: prefixed(op.Keyspace, op.Key), Hi: hi, Seq: seq}
}

// Flush adds the operations taken so far, and returns the buffer given to Init.
func (a *Applier) Flush() (buf []byte) {
	a.drain()
	return a.buf
}

func (a *Applier) drain() {
	for a.added < a.taken {
		a.addOldest()
	}
	a.addRanges()
	a.buf = a.buf[:0]
}

// OpBound returns what an operation takes from a reservation.
func OpBound(op *batch.Op) int64 {
	n := EntryBound(len(op.Key), len(op.Value))
	if op.Kind == base.KindRangeDelete {
		n = RangeBound(len(op.Key), len(op.Value)) + prefixSize
	}
	if op.Keyspace != 0 {
		n += prefixSize
	}
	return n
}

// BatchBound returns what the operations of a batch take from a reservation.
func BatchBound(b *batch.Batch) int64 {
	overhead := int64(EntryOverhead)
	if len(b.Keyspaces()) > 0 {
		overhead += prefixSize
	}
	return int64(b.KeyValueBytes()) + int64(b.Count())*overhead +
		int64(b.RangeDeletes())*(RangeBound(0, 0)+2*prefixSize)
}
