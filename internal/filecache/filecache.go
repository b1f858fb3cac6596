// Package filecache keeps a bounded number of files open. A File can be read at
// any time: it is opened when it is read, and closed again when another one
// needs its descriptor.
//
// # Terms
//
//   - slot: the right to have one file open. There are as many as the limit.
//   - idle: open, and no read is under way. Only an idle file gives up its slot.
//   - refused: an open failed because the system had no descriptor left
//     (EMFILE, ENFILE).
//
// # How files take turns
//
// Open files form a ring. A hand goes round it: it passes over files that were
// read since it last passed, and closes the first idle file that was not
// (CLOCK, the second chance). A read of an open file takes no lock: it counts
// itself in the file's state by one compare-and-swap, and the hand closes a
// file only by a swap of a state without reads. A read that finds no slot and
// no idle file waits until another read ends. It cannot wait for ever: a read
// holds one slot, and waits for none while it holds it.
//
// When the system refuses a descriptor, to this package or to a file opened
// through FS, the cache closes half of its open files, lowers the limit to the
// rest, and tries the open again. The limit doubles every growAfter without
// another refusal, up to what it was.
package filecache

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/vfs"
)

// growAfter is how long the system must have refused nothing before the limit
// doubles. Taking the last descriptors of a process makes other parts of it
// fail, so the cache tries rarely.
const growAfter = 10 * time.Second

// Cache holds the open files. It is safe for concurrent use.
type Cache struct {
	max     int              // immutable
	now     func() time.Time // immutable; tests replace it
	waiting atomic.Int32     // goroutines in changed.Wait
	freed   atomic.Uint64    // descriptors given back to the system; added to under mu

	mu      sync.Mutex
	changed sync.Cond // a slot was freed, or a file became idle while some goroutine waits
	limit   int       // guarded by mu; 1..max
	slots   int       // guarded by mu; in use by files in the ring and files being opened
	stuck   int       // guarded by mu; slots of openers that were refused and wait
	hand    *File     // guarded by mu; the next file to examine, or nil
	open    int       // guarded by mu; files in the ring
	refusal time.Time // guarded by mu; when the system last refused
	count   counters  // guarded by mu
}

type counters struct{ opens, closes, refusals uint64 }

// New returns a cache that keeps at most limit files open, and at least one.
func New(limit int) *Cache {
	c := &Cache{max: max(limit, 1), now: time.Now}
	c.limit = c.max
	c.changed.L = &c.mu
	return c
}

// Stats are the figures of a cache.
type Stats struct {
	Open     int    // files open now
	Limit    int    // files that may be open now
	Max      int    // the Limit while the system refuses nothing
	Opens    uint64 // files opened
	Closes   uint64 // files closed to make room for others
	Refusals uint64 // opens that the system refused for lack of descriptors
	Refused  bool   // an open was refused lately, or Limit is still below Max after one
}

// Stats returns the figures.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grow()
	return Stats{
		Open: c.open, Limit: c.limit, Max: c.max, Opens: c.count.opens, Closes: c.count.closes, Refusals: c.count.refusals,
		Refused: c.limit < c.max || c.now().Sub(c.refusal) < growAfter,
	}
}

// grow raises the limit if the system has refused nothing for growAfter. The
// caller holds mu.
func (c *Cache) grow() {
	for c.limit < c.max && c.now().Sub(c.refusal) >= growAfter {
		c.limit = min(2*c.limit, c.max)
		c.refusal = c.refusal.Add(growAfter)
	}
}

// take takes a slot. If none is free it closes an idle file, or waits.
func (c *Cache) take() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grow()
	for c.slots >= c.limit {
		if !c.closeIdle() {
			c.wait()
		}
	}
	c.slots++
}

// give returns a slot. The caller holds mu.
func (c *Cache) give() {
	c.slots--
	c.changed.Broadcast()
}

// wait sleeps until something changes. The caller holds mu.
func (c *Cache) wait() {
	c.waiting.Add(1)
	// A read that ends from now on sees waiting, and takes mu to wake this
	// goroutine; one that ended before left an idle file.
	if !c.hasIdle() {
		c.changed.Wait()
	}
	c.waiting.Add(-1)
}

// hasIdle reports whether a file can be closed. The caller holds mu.
func (c *Cache) hasIdle() bool {
	f := c.hand
	for range c.open {
		if f.state.Load()&reads == 0 {
			return true
		}
		f = f.next
	}
	return false
}

// closeIdle closes the first idle file that the hand finds, and reports whether
// there was one. The caller holds mu, which is released while the file is
// closed.
func (c *Cache) closeIdle() bool {
	for range 2 * c.open { // one round clears the recent bits, one closes
		f := c.hand
		c.hand = f.next
		s := f.state.Load()
		switch {
		case s&reads != 0:
		case s&recent != 0:
			f.state.CompareAndSwap(s, s&^recent)
		case f.state.CompareAndSwap(s, 0):
			file := c.unlink(f)
			c.count.closes++
			c.mu.Unlock()
			_ = file.Close() // it was only read: nothing can be lost
			c.mu.Lock()
			c.freed.Add(1)
			c.give()
			return true
		}
	}
	return false
}

// link puts an open file behind the hand. The caller holds mu.
func (c *Cache) link(f *File) {
	if c.hand == nil {
		f.next, f.prev = f, f
		c.hand = f
	} else {
		f.next, f.prev = c.hand, c.hand.prev
		f.prev.next, f.next.prev = f, f
	}
	c.open++
	c.count.opens++
}

// unlink removes a file from the ring. The caller holds mu, and has cleared
// opened in the file's state.
func (c *Cache) unlink(f *File) vfs.File {
	if c.open--; c.open == 0 {
		c.hand = nil
	} else {
		f.prev.next, f.next.prev = f.next, f.prev
		if c.hand == f {
			c.hand = f.next
		}
	}
	f.next, f.prev = nil, nil
	file := f.file
	f.file = nil
	return file
}

// retry calls open until the system does not refuse it for lack of descriptors,
// and closes open files before each new attempt. slots is how many the caller
// has. It returns the last error.
func (c *Cache) retry(slots int, open func() error) error {
	for {
		before := c.freed.Load()
		err := open()
		if err == nil || !vfs.IsTooManyFiles(err) || !c.shrink(slots, before) {
			return err
		}
	}
}

// shrink closes half of the open files after the system refused one more, and
// lowers the limit to the rest. If all of them are being read, it waits until
// freed exceeds before: the missing descriptor may have been on its way back
// when the system refused, whichever goroutine gave it back. It returns false
// when there is nothing left to close. slots is how many the caller has.
func (c *Cache) shrink(slots int, before uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count.refusals++
	c.refusal = c.now()
	target := min(c.limit, c.slots-slots) / 2
	c.limit = max(target, 1)
	c.stuck += slots
	defer func() { c.stuck -= slots }()
	for ; ; c.wait() {
		for (c.freed.Load() == before || c.open > target) && c.closeIdle() {
		}
		if c.freed.Load() != before {
			return true
		}
		if c.slots == c.stuck {
			c.changed.Broadcast() // other openers that wait for this one are stuck too
			return false
		}
	}
}
