package dbiter

import "github.com/seerdb-go/seerdb/internal/base"

// What a move shows: the cursor goes to the next live key, one way, and the Iter shows what
// it comes to.

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

// scan shows the first live key from kv on. While skipping, versions of the key in keyCopy
// are passed over.
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

// showBack shows the last live key from kv, the oldest version of some key, on backward,
// and leaves merged before that key.
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

// broken ends the walk.
func (it *Iter) broken(err error) {
	it.err, it.cur, it.valid = err, nil, false
}
