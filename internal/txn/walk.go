package txn

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
)

// ReadRange records how far an iterator really went. Steps extend one range;
// only a jump elsewhere begins another. The range enters the set when the
// iterator jumps, when it is closed and when the transaction commits.
type ReadRange struct {
	set      *ReadSet
	keyspace uint32
	lo, hi   []byte // [lo, hi), or all from lo on if endless
	step     []byte // buffer
	endless  bool
	any      bool
}

// Start begins the range of an iterator over a keyspace.
func (w *ReadRange) Start(s *ReadSet, keyspace uint32) {
	*w = ReadRange{set: s, keyspace: keyspace, lo: w.lo[:0], hi: w.hi[:0], step: w.step[:0]}
	s.walks = append(s.walks, w)
}

// Forward records a step to the first key at or after from: to found or, if ok is false, to
// end, the upper bound of the iterator, nil for none. In a step from one key to the next,
// from is the first of the two.
func (w *ReadRange) Forward(from, found []byte, ok bool, end []byte) error {
	if !ok {
		return w.cover(from, end, end == nil)
	}
	w.step = append(append(w.step[:0], found...), 0) // the first key after it
	return w.cover(from, w.step, false)
}

// Backward records a step to the last key before from, nil being the end: to found or, if
// ok is false, to begin, the lower bound of the iterator.
func (w *ReadRange) Backward(from, found []byte, ok bool, begin []byte) error {
	if !ok {
		found = begin
	}
	return w.cover(found, from, from == nil)
}

// cover adds [lo, hi).
func (w *ReadRange) cover(lo, hi []byte, endless bool) error {
	switch {
	case w.set == nil:
		return base.ErrTxnDone // the transaction has ended
	case !endless && bytes.Compare(lo, hi) >= 0:
		return w.set.err
	}
	apart := w.any && (!w.endless && bytes.Compare(lo, w.hi) > 0 || !endless && bytes.Compare(hi, w.lo) < 0)
	if apart {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if !w.any || bytes.Compare(lo, w.lo) < 0 {
		w.lo = append(w.lo[:0], lo...)
	}
	if !w.any || !endless && bytes.Compare(hi, w.hi) > 0 {
		w.hi = append(w.hi[:0], hi...)
	}
	w.endless = endless || w.any && w.endless
	w.any = true
	return w.set.err
}

// flush adds the range to the set.
func (w *ReadRange) flush() error {
	if !w.any {
		return w.set.err
	}
	w.any = false
	if w.endless {
		return w.set.Range(w.keyspace, w.lo, nil)
	}
	return w.set.Range(w.keyspace, w.lo, w.hi)
}

// Close ends the recording. A second Close does nothing.
func (w *ReadRange) Close() error {
	if w.set == nil {
		return nil
	}
	s := w.set
	err := w.flush()
	for i, o := range s.walks {
		if o == w {
			s.walks[i] = s.walks[len(s.walks)-1]
			s.walks = s.walks[:len(s.walks)-1]
			break
		}
	}
	w.set = nil
	return err
}
