package cache

// State is the outcome of Acquire.
type State uint8

// The states of a handle from Acquire.
const (
	Hit  State = iota // the bytes are the page
	Fill              // the caller fills the bytes, then calls Publish or Abort
)

// Acquire pins the page k of size bytes.
//
// On Hit the handle's bytes are the page. On Fill they are the caller's alone
// and have arbitrary contents: the caller fills them and calls Publish, after
// which the handle reads like a Hit, or it calls Abort. Until then other
// callers that acquire k wait; after an Abort one of them gets Fill. So every
// fill must end, and a goroutine that fills k must not acquire k again before
// that.
//
// A page's size never changes; if size is not that of the cached page, Acquire
// returns a private buffer to fill. scan marks a page that is read in passing:
// it is among the first to be evicted, and finding it again in a scan does not
// change that.
func (c *Cache) Acquire(k Key, size int, scan bool) (Handle, State) {
	h := k.hash()
	if f, b := c.findAndPin(k, h, !scan); f != nil {
		if len(b) == size {
			return Handle{c: c, f: f, b: b}, Hit
		}
		f.state.Add(^uint64(0))
	}
	return c.acquireSlow(k, h, size, scan)
}

func (c *Cache) acquireSlow(k Key, h uint64, size int, scan bool) (Handle, State) {
	if len(c.regions) == 0 {
		return c.privateHandle(size), Fill
	}
	c.mu.Lock()
	for f := c.find(k, h); f != nil; f = c.find(k, h) {
		if f.size() != size {
			break
		}
		if b := c.pin(f, k, !scan); b != nil {
			c.mu.Unlock()
			return Handle{c: c, f: f, b: b}, Hit
		}
		s := f.state.Load()
		if s&ready != 0 && s&pinMask == pinMax {
			break
		}
		if s&filling != 0 && f.state.CompareAndSwap(s, s|waiting) {
			c.wait(f)
		}
	}
	var f *frame
	if c.find(k, h) == nil {
		f = c.slot(size, h, scan)
	}
	if f == nil {
		c.unlockAndDiscard()
		return c.privateHandle(size), Fill
	}
	f.file.Store(k.File)
	f.off.Store(k.Off)
	f.place.Store(uint64(size)<<32 | uint64(uint32(f.place.Load())))
	f.state.Store(f.state.Load()&^(generation-1) | filling | pinOne)
	c.enter(f)
	c.linkFile(f)
	c.count.misses++
	c.count.inserts++
	c.count.pages++
	c.count.bytes += int64(size)
	c.clock += int64(size)
	c.unlockAndDiscard()
	return Handle{c: c, f: f, b: c.bytes(f)}, Fill
}
