package dbiter

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
)

// cursor is the layer under an Iter: it goes over the entries of the sources from live key
// to live key, past older versions, dead keys, and what its moment does not see. What is
// shown of a live key is for the Iter.
type cursor struct {
	env *Env
	moment
	limits
	sources

	cur     *base.KV     // forward: the entry where it stands, or nil
	next    *base.KV     // what merged stands on, if that is behind the key of a copy
	keyCopy []byte       // the key of a copy, or the last key left
	trailer base.Trailer // of the copy
	value   []byte       // its stored value
	order   int          // of the source where it was found going backward
	dead    deadRun      // dead keys that the last move passed
	target  []byte       // what a seek looks for
	err     error
}

// seekAfter is how many versions of one key are stepped over before seeking
// past the rest.
const seekAfter = 8

// nextLive goes forward from kv to the newest visible entry of a live key, which becomes
// cur, and says what it means. While skipping, versions of the key in keyCopy are passed
// over.
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

// older goes forward to the next older entry of the key in keyCopy that is visible, which
// becomes next, and says what it means: ended if next is behind the key.
func (c *cursor) older() meaning { return c.version(c.merged.Next()) }

// newest goes to the newest visible entry of the key, as older does.
func (c *cursor) newest() meaning { return c.version(c.merged.SeekGE(c.keyCopy, c.seek)) }

// version makes next the first visible entry of the key from kv on, or what is behind it.
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

// visible goes forward from kv, if that is an entry of the key in keyCopy, to one that is
// seen: between what a transaction wrote itself and what its snapshot shows lie the commits
// since. It reports whether the key has one.
func (c *cursor) visible(kv *base.KV) (*base.KV, bool) {
	if kv != nil && !c.sees(kv.Trailer) && bytes.Equal(kv.Key, c.keyCopy) {
		kv = c.merged.SeekGE(c.keyCopy, c.top)
	}
	return kv, kv != nil && bytes.Equal(kv.Key, c.keyCopy)
}

// prevLive goes backward from kv, the oldest entry of some key, to a live key, makes a copy
// of its newest visible entry, and says what that means. It returns the entry before the
// key, where merged stands.
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
			return nil, failed // there may be a newer entry than the one that was kept
		}
		if c.trailer == 0 {
			continue // none is seen
		}
		what := c.judge(&base.KV{Key: c.keyCopy, Trailer: c.trailer, Value: c.value}, c.order)
		switch {
		case !what.dead():
			return kv, what
		case what != covered: // else its oldest entry was too, and has been counted
			c.pass(c.keyCopy, what)
		}
	}
	return nil, c.end()
}

// keepNewest goes backward over the entries of the key in keyCopy, keeping a copy of the
// newest visible one (trailer is zero if there is none), and returns the entry before that
// key.
func (c *cursor) keepNewest(kv *base.KV) *base.KV {
	c.trailer = 0
	for steps := 0; kv != nil && bytes.Equal(kv.Key, c.keyCopy); steps++ {
		switch {
		case !c.sees(kv.Trailer) && !c.withOwn: // what comes before is newer still
			return c.merged.SeekLT(c.keyCopy)
		case !c.sees(kv.Trailer): // there may be own writes beyond it
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

// keep makes a copy of the entry kv, which merged stands on.
func (c *cursor) keep(kv *base.KV) {
	c.trailer, c.order = kv.Trailer, c.merged.Order()
	if !c.keysOnly || kv.Trailer.Kind().Expires() {
		c.value = append(c.value[:0], kv.Value...)
	}
}

// end is ended, or failed if a source did.
func (c *cursor) end() meaning {
	if c.fail() != nil {
		return failed
	}
	return ended
}

// fail picks up an error of the sources.
func (c *cursor) fail() error {
	if err := c.merged.Err(); err != nil {
		c.err = err
		c.env.Store.Damaged(err)
	}
	return c.err
}
