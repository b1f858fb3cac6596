package dbiter

import "github.com/seerdb-go/seerdb/internal/base"

// meaning is what an entry means for its key, or why there is no entry.
type meaning uint8

const (
	deleted meaning = iota // a point tombstone
	expired                // a value whose expiry has passed
	covered                // a range tombstone deletes the entry
	shown                  // a value
	operand                // a merge operand
	ended                  // no such entry
	failed                 // unknown; err has the reason
)

// dead reports whether m means that the key has no value.
func (m meaning) dead() bool { return m <= covered }

// judge returns the meaning of kv, an entry that the cursor sees; order is that of its
// source.
func (c *cursor) judge(kv *base.KV, order int) meaning {
	if len(c.ranges) > 0 {
		switch isCovered := c.covered(kv, order); {
		case c.err != nil:
			return failed
		case isCovered:
			return covered
		}
	}
	switch kind := kv.Trailer.Kind(); kind {
	case base.KindPut, base.KindPutPointer:
		return shown
	case base.KindDelete, base.KindSingleDelete:
		return deleted
	case base.KindMerge:
		return operand
	case base.KindPutTTL, base.KindPutTTLPointer:
		expiry, _, err := base.SplitExpiry(kv.Value)
		switch {
		case err != nil:
			c.err = err
		case expiry <= c.time:
			return expired
		default:
			return shown
		}
	default:
		c.err = base.UnknownKind(kind)
	}
	c.env.Store.Damaged(c.err)
	return failed
}
