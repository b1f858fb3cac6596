package cache

// findAndPin looks for k without a lock. It returns the frame that holds k,
// pinned, and the page, or nil.
func (c *Cache) findAndPin(k Key, h uint64, heats bool) (*frame, []byte) {
	t := c.index.Load()
	tag := uint32(h)
	// The bound matters only if every bucket has a count, after many removals
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

// find looks for k under the lock, which makes its answer authoritative. It
// returns the frame that holds k, ready or filling. Called with mu held.
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

// enter adds f to the index under its key. Called with mu held.
//
// The table doubles when it is full. Readers may still use the old one: they
// check what they find there against the frame, as always. The collector frees
// the old table when the last of them is done.
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
