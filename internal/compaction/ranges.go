package compaction

import (
	"bytes"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// rangeWalker walks the range tombstones with two cursors, a short way apart:
// one follows the keys and finds the tombstones over the current key, the other
// follows the ends of output tables and says what goes into each.
type rangeWalker struct {
	list   *rangedel.List
	keep   *retention
	elide  func(lo, hi []byte) bool
	next   int           // the first fragment that ends beyond the current key
	inside bool          // the current key is in it
	seqs   []base.SeqNum // the sequences of fragment next that stay: one for each stripe, newest first
	seqsOf int           // the fragment of seqs; -1 for none
	last   bool          // the last of seqs is in stripe 0 and cannot be elided

	from  []byte // everything before it is in tables already
	taken int    // the first fragment that ends beyond from
}

func (w *rangeWalker) init(o *RunOptions, k *retention) {
	w.list, w.keep, w.elide, w.seqsOf = o.Ranges, k, o.ElideRange, -1
	if w.list == nil {
		w.list = &rangedel.List{}
	}
}

// any reports whether there are range tombstones.
func (w *rangeWalker) any() bool { return w.list.Len() > 0 }

// enter moves the first cursor to a user key.
func (w *rangeWalker) enter(key []byte) {
	if w.next >= w.list.Len() {
		w.inside = false
		return
	}
	f := w.list.At(w.next)
	for f.Hi != nil && bytes.Compare(f.Hi, key) <= 0 {
		if w.next++; w.next >= w.list.Len() {
			w.inside = false
			return
		}
		f = w.list.At(w.next)
	}
	if w.inside = bytes.Compare(f.Lo, key) <= 0; w.inside && w.seqsOf != w.next {
		w.seqs, w.last = w.staying(w.seqs[:0], f.Seqs)
		w.seqsOf, w.last = w.next, w.last && !w.elides(f.Lo, f.Hi)
	}
}

// staying appends the sequences of a fragment that stay: the newest of each
// stripe, and all unpublished ones. It returns whether the last is in stripe 0.
func (w *rangeWalker) staying(dst, seqs []base.SeqNum) (out []base.SeqNum, last bool) {
	stripe := -1
	for _, s := range seqs {
		if n := w.keep.stripeOf(s); n != stripe || n >= len(w.keep.snapshots) {
			dst, stripe = append(dst, s), n
		}
	}
	return dst, stripe == 0 && len(w.keep.snapshots) > 0
}

// over reports whether a tombstone covers the current key.
func (w *rangeWalker) over() bool { return w.inside }

// newest returns the newest sequence of a tombstone over the current key, or 0.
func (w *rangeWalker) newest() base.SeqNum {
	if !w.inside {
		return 0
	}
	return w.seqs[0]
}

// covers reports whether a version is deleted by a tombstone of its own stripe.
func (w *rangeWalker) covers(stripe int, s base.SeqNum) bool {
	return w.inside && slices.ContainsFunc(w.seqs, func(r base.SeqNum) bool { return r > s && w.keep.stripeOf(r) == stripe })
}

// beneath reports whether a tombstone of the stripe is older than a version of
// it.
func (w *rangeWalker) beneath(stripe int, s base.SeqNum) bool {
	return w.inside && slices.ContainsFunc(w.seqs, func(r base.SeqNum) bool { return r < s && w.keep.stripeOf(r) == stripe })
}

// between reports whether a tombstone is newer than one version and older than
// another.
func (w *rangeWalker) between(older, newer base.SeqNum) bool {
	return w.inside && slices.ContainsFunc(w.seqs, func(r base.SeqNum) bool { return older < r && r < newer })
}

// oldest reports whether a tombstone of stripe 0 stays over the current key.
// Then no version may get sequence 0, which would put it under the tombstone.
func (w *rangeWalker) oldest() bool { return w.inside && w.last }

// take calls fn with the fragments of the next table, which ends before key hi.
// A nil hi means no end and comes last. Tombstones of stripe 0 with nothing
// deeper to hide are left out.
func (w *rangeWalker) take(hi []byte, fn func(rangedel.Fragment) error) error {
	var open rangedel.Fragment // not passed to fn yet: it may become longer
	for w.taken < w.list.Len() {
		f := w.list.At(w.taken)
		piece := rangedel.Fragment{Lo: f.Lo, Hi: f.Hi}
		if bytes.Compare(piece.Lo, w.from) < 0 {
			piece.Lo = w.from
		}
		if hi != nil && bytes.Compare(hi, piece.Lo) <= 0 {
			break
		}
		cut := hi != nil && (f.Hi == nil || bytes.Compare(hi, f.Hi) < 0)
		if cut {
			piece.Hi = hi
		}
		if piece.Seqs = w.pieceSeqs(piece.Lo, piece.Hi, f.Seqs); len(piece.Seqs) > 0 {
			if len(open.Seqs) > 0 && bytes.Equal(open.Hi, piece.Lo) && slices.Equal(open.Seqs, piece.Seqs) {
				open.Hi = piece.Hi
			} else if err := give(open, fn); err != nil {
				return err
			} else {
				open = piece
			}
		}
		if cut {
			break
		}
		w.taken++
	}
	w.from = hi
	return give(open, fn)
}

func give(f rangedel.Fragment, fn func(rangedel.Fragment) error) error {
	if len(f.Seqs) == 0 {
		return nil
	}
	return fn(f)
}

// elides reports whether tombstones of stripe 0 over [lo, hi) may go. If so,
// they may go over each part of it.
func (w *rangeWalker) elides(lo, hi []byte) bool { return w.elide != nil && w.elide(lo, hi) }

// pieceSeqs returns the sequences of a fragment that stay in a piece of it.
func (w *rangeWalker) pieceSeqs(lo, hi []byte, seqs []base.SeqNum) []base.SeqNum {
	out, last := w.staying(nil, seqs)
	if last && w.elides(lo, hi) {
		out = out[:len(out)-1]
	}
	return out
}
