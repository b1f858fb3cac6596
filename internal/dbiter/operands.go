package dbiter

import (
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
)

// This file holds how an Iter merges operands and the value below them.

// showMerged shows the key of cur, an operand, with a value merged from that entry and the
// older ones of the key. It leaves merged past the entries it used.
func (it *Iter) showMerged() bool {
	it.keyCopy = append(it.keyCopy[:0], it.cur.Key...)
	it.next, it.cur, it.isCopy, it.valid = it.cur, nil, true, false
	it.valid = it.merge()
	return it.valid
}

// mergeBack merges the value of the key in keyCopy, and leaves merged before the key.
func (it *Iter) mergeBack() bool {
	switch it.cursor.newest() {
	case operand:
	case failed:
		return false
	default:
		it.broken(base.Corruptf("database", -1, "key %q was there going backward and is not going forward", it.keyCopy))
		return false
	}
	if !it.merge() {
		return false
	}
	it.next = it.merged.SeekLT(it.keyCopy)
	return it.fail() == nil
}

// merge stores a copy of the value that the operand next and the older entries of its key
// make. The key is in keyCopy. It leaves next at the entry where it stopped, which may
// still be one of the key.
func (it *Iter) merge() bool {
	it.trailer, it.folded = base.MakeTrailer(it.next.Trailer.Seq(), base.KindPut), 0
	if it.keysOnly {
		return true
	}
	m := it.k.Merger()
	if m == nil {
		it.broken(fmt.Errorf("%w: key %q has merge operands, and %s was opened without a merge operator", base.ErrInvalidOptions, it.keyCopy, it.k.Describe()))
		return false
	}
	it.fold.Reset(m)
	known, what := it.pushOperands()
	switch {
	case known != nil:
		return it.finish(known.value, true, known.operands, true)
	case what == failed:
		return false
	}
	lasts := what == ended || !it.next.Trailer.Kind().Expires()
	if what != shown {
		return it.finish(nil, false, 0, lasts)
	}
	under, err := it.plain(it.next.Trailer.Kind(), it.keyCopy, it.next.Value)
	if err != nil {
		it.env.Store.Damaged(err)
		it.broken(err)
		return false
	}
	return it.finish(under, true, 0, lasts)
}

// pushOperands adds the operands from next on to fold. It stops at the first operand that
// is part of the stored value of the key, or at an entry that is no operand, and returns
// the stored value, if it found one, and the meaning of the entry. It looks for a stored
// value only when there are many operands: short lists pay nothing.
func (it *Iter) pushOperands() (known *fold, what meaning) {
	f := &it.fold
	for what = operand; what == operand; {
		if known == nil && f.Len() == it.env.FoldFrom && !it.withOwn {
			known = it.env.Folded.get(it.s, it.time, it.k.ID(), it.keyCopy, it.trailer.Seq())
			if known != nil && f.Len() > 0 && known.seq >= f.Oldest() { // it includes some of those added: start again
				f.Reset(it.k.Merger())
				what = it.cursor.newest()
				continue
			}
		}
		if known != nil && it.next.Trailer.Seq() <= known.seq {
			return known, what
		}
		f.Push(it.keyCopy, it.next.Value, it.next.Trailer.Seq())
		what = it.cursor.older()
	}
	return nil, what
}

// finish makes the value of the key in keyCopy by applying the operands in fold to under,
// which itself was made of the given number of operands. If the value lasts, finish stores
// it for later reads.
func (it *Iter) finish(under []byte, exists bool, operands int, lasts bool) bool {
	f := &it.fold
	value := under
	if n := f.Len(); n > 0 {
		var err error
		if value, err = f.Full(it.keyCopy, under, exists); err != nil {
			it.broken(fmt.Errorf("seerdb: merge of key %q: %w", it.keyCopy, err))
			return false
		}
		operands += n
	}
	it.value, it.folded = append(it.value[:0], value...), operands
	if lasts && f.Len() >= max(it.env.FoldFrom, 1) && !it.withOwn {
		it.env.Folded.put(it.k.ID(), it.keyCopy, fold{seq: it.trailer.Seq(), filters: it.s.Filters, time: it.time, value: it.value, operands: operands})
	}
	return true
}
