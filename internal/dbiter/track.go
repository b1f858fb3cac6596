package dbiter

import "github.com/seerdb-go/seerdb/internal/txn"

// An iterator of a serializable transaction notes how far it went, so that
// phantoms are noticed: package txn has the trail.

// tracking is how far an iterator of a transaction went.
type tracking struct {
	tracked bool          // moves are noted in walk
	walk    txn.ReadRange // what was read
	from    []byte        // where a tracked move began
}

// Track makes every move from now on enter a set.
func (it *Iter) Track(s *txn.ReadSet) {
	it.walk.Start(s, it.k.ID())
	it.tracked = true
}

// ahead makes a tracked move to the first key at or after from.
func (it *Iter) ahead(from []byte, move func() bool) bool {
	it.from = append(it.from[:0], from...)
	it.tracked = false
	ok := move()
	it.tracked = true
	return it.noted(ok, it.walk.Forward(it.from, it.Key(), ok, it.upper))
}

// back makes a tracked move to the last key before from, or at all.
func (it *Iter) back(from []byte, fromEnd bool, move func() bool) bool {
	it.from = copyKey(it.from, from)
	if from = it.from; fromEnd {
		from = nil
	}
	it.tracked = false
	ok := move()
	it.tracked = true
	return it.noted(ok, it.walk.Backward(from, it.Key(), ok, it.lower))
}

// noted ends the walk if the trail could not be kept.
func (it *Iter) noted(ok bool, err error) bool {
	if err != nil {
		it.broken(err)
		return false
	}
	return ok
}
