package compaction

import (
	"bytes"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// rangeWalker goes through the range tombstones twice, a short way apart: once
// with the keys, to say what lies over the current one, and once with the ends
// of the output tables, to say what goes into each.
type rangeWalker struct {
	list   *rangedel.List
	keep   *retention
	elide  func(lo, hi []byte) bool
	next   int           // the first fragment that ends beyond the current key
	inside bool          // the current key is in it
	seqs   []base.SeqNum // of the fragment next that stay: one a stripe, newest first
	seqsOf int           // whose seqs they are; -1 none
	last   bool          // the last of them is in stripe 0 and will not go

	from  []byte // what lies before went into tables already
	taken int    // the first fragment that ends beyond from
}

func (w *rangeWalker) init(o *RunOptions, k *retention) {
	w.list, w.keep, w.elide, w.seqsOf = o.Ranges, k, o.ElideRange, -1
	if w.list == nil {
		w.list = &rangedel.List{}
	}
}

// any reports whether there are range tombstones at all.
func (w *rangeWalker) any() bool { return w.list.Len() > 0 }

// enter moves on to a user key.
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

// staying appends those of a fragment's sequences that stay: the newest of each
// stripe, and all that were not published. It says whether the last of them is
// in stripe 0.
func (w *rangeWalker) staying(dst, seqs []base.SeqNum) (out []base.SeqNum, last bool) {
	stripe := -1
	for _, s := range seqs {
		if n := w.keep.stripeOf(s); n != stripe || n >= len(w.keep.snapshots) {
			dst, stripe = append(dst, s), n
		}
	}
	return dst, stripe == 0 && len(w.keep.snapshots) > 0
}

// over reports whether anything lies over the current key.
func (w *rangeWalker) over() bool { return w.inside }

// newest returns the newest sequence over the current key, or 0.
func (w *rangeWalker) newest() base.SeqNum {
	if !w.inside {
		return 0
	}
	return w.seqs[0]
}

// covers reports whether a version of some stripe lies under a tombstone of
// that stripe.
func (w *rangeWalker) covers(stripe int, s base.SeqNum) bool {
	return w.inside && slices.ContainsFunc(w.seqs, func(r base.SeqNum) bool { return r > s && w.keep.stripeOf(r) == stripe })
}

// beneath reports whether a tombstone of some stripe lies under a version of it.
func (w *rangeWalker) beneath(stripe int, s base.SeqNum) bool {
	return w.inside && slices.ContainsFunc(w.seqs, func(r base.SeqNum) bool { return r < s && w.keep.stripeOf(r) == stripe })
}

// between reports whether a tombstone lies over one version and under another.
func (w *rangeWalker) between(older, newer base.SeqNum) bool {
	return w.inside && slices.ContainsFunc(w.seqs, func(r base.SeqNum) bool { return older < r && r < newer })
}

// oldest reports whether a tombstone of stripe 0 stays over the current key.
// Then no version may lose its sequence: it would come to lie under it.
func (w *rangeWalker) oldest() bool { return w.inside && w.last }

// take calls fn with the fragments of the next table, which ends before key hi;
// nil is the end of all, and comes last. Tombstones of stripe 0 that have nothing deeper to hide
// are gone.
func (w *rangeWalker) take(hi []byte, fn func(rangedel.Fragment) error) error {
	var open rangedel.Fragment // not given to fn yet: it may become longer
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

// elides reports whether tombstones of stripe 0 over [lo, hi) may go. If so they
// may over each part of it.
func (w *rangeWalker) elides(lo, hi []byte) bool { return w.elide != nil && w.elide(lo, hi) }

// pieceSeqs returns what stays of a fragment's sequences in a piece of it.
func (w *rangeWalker) pieceSeqs(lo, hi []byte, seqs []base.SeqNum) []base.SeqNum {
	out, last := w.staying(nil, seqs)
	if last && w.elides(lo, hi) {
		out = out[:len(out)-1]
	}
	return out
}
