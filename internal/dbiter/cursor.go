package dbiter

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
)

// cursor is the layer under an Iter. It moves over the entries of the sources from live key
// to live key and skips older versions, dead keys, and entries that its moment does not
// see. The Iter decides what to show of a live key.
type cursor struct {
	env *Env
	moment
	limits
	sources

	cur     *base.KV     // forward: the current entry, or nil
	next    *base.KV     // the entry that merged is at, if that is past the key of a copy
	keyCopy []byte       // the key of a copy, or the last key left
	trailer base.Trailer // of the copy
	value   []byte       // its stored value
	order   int          // of the source in which a backward move found it
	dead    deadRun      // the dead keys that the last move passed
	target  []byte       // the target of a seek
	err     error
}

// seekAfter is how many versions of one key a move steps over before it seeks past the
// rest.
const seekAfter = 8

// nextLive moves forward from kv to the newest visible entry of a live key, makes it cur,
// and returns its meaning. If skipping, it passes over versions of the key in keyCopy.
func (c *cursor) nextLive(kv *base.KV, skipping bool) meaning {
	steps := 0
	c.dead.reset()
	for kv != nil {
		if c.upper != nil && bytes.Compare(kv.Key, c.upper) >= 0 {
			break
		}
		switch {
		case !c.sees(kv.Trailer):
			if steps++; steps > seekAfter {
				steps = 0
				kv = c.merged.SeekGE(c.own(kv.Key), c.top)
				continue
			}
		case skipping && bytes.Equal(kv.Key, c.keyCopy):
			if steps++; steps > seekAfter {
				steps = 0
				kv = c.merged.SeekGE(c.keyCopy, 0)
				continue
			}
		default:
			what := c.judge(kv, c.merged.Order())
			if !what.dead() {
				c.cur = kv
				return what
			}
			c.pass(kv.Key, what)
			if what == covered {
				if next, jumped := c.jump(); jumped {
					kv = next
					continue
				}
			}
			c.keyCopy = append(c.keyCopy[:0], kv.Key...)
			skipping, steps = true, 0
		}
		kv = c.merged.Next()
	}
	return c.end()
}

// older moves forward to the next older visible entry of the key in keyCopy, makes it next,
// and returns its meaning: ended if next is past the key.
func (c *cursor) older() meaning { return c.version(c.merged.Next()) }

// newest moves to the newest visible entry of the key in keyCopy; otherwise it is like
// older.
func (c *cursor) newest() meaning { return c.version(c.merged.SeekGE(c.keyCopy, c.seek)) }

// version makes next the first visible entry of the key in keyCopy from kv on, or the entry
// past the key, and returns its meaning.
func (c *cursor) version(kv *base.KV) meaning {
	kv, ok := c.visible(kv)
	switch c.next = kv; {
	case ok:
		return c.judge(kv, c.merged.Order())
	case kv == nil:
		return c.end()
	}
	return ended
}

// visible returns the first visible entry from kv on of the key in keyCopy, and whether
// there is one; if kv is of another key, it returns kv. Between the own writes of a
// transaction and the entries that its snapshot sees, a key may have newer commits, which
// visible skips.
func (c *cursor) visible(kv *base.KV) (*base.KV, bool) {
	if kv != nil && !c.sees(kv.Trailer) && bytes.Equal(kv.Key, c.keyCopy) {
		kv = c.merged.SeekGE(c.keyCopy, c.top)
	}
	return kv, kv != nil && bytes.Equal(kv.Key, c.keyCopy)
}

// prevLive moves backward from kv, the oldest entry of a key, to a live key, copies its
// newest visible entry, and returns the meaning of that. It also returns the entry before
// the key, where merged is then.
func (c *cursor) prevLive(kv *base.KV) (*base.KV, meaning) {
	c.dead.reset()
	for kv != nil {
		if c.lower != nil && bytes.Compare(kv.Key, c.lower) < 0 {
			break
		}
		if len(c.ranges) > 0 && c.sees(kv.Trailer) && c.covered(kv, c.merged.Order()) {
			if c.err != nil {
				return nil, failed
			}
			c.pass(kv.Key, covered)
			if next, jumped := c.jumpBack(); jumped {
				kv = next
				continue
			}
		}
		c.keyCopy = append(c.keyCopy[:0], kv.Key...)
		if kv = c.keepNewest(kv); kv == nil && c.fail() != nil {
			return nil, failed // the key may have a newer entry than the one that was kept
		}
		if c.trailer == 0 {
			continue // no entry is visible
		}
		what := c.judge(&base.KV{Key: c.keyCopy, Trailer: c.trailer, Value: c.value}, c.order)
		switch {
		case !what.dead():
			return kv, what
		case what != covered: // if covered, so was its oldest entry, and the key has been counted
			c.pass(c.keyCopy, what)
		}
	}
	return nil, c.end()
}

// keepNewest moves backward over the entries of the key in keyCopy, keeps a copy of the
// newest visible one, and returns the entry before the key. If no entry is visible, trailer
// is zero.
func (c *cursor) keepNewest(kv *base.KV) *base.KV {
	c.trailer = 0
	for steps := 0; kv != nil && bytes.Equal(kv.Key, c.keyCopy); steps++ {
		switch {
		case !c.sees(kv.Trailer) && !c.withOwn: // the entries before are newer still
			return c.merged.SeekLT(c.keyCopy)
		case !c.sees(kv.Trailer): // there may be own writes before it
		case steps > seekAfter:
			if kv, ok := c.visible(c.merged.SeekGE(c.keyCopy, c.seek)); ok {
				c.keep(kv)
			} else if kv == nil && c.merged.Err() != nil {
				return nil
			}
			return c.merged.SeekLT(c.keyCopy)
		default:
			c.keep(kv)
		}
		kv = c.merged.Prev()
	}
	return kv
}

// keep copies the entry kv, which merged is at.
func (c *cursor) keep(kv *base.KV) {
	c.trailer, c.order = kv.Trailer, c.merged.Order()
	if !c.keysOnly || kv.Trailer.Kind().Expires() {
		c.value = append(c.value[:0], kv.Value...)
	}
}

// end returns ended, or failed if a source failed.
func (c *cursor) end() meaning {
	if c.fail() != nil {
		return failed
	}
	return ended
}

// fail returns the error of the sources, or nil, and stores and reports it.
func (c *cursor) fail() error {
	if err := c.merged.Err(); err != nil {
		c.err = err
		c.env.Store.Damaged(err)
	}
	return c.err
}
