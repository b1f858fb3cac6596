package dbiter

import "github.com/seerdb-go/seerdb/internal/txn"

// An iterator of a serializable transaction records the key ranges that it reads, so that
// Commit notices phantoms: package txn checks them.

// tracking is the key ranges that an iterator of a transaction has read.
type tracking struct {
	tracked bool          // moves are recorded in walk
	walk    txn.ReadRange // the ranges read
	from    []byte        // start of a tracked move
}

// Track makes every later move record the keys it reads in a set.
func (it *Iter) Track(s *txn.ReadSet) {
	it.walk.Start(s, it.k.ID())
	it.tracked = true
}

// ahead makes a tracked forward move, to the first key at or after from.
func (it *Iter) ahead(from []byte, move func() bool) bool {
	it.from = append(it.from[:0], from...)
	it.tracked = false
	ok := move()
	it.tracked = true
	return it.noted(ok, it.walk.Forward(it.from, it.Key(), ok, it.upper))
}

// back makes a tracked backward move, to the last key before from, or to the last key if
// fromEnd.
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

// noted ends the iteration if the move could not be recorded.
func (it *Iter) noted(ok bool, err error) bool {
	if err != nil {
		it.broken(err)
		return false
	}
	return ok
}
