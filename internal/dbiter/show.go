package dbiter

import "github.com/seerdb-go/seerdb/internal/base"

// This file holds what a move shows: the cursor finds the next live key in one direction,
// and the Iter shows it.

// show shows the first live key from kv on.
func (it *Iter) show(kv *base.KV) bool {
	it.forward = true
	return it.scan(kv, false)
}

// showAfter is like show, but skips what remains of the key in keyCopy.
func (it *Iter) showAfter(kv *base.KV) bool {
	it.forward, it.isCopy = true, false
	return it.scan(kv, true)
}

// scan shows the first live key from kv on. If skipping, it passes over versions of the key
// in keyCopy.
func (it *Iter) scan(kv *base.KV, skipping bool) bool {
	what := it.cursor.nextLive(kv, skipping)
	if it.longRun() {
		it.noteDead(what != ended)
	}
	switch what {
	case shown:
		it.valid = true
		return true
	case operand:
		return it.showMerged()
	}
	it.cur, it.valid = nil, false
	if len(it.keyCopy) == 0 {
		it.keyCopy = append(it.keyCopy, 0) // positioned: Next stays at the end
	}
	return false
}

// showBack shows the last live key before or at kv, the oldest version of some key, and
// leaves merged before the key shown.
func (it *Iter) showBack(kv *base.KV) bool {
	it.forward, it.cur, it.valid, it.isCopy = false, nil, false, true
	before, what := it.cursor.prevLive(kv)
	if it.longRun() {
		it.noteDeadBack(what != ended)
	}
	switch what {
	case shown:
		it.next, it.valid = before, true
	case operand:
		it.valid = it.mergeBack()
	}
	return it.valid
}

// broken ends the iteration with err.
func (it *Iter) broken(err error) {
	it.err, it.cur, it.valid = err, nil, false
}
