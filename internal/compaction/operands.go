package compaction

import (
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

const (
	// maxCombined is the length beyond which operands are not combined with
	// each other: what grows with each operand is copied each time, and it is
	// the base under them that such operands wait for.
	maxCombined = 1 << 20
	// maxHeld is how many bytes of operands that do not combine are held for
	// the base under them. The newest leave when there are more; they collapse
	// in a later job.
	maxHeld = 32 << 20
	// operandCost is what an operand takes in memory beside its bytes.
	operandCost = 64
	// maxSpare is how many buffers wait for reuse. Combining needs one, and
	// gives back two.
	maxSpare = 4
)

// operand is one or several neighbouring operands combined.
type operand struct {
	data []byte
	seq  base.SeqNum // of the newest
	n    int         // how many it was
	// apart means that it and the next newer one do not combine, so that
	// they are not asked about again.
	apart bool
}

// OperandMerger holds the operands of one stripe of one key, and combines them as they
// come. Only those of equal weight are combined at first, as in a binary
// counter: a million make twenty that are held, and each was copied twenty
// times.
type OperandMerger struct {
	merger base.Merger
	ops    []operand // newest first
	stripe int
	oldest base.SeqNum // of those pushed
	pushed int         // entries in ops
	held   int         // bytes, with operandCost

	spare [][]byte // buffers that are free
	list  [][]byte // scratch of full
	out   []byte   // scratch of full
}

// Reset forgets everything, and takes operands of another key.
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

// Full returns the value that the operands make on top of existing. It is valid
// until the next call of any method.
func (f *OperandMerger) Full(key, existing []byte, exists bool) ([]byte, error) {
	return f.full(key, existing, exists)
}

func (f *OperandMerger) empty() bool { return len(f.ops) == 0 }

// push adds the next older operand. The bytes are copied.
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

// combineAll combines what push left of different weights.
func (f *OperandMerger) combineAll(key []byte) {
	last := 0 // the oldest of those done
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

// combine puts operands newer and older, which are neighbours, into the place
// of newer. It answers false when they stay two. An error of the merger is no
// more than that: whether the operands make sense turns out over their base.
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
		res = append([]byte(nil), res...) // against the rules, but what it would ruin is data
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

// full returns the value that the operands make on top of existing. It is valid
// until the next call.
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
		return nil, fmt.Errorf("%w: merging made %d bytes", base.ErrValueTooLarge, len(res))
	}
	if !sharesArray(res, existing) && !slices.ContainsFunc(f.ops, func(o operand) bool { return sharesArray(res, o.data) }) {
		f.out = res
	}
	return res, nil
}

// overflows reports whether more is held than should be.
func (f *OperandMerger) overflows() bool { return f.held > maxHeld }

// drop forgets the newest n operands.
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

// sharesArray reports whether two slices end in the same array, as slices of
// one buffer do unless the merger took care that they do not.
func sharesArray(a, b []byte) bool {
	return cap(a) > 0 && cap(b) > 0 && &a[:cap(a)][cap(a)-1] == &b[:cap(b)][cap(b)-1]
}
