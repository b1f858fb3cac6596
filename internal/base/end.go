package base

import "bytes"

// Bound says whether the key at the end of a range belongs to it. The values
// are part of the format.
type Bound uint8

// The bounds.
const (
	BoundInclusive Bound = iota
	BoundExclusive
	// BoundNone is a range without an end: it goes on to the last key.
	BoundNone
)

// End is where a range of user keys ends.
type End struct {
	Key   []byte
	Bound Bound
}

// NoEnd is the end of a range that has none.
var NoEnd = End{Bound: BoundNone}

// EndAt returns the end of a range of keys < key. An empty or nil key means no
// end, since no key is less than the empty one.
func EndAt(key []byte) End {
	if len(key) == 0 {
		return NoEnd
	}
	return End{key, BoundExclusive}
}

// Before reports whether every key of a range with this end is < key.
func (e End) Before(key []byte) bool {
	switch e.Bound {
	case BoundInclusive:
		return bytes.Compare(e.Key, key) < 0
	case BoundExclusive:
		return bytes.Compare(e.Key, key) <= 0
	}
	return false
}

// Compare orders ends: a range that excludes its last key comes before one that
// includes it, and a range without an end comes last.
func (e End) Compare(o End) int {
	if e.Bound == BoundNone || o.Bound == BoundNone {
		switch {
		case e.Bound == o.Bound:
			return 0
		case o.Bound == BoundNone:
			return -1
		}
		return 1
	}
	if c := bytes.Compare(e.Key, o.Key); c != 0 {
		return c
	}
	return int(o.Bound) - int(e.Bound)
}
