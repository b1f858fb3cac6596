package compaction

import (
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	// maxCombined is the length beyond which operands are not combined. A
	// result that grows with each operand is copied each time; such operands
	// wait for the base under them.
	maxCombined = 1 << 20
	// maxHeld is how many bytes of operands that do not combine are held until
	// the base under them comes. Beyond it the newest are written; a later job
	// collapses them.
	maxHeld = 32 << 20
	// operandCost is the memory that an operand takes besides its bytes.
	operandCost = 64
	// maxSpare is how many buffers are kept for reuse. Combining takes one and
	// frees two.
	maxSpare = 4
)

// operand is one or several neighbouring operands combined.
type operand struct {
	data []byte
	seq  base.SeqNum // of the newest operand
	n    int         // how many operands were combined
	// apart is set if this operand and the next newer one do not combine, so
	// that the merger is not called for them again.
	apart bool
}

// OperandMerger holds the operands of one stripe of one key and combines them
// as they come. It first combines only operands of equal weight, as in a binary
// counter: of a million, twenty are held, and each byte was copied twenty
// times.
type OperandMerger struct {
	merger base.Merger
	ops    []operand // newest first
	stripe int
	oldest base.SeqNum // the oldest pushed
	pushed int         // operands in ops, before combining
	held   int         // bytes held, with operandCost

	spare [][]byte // free buffers
	list  [][]byte // scratch of full
	out   []byte   // scratch of full
}

// Reset removes all operands and prepares for another key.
func (f *OperandMerger) Reset(m base.Merger) {
	f.drop(len(f.ops))
	f.merger, f.pushed = m, 0
}

// Len returns how many operands were pushed.
func (f *OperandMerger) Len() int { return f.pushed }

// Oldest returns the sequence of the operand that was pushed last, if any was.
func (f *OperandMerger) Oldest() base.SeqNum { return f.oldest }

// Push adds the next older operand of key. The bytes are copied.
func (f *OperandMerger) Push(key, data []byte, s base.SeqNum) { f.push(key, data, s) }

// Full returns the value that the operands make of existing. It is valid until
// the next method call.
func (f *OperandMerger) Full(key, existing []byte, exists bool) ([]byte, error) {
	return f.full(key, existing, exists)
}

func (f *OperandMerger) empty() bool { return len(f.ops) == 0 }

// push adds the next older operand and copies its bytes.
func (f *OperandMerger) push(key, data []byte, s base.SeqNum) {
	f.ops = append(f.ops, operand{data: append(f.buffer(), data...), seq: s, n: 1})
	f.oldest = s
	f.pushed++
	f.held += len(data) + operandCost
	for i := len(f.ops) - 1; i > 0 && f.ops[i].n == f.ops[i-1].n; i-- {
		if !f.combine(key, i-1, i) {
			break
		}
		f.ops = f.ops[:i]
	}
}

// combineAll combines the operands that push left apart because their weights
// differ.
func (f *OperandMerger) combineAll(key []byte) {
	last := 0 // the oldest operand that was tried
	for i := 1; i < len(f.ops); i++ {
		if f.combine(key, last, i) {
			continue
		}
		last++
		f.ops[last] = f.ops[i]
	}
	if len(f.ops) > 0 {
		clear(f.ops[last+1:])
		f.ops = f.ops[:last+1]
	}
}

// combine puts the combination of two neighbouring operands in the place of
// newer. It returns false if they stay apart. An error of the merger also
// leaves them apart: whether they make sense shows when they meet their base.
func (f *OperandMerger) combine(key []byte, newer, older int) bool {
	a, b := &f.ops[older], &f.ops[newer]
	if a.apart || len(a.data)+len(b.data) > maxCombined {
		return false
	}
	dst := f.buffer()
	res, ok, err := f.merger.Partial(dst, key, a.data, b.data)
	if err != nil || !ok || len(res) > base.MaxValueSize {
		f.recycle(dst)
		a.apart = true
		return false
	}
	if sharesArray(res, a.data) || sharesArray(res, b.data) {
		res = append([]byte(nil), res...) // the merger broke the rules, but what that would ruin is data
	}
	if !sharesArray(res, dst) {
		f.recycle(dst)
	}
	f.held += len(res) - len(a.data) - len(b.data) - operandCost
	f.recycle(a.data)
	f.recycle(b.data)
	b.data, b.n = res, a.n+b.n
	a.data = nil
	return true
}

// full returns the value that the operands make of existing. It is valid until
// the next call.
func (f *OperandMerger) full(key, existing []byte, exists bool) ([]byte, error) {
	f.list = f.list[:0]
	for i := len(f.ops) - 1; i >= 0; i-- {
		f.list = append(f.list, f.ops[i].data)
	}
	if cap(f.out) > maxCombined {
		f.out = nil
	}
	res, err := f.merger.Full(f.out[:0], key, existing, exists, f.list)
	clear(f.list)
	if err != nil {
		return nil, err
	}
	if len(res) > base.MaxValueSize {
		return nil, fmt.Errorf("%w: the merge operator made a value of %d bytes", base.ErrValueTooLarge, len(res))
	}
	if !sharesArray(res, existing) && !slices.ContainsFunc(f.ops, func(o operand) bool { return sharesArray(res, o.data) }) {
		f.out = res
	}
	return res, nil
}

// overflows reports whether more than maxHeld bytes are held.
func (f *OperandMerger) overflows() bool { return f.held > maxHeld }

// drop removes the newest n operands.
func (f *OperandMerger) drop(n int) {
	for i := range f.ops[:n] {
		o := &f.ops[i]
		f.held -= len(o.data) + operandCost
		f.pushed -= o.n
		f.recycle(o.data)
	}
	rest := copy(f.ops, f.ops[n:])
	clear(f.ops[rest:])
	f.ops = f.ops[:rest]
	if rest == 0 && cap(f.ops) > maxSpare<<10 {
		f.ops, f.list = nil, nil
	}
}

// buffer returns an empty buffer.
func (f *OperandMerger) buffer() []byte {
	n := len(f.spare)
	if n == 0 {
		return nil
	}
	b := f.spare[n-1]
	f.spare = f.spare[:n-1]
	return b[:0]
}

func (f *OperandMerger) recycle(b []byte) {
	if cap(b) > 0 && cap(b) <= 2*maxCombined && len(f.spare) < maxSpare {
		f.spare = append(f.spare, b)
	}
}

// sharesArray reports whether two slices end in the same array. Slices of one
// buffer do, unless the merger limited their capacity.
func sharesArray(a, b []byte) bool {
	return cap(a) > 0 && cap(b) > 0 && &a[:cap(a)][cap(a)-1] == &b[:cap(b)][cap(b)-1]
}
