package engine

import (
	"encoding/binary"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// applyAhead is how many operations an applier looks ahead. What an insert of
// ascending keys waits for is one cache line, the bucket of the memtable's hash
// index: 130 of its 370 ns, measured with 3 M deletes in order. It takes some 100
// ns to come. A window of 8 leaves that time even to the first few, before
// which only keys are hashed, at 10 to 20 ns each.
const applyAhead = 8

// applyKeys is how many bytes of prefixed keys an applier gathers, about.
const applyKeys = 4 << 10

// applyRanges is how many range deletes an applier gathers at most: those of a batch
// go in together, in the order of keys.
const applyRanges = 32 << 10

// applier adds the operations of a batch to a generation, in order, but some
// operations late: when it takes one, it asks memory for what adding it will
// need. The zero value but for gen is ready; flush must be called at the end.
type applier struct {
	gen     *generation
	stripes []base.SeqNum // those of rangedel.Set.Add
	buf     []byte        // keys after their keyspaces' numbers

	finger       [2]memtable.Finger // in the memtable of the default keyspace, and of the others
	taken, added uint
	pending      [applyAhead]pendingOp // operation i is at i%applyAhead
	// Range deletes in a row go in together: one edit of the set copies each of
	// its nodes once, however many there are.
	ranges   [2][]rangedel.Tombstone
	expected int // how many will come, if that is known
}

type pendingOp struct {
	op   batch.Op             // with the key as the memtable has it, but for range deletes
	mem  *memtable.Generation // not of range deletes
	hash uint64               // not of range deletes
	seq  base.SeqNum
}

// add takes the next operation. Its key and value must stay until flush.
func (a *applier) add(op *batch.Op, seq base.SeqNum) {
	switch {
	case len(a.buf) > applyKeys:
		a.flush()
	case a.taken-a.added == applyAhead:
		a.addOldest()
	}
	p := &a.pending[a.taken%applyAhead]
	a.taken++
	p.op, p.seq = *op, seq
	if op.Kind == base.KindRangeDelete {
		return
	}
	p.mem = a.gen.mem
	if op.Keyspace != 0 {
		// If buf moves, the keys before this one stay where they were.
		from := len(a.buf)
		a.buf = append(binary.BigEndian.AppendUint32(a.buf, op.Keyspace), op.Key...)
		p.op.Key, p.mem = a.buf[from:], a.gen.shared.Load()
	}
	p.hash = base.Hash(p.op.Key)
	p.mem.Prefetch(p.hash)
}

func (a *applier) addOldest() {
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
	p.mem.AddNear(&a.finger[own], p.op.Key, p.hash, base.MakeTrailer(p.seq, p.op.Kind), p.op.Value)
}

// addRanges adds the range deletes that came since the last other operation.
func (a *applier) addRanges() {
	if len(a.ranges[0]) > 0 {
		a.gen.mem.AddRanges(a.ranges[0], a.stripes)
	}
	if len(a.ranges[1]) > 0 {
		a.gen.shared.Load().AddRanges(a.ranges[1], a.stripes)
	}
	a.ranges[0], a.ranges[1] = a.ranges[0][:0], a.ranges[1][:0]
}

// rangeOf is the tombstone of a range delete. Among the keyspaces that share a
// memtable a range without an end ends where the next keyspace begins.
func rangeOf(op *batch.Op, seq base.SeqNum) rangedel.Tombstone {
	if op.Keyspace == 0 {
		return rangedel.Tombstone{Lo: op.Key, Hi: op.Value, Seq: seq}
	}
	lo := append(binary.BigEndian.AppendUint32(nil, op.Keyspace), op.Key...)
	hi := binary.BigEndian.AppendUint32(nil, op.Keyspace+1)
	if len(op.Value) > 0 {
		hi = append(binary.BigEndian.AppendUint32(nil, op.Keyspace), op.Value...)
	}
	return rangedel.Tombstone{Lo: lo, Hi: hi, Seq: seq}
}

// flush adds what was taken.
func (a *applier) flush() {
	for a.added < a.taken {
		a.addOldest()
	}
	a.addRanges()
	a.buf = a.buf[:0]
}
