package dbiter

import "github.com/seerdb-go/seerdb/internal/base"

// meaning is what an entry says of its key, or why there is none.
type meaning uint8

const (
	deleted meaning = iota // there is no value
	expired                // its time is over
	covered                // a range tombstone deletes it
	shown                  // there is a value
	operand                // there is one, to be merged
	ended                  // there is no such entry
	failed                 // err says why it cannot be told
)

// dead reports whether an entry says that its key is not there.
func (m meaning) dead() bool { return m <= covered }

// judge says what kv means, an entry that the cursor sees; order is that of its source.
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
