package dbiter

import (
	"bytes"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
)

// How an Iter gets from entries to keys and values.

// show finds the first visible key from kv on.
func (it *Iter) show(kv *base.KV) bool {
	it.forward = true
	return it.scan(kv, false)
}

// showAfter is show, leaving out what remains of the key in keyCopy.
func (it *Iter) showAfter(kv *base.KV) bool {
	it.forward, it.isCopy = true, false
	return it.scan(kv, true)
}

// scan goes forward from kv to the newest visible version of a live key. While
// skipping, versions of the key in keyCopy are passed over.
func (it *Iter) scan(kv *base.KV, skipping bool) bool {
	steps := 0
	it.dead.reset()
	for kv != nil {
		if it.upper != nil && bytes.Compare(kv.Key, it.upper) >= 0 {
			break
		}
		switch {
		case !it.sees(kv.Trailer):
			if steps++; steps > seekAfter {
				steps = 0
				it.fetched = append(it.fetched[:0], kv.Key...)
				kv = it.merged.SeekGE(it.fetched, base.SeekTrailer(it.seq))
				continue
			}
		case skipping && bytes.Equal(kv.Key, it.keyCopy):
			if steps++; steps > seekAfter {
				steps = 0
				kv = it.merged.SeekGE(it.keyCopy, 0)
				continue
			}
		case len(it.ranges) > 0 && it.covered(kv):
			if it.err != nil {
				it.cur, it.valid = nil, false
				return false
			}
			it.passCovered(kv.Key)
			if next, jumped := it.jump(); jumped {
				kv = next
				continue
			}
			it.keyCopy = append(it.keyCopy[:0], kv.Key...)
			skipping, steps = true, 0
		default:
			switch it.classify(kv) {
			case shown:
				it.noteDead(kv.Key)
				it.cur, it.valid = kv, true
				return true
			case operand:
				it.noteDead(kv.Key)
				return it.showMerged(kv)
			case failed:
				return false
			}
			it.dead.pass(kv.Key, kv.Trailer.Kind().Expires())
			it.keyCopy = append(it.keyCopy[:0], kv.Key...)
			skipping, steps = true, 0
		}
		kv = it.merged.Next()
	}
	it.cur, it.valid = nil, false
	if it.fail() == nil {
		it.noteDeadEnd()
	}
	if len(it.keyCopy) == 0 {
		it.keyCopy = append(it.keyCopy, 0) // positioned: Next stays at the end
	}
	return false
}

// entryKind is what the newest visible entry of a key says.
type entryKind uint8

const (
	absent  entryKind = iota
	shown             // there is a value
	operand           // there is one, to be merged
	failed            // err says why it cannot be told
)

// classify says what an entry that no range tombstone covers means.
func (it *Iter) classify(kv *base.KV) entryKind {
	switch kv.Trailer.Kind() {
	case base.KindPut, base.KindPutPointer:
		return shown
	case base.KindDelete, base.KindSingleDelete:
		return absent
	case base.KindMerge:
		return operand
	case base.KindPutTTL, base.KindPutTTLPointer:
		expiry, _, err := base.SplitExpiry(kv.Value)
		switch {
		case err != nil:
			it.alien(err)
			return failed
		case expiry <= it.time:
			return absent
		}
		return shown
	}
	it.alien(base.UnknownKind(kv.Trailer.Kind()))
	return failed
}

// alien ends the walk at an entry that says what no entry may say.
func (it *Iter) alien(err error) {
	it.env.Store.Damaged(err)
	it.broken(err)
}

// broken ends the walk.
func (it *Iter) broken(err error) {
	it.err, it.cur, it.valid = err, nil, false
}

// showMerged shows the key of kv, an operand, with a value made of the entries
// from there on, and leaves merged behind what it took.
func (it *Iter) showMerged(kv *base.KV) bool {
	it.keyCopy = append(it.keyCopy[:0], kv.Key...)
	it.cur, it.isCopy, it.valid = nil, true, false
	after, ok := it.merge(kv)
	it.next, it.valid = after, ok
	return ok
}

// merge makes a copy of what the operand kv and the entries of its key behind
// it stand for. The key is in keyCopy. It returns the entry where it stopped,
// which may still be one of the key.
func (it *Iter) merge(kv *base.KV) (*base.KV, bool) {
	it.trailer, it.folded = base.MakeTrailer(kv.Trailer.Seq(), base.KindPut), 0
	if it.keysOnly {
		return kv, true
	}
	m := it.k.Merger()
	if m == nil {
		it.broken(fmt.Errorf("%w: key %q has merge operands, and %s was opened without a merge operator", base.ErrInvalidOptions, it.keyCopy, it.k.Describe()))
		return nil, false
	}
	it.fold.Reset(m)
	kv, known := it.pushOperands(kv)
	if known != nil {
		return kv, it.finish(known.value, true, known.operands, true)
	}
	if kv == nil && it.fail() != nil {
		return nil, false
	}
	value, exists, err := it.under(kv)
	if err != nil {
		it.broken(err)
		return nil, false
	}
	return kv, it.finish(value, exists, 0, !it.timed(kv))
}

// pushOperands takes the operands from kv on into fold, and returns the entry behind
// them, or the first one that is part of what is known of the key. That is looked
// up when there are many: short lists pay nothing.
func (it *Iter) pushOperands(kv *base.KV) (*base.KV, *fold) {
	var known *fold
	f := &it.fold
	for kv != nil && bytes.Equal(kv.Key, it.keyCopy) && kv.Trailer.Kind() == base.KindMerge {
		if len(it.ranges) > 0 && it.covered(kv) {
			return kv, nil
		}
		if known == nil && f.Len() == it.env.FoldFrom && !it.withOwn {
			known = it.env.Folded.get(it.s, it.time, it.k.ID(), it.keyCopy, it.trailer.Seq())
			if known != nil && f.Len() > 0 && known.seq >= f.Oldest() { // it has some of those taken: once more
				f.Reset(it.k.Merger())
				kv = it.merged.SeekGE(it.keyCopy, it.seek)
				continue
			}
		}
		if known != nil && kv.Trailer.Seq() <= known.seq {
			return kv, known
		}
		f.Push(it.keyCopy, kv.Value, kv.Trailer.Seq())
		kv = it.seen(it.merged.Next())
	}
	return kv, nil
}

// finish makes the value of the key in keyCopy: the operands in fold on what they lie
// on, which was made of so many operands itself. If the value lasts, it is noted for
// later reads.
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

// timed reports whether kv, behind operands of the key in keyCopy, is a value of that
// key with an expiry.
func (it *Iter) timed(kv *base.KV) bool {
	return kv != nil && bytes.Equal(kv.Key, it.keyCopy) && kv.Trailer.Kind().Expires()
}

// seen goes on from kv, an entry behind an operand of the key in keyCopy, to one
// that is visible: between what a transaction wrote itself and what its snapshot
// shows lie the commits since.
func (it *Iter) seen(kv *base.KV) *base.KV {
	if kv == nil || it.sees(kv.Trailer) || !bytes.Equal(kv.Key, it.keyCopy) {
		return kv
	}
	return it.merged.SeekGE(it.keyCopy, base.SeekTrailer(it.seq))
}

// under is the value that operands of the key in keyCopy lie on, where kv is the
// first entry behind them.
func (it *Iter) under(kv *base.KV) (value []byte, exists bool, err error) {
	if kv == nil || !bytes.Equal(kv.Key, it.keyCopy) || len(it.ranges) > 0 && it.covered(kv) {
		return nil, false, it.err
	}
	switch it.classify(kv) {
	case shown:
		if value, err = it.plain(kv.Trailer.Kind(), kv.Key, kv.Value); err != nil {
			it.env.Store.Damaged(err)
		}
		return value, err == nil, err
	case failed:
		return nil, false, it.err
	}
	return nil, false, nil
}

// showBack goes backward from kv, the oldest version of some key, to the
// newest visible version of a live key, and leaves merged before that key.
func (it *Iter) showBack(kv *base.KV) bool {
	it.forward, it.cur, it.valid, it.isCopy = false, nil, false, true
	it.dead.reset()
	for kv != nil {
		if it.lower != nil && bytes.Compare(kv.Key, it.lower) < 0 {
			break
		}
		if len(it.ranges) > 0 && it.sees(kv.Trailer) && it.covered(kv) {
			if it.err == nil {
				it.passCovered(kv.Key)
				if next, jumped := it.jumpBack(); jumped {
					kv = next
					continue
				}
			}
		}
		it.keyCopy = append(it.keyCopy[:0], kv.Key...)
		if kv = it.newest(kv); it.err != nil || kv == nil && it.fail() != nil {
			return false // there may be a newer entry than the one that was kept
		}
		if it.trailer == 0 {
			continue // it has no entry that is seen, or passCovered counted it
		}
		found := base.KV{Key: it.keyCopy, Trailer: it.trailer, Value: it.value}
		switch it.classify(&found) {
		case failed:
			return false
		case operand:
			if kv = it.mergeBack(); it.err != nil {
				return false
			}
		case absent:
			it.dead.pass(it.keyCopy, it.trailer.Kind().Expires())
			continue
		}
		it.noteDeadBack(it.keyCopy)
		it.next = kv
		it.valid = it.fail() == nil
		return it.valid
	}
	if it.fail() == nil {
		it.noteDeadBack(nil)
	}
	return false
}

// mergeBack merges the key in keyCopy, and returns the entry before it.
func (it *Iter) mergeBack() *base.KV {
	kv := it.merged.SeekGE(it.keyCopy, it.seek)
	for kv != nil && !it.sees(kv.Trailer) && bytes.Equal(kv.Key, it.keyCopy) {
		kv = it.merged.Next()
	}
	if kv == nil || !bytes.Equal(kv.Key, it.keyCopy) {
		if it.fail() == nil {
			it.broken(base.Corruptf("database", -1, "key %q was there going backward and is not going forward", it.keyCopy))
		}
		return nil
	}
	if _, ok := it.merge(kv); !ok {
		return nil
	}
	return it.merged.SeekLT(it.keyCopy)
}

// newest walks back over the versions of the key in keyCopy, keeping a copy of
// the newest visible one in trailer and value (trailer is zero when there is
// none, or none that no range tombstone covers), and returns the entry before
// that key.
func (it *Iter) newest(kv *base.KV) *base.KV {
	it.trailer = 0
	for steps := 0; kv != nil && bytes.Equal(kv.Key, it.keyCopy); steps++ {
		if !it.sees(kv.Trailer) {
			if it.seek != base.SeekTrailer(it.seq) {
				kv = it.merged.Prev() // there may be own writes beyond it
				continue
			}
			// What comes before is newer still.
			return it.merged.SeekLT(it.keyCopy)
		}
		if steps > seekAfter {
			kv = it.merged.SeekGE(it.keyCopy, it.seek)
			if kv != nil && !it.sees(kv.Trailer) && bytes.Equal(kv.Key, it.keyCopy) {
				kv = it.merged.SeekGE(it.keyCopy, base.SeekTrailer(it.seq)) // no own write here
			}
			if kv == nil && it.fail() != nil {
				it.trailer = 0 // an older version must not stand in for it
				return nil
			}
			if kv != nil && bytes.Equal(kv.Key, it.keyCopy) {
				it.keep(kv)
			}
			return it.merged.SeekLT(it.keyCopy)
		}
		it.keep(kv)
		kv = it.merged.Prev()
	}
	return kv
}

// keep makes a copy of an entry, unless it is covered: then nothing that is
// older counts either.
func (it *Iter) keep(kv *base.KV) {
	if len(it.ranges) > 0 && it.covered(kv) {
		it.trailer = 0
		return
	}
	it.trailer = kv.Trailer
	if !it.keysOnly || kv.Trailer.Kind().Expires() {
		it.value = append(it.value[:0], kv.Value...)
	}
}
