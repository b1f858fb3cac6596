package cache

import "sync/atomic"

// table maps a key's hash to a frame number: buckets of one cache line, seven
// entries and a count each, with linear probing from bucket to bucket. An
// entry is tag<<32 | frame number, or 0.
//
// The count of a bucket is how many entries passed over it because it was full
// when they came; a lookup goes on to the next bucket only while it is above
// zero. Entries never move, so readers need no lock: they may miss an entry
// that is being added, and they may find one whose frame has changed hands,
// which the frame's key tells.
type table struct {
	mask    uint64 // number of buckets - 1; immutable
	buckets []bucket
	entries int // guarded by mu
}

const bucketEntries = 7

type bucket [bucketEntries + 1]atomic.Uint64

const bucketBytes = 64

func newTable(buckets int) *table {
	return &table{mask: uint64(buckets - 1), buckets: make([]bucket, buckets)}
}

func (t *table) bytes() int64 { return int64(len(t.buckets)) * bucketBytes }

// full says that it is time for a larger table: at seven tenths, about one
// lookup in ten goes on to a second bucket.
func (t *table) full() bool { return t.entries*10 >= len(t.buckets)*bucketEntries*7 }

// findAndPin is the lock-free lookup: the frame that holds k, pinned, and the
// page; or nil.
func (c *Cache) findAndPin(k Key, h uint64, heats bool) (*frame, []byte) {
	t := c.index.Load()
	tag := uint32(h)
	// The bound matters only when every bucket has a count: after many removals
	// from a table that was once nearly full.
	for i, end := h>>32, h>>32+t.mask; i <= end; i++ {
		b := &t.buckets[i&t.mask]
		for j := range bucketEntries {
			e := b[j].Load()
			if uint32(e>>32) == tag && e != 0 {
				f := c.frame(frameID(e))
				if b := c.pin(f, k, heats); b != nil {
					return f, b
				}
			}
		}
		if b[bucketEntries].Load() == 0 {
			break
		}
	}
	return nil, nil
}

// find is the authoritative lookup: the frame that holds k, ready or filling.
// Called with mu held.
func (c *Cache) find(k Key, h uint64) *frame {
	t := c.index.Load()
	for i, end := h>>32, h>>32+t.mask; i <= end; i++ {
		b := &t.buckets[i&t.mask]
		for j := range bucketEntries {
			e := b[j].Load()
			if uint32(e>>32) == uint32(h) && e != 0 {
				if f := c.frame(frameID(e)); f.key() == k {
					return f
				}
			}
		}
		if b[bucketEntries].Load() == 0 {
			break
		}
	}
	return nil
}

// add enters a frame number. Called with mu held.
func (t *table) add(h uint64, id frameID) {
	t.entries++
	for i := h >> 32 & t.mask; ; i = (i + 1) & t.mask {
		b := &t.buckets[i]
		for j := range bucketEntries {
			if b[j].Load() == 0 {
				b[j].Store(h<<32 | uint64(id))
				return
			}
		}
		b[bucketEntries].Add(1)
	}
}

// remove takes out what add entered. Called with mu held.
func (t *table) remove(h uint64, id frameID) {
	t.entries--
	for i := h >> 32 & t.mask; ; i = (i + 1) & t.mask {
		b := &t.buckets[i]
		for j := range bucketEntries {
			if b[j].Load() == h<<32|uint64(id) {
				b[j].Store(0)
				return
			}
		}
		b[bucketEntries].Add(^uint64(0))
	}
}

// enter makes f reachable under its key. Called with mu held.
//
// The table doubles when it is full. Readers may still be in the old one: what
// they find there is checked against the frame, as always, and the collector
// frees it when the last has left.
func (c *Cache) enter(f *frame) {
	t := c.index.Load()
	if t.full() {
		bigger := newTable(2 * len(t.buckets))
		for i := range t.buckets {
			for j := range bucketEntries {
				if e := t.buckets[i][j].Load(); e != 0 {
					bigger.add(c.frame(frameID(e)).key().hash(), frameID(e))
				}
			}
		}
		c.use(bigger.bytes() - t.bytes())
		c.index.Store(bigger)
		t = bigger
	}
	t.add(f.key().hash(), f.id)
}

func (f *frame) key() Key { return Key{File: f.file.Load(), Off: f.off.Load()} }
