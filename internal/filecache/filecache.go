// Package filecache keeps a bounded number of files open. A File is a name that
// can be read at any time: it is opened when it is read, and closed again when
// another one needs its descriptor.
//
// # Terms
//
//   - slot: the right to have one file open. There are as many as the limit.
//   - idle: open, and no read is under way. Only an idle file gives up its slot.
//   - refused: the operating system had no descriptor left (EMFILE, ENFILE).
//
// # How files take turns
//
// Open files stand in a ring. A hand goes round it: it passes over files that
// were read since it last came by, and closes the first idle one that was not
// (CLOCK, the second chance). A read of an open file takes no lock: it counts
// itself in the file's state by one compare-and-swap, and the hand closes a file
// only by a swap of a state without reads. A read that finds no slot and no
// idle file waits until another read ends. It cannot wait for ever: a read holds
// one slot, and waits for none while it holds it.
//
// When the system refuses a descriptor, to this package or to what is opened
// beside it (see FS), half of the open files are closed, the limit falls to
// what is left, and the open is tried again. The limit comes back, doubled every
// growAfter without another refusal.
package filecache

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/vfs"
)

// growAfter is how long the system must have refused nothing for the limit to
// double. Asking for the last descriptors of a process makes other parts of it
// fail, so it is done rarely.
const growAfter = 10 * time.Second

// Cache holds the open files. It is safe for concurrent use.
type Cache struct {
	max     int              // immutable
	now     func() time.Time // immutable; tests replace it
	waiting atomic.Int32     // goroutines in changed.Wait
	freed   atomic.Uint64    // descriptors given back to the system; added to under mu

	mu      sync.Mutex
	changed sync.Cond // a slot came free, or a file became idle while some goroutine waits
	limit   int       // guarded by mu; 1..max
	slots   int       // guarded by mu; taken: by files in the ring, and files being opened
	stuck   int       // guarded by mu; of these, openers that were refused and wait
	hand    *File     // guarded by mu; the next file to look at, or nil
	open    int       // guarded by mu; files in the ring
	refusal time.Time // guarded by mu; when the system last refused
	count   counters  // guarded by mu
}

type counters struct{ opens, closes, refusals uint64 }

// New makes a cache that keeps at most limit files open, and at least one.
func New(limit int) *Cache {
	c := &Cache{max: max(limit, 1), now: time.Now}
	c.limit = c.max
	c.changed.L = &c.mu
	return c
}

// Stats is what the cache holds and has done.
type Stats struct {
	Open     int    // files open now
	Limit    int    // files that may be open now
	Max      int    // what Limit is when the system refuses nothing
	Opens    uint64 // files opened
	Closes   uint64 // files closed to make room for others
	Refusals uint64 // opens that the system refused for lack of descriptors
	Refused  bool   // one of them lately, or Limit is below Max for it
}

// Stats counts.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grow()
	return Stats{
		Open: c.open, Limit: c.limit, Max: c.max, Opens: c.count.opens, Closes: c.count.closes, Refusals: c.count.refusals,
		Refused: c.limit < c.max || c.now().Sub(c.refusal) < growAfter,
	}
}

// grow raises the limit again if the system has refused nothing for long. The
// caller holds mu.
func (c *Cache) grow() {
	for c.limit < c.max && c.now().Sub(c.refusal) >= growAfter {
		c.limit = min(2*c.limit, c.max)
		c.refusal = c.refusal.Add(growAfter)
	}
}

// take gets a slot, by closing an idle file or by waiting if there is none.
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

// wait sleeps until something changed. The caller holds mu.
func (c *Cache) wait() {
	c.waiting.Add(1)
	// A read that ends now sees waiting, and takes mu to wake us; one that
	// ended before left an idle file behind.
	if !c.hasIdle() {
		c.changed.Wait()
	}
	c.waiting.Add(-1)
}

// hasIdle reports whether a file could be closed. The caller holds mu.
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

// closeIdle closes the file that the hand finds, and reports whether there was
// one. The caller holds mu, which is let go while the file is closed.
func (c *Cache) closeIdle() bool {
	for range 2 * c.open { // a round that cools, and one that closes
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

// unlink takes a file out of the ring. The caller holds mu, and has made the
// file's state say that it is closed.
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
// giving up open files each time. slots is how many the caller has. The error
// is that of the last call.
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
// lowers the limit to what is left. It waits if all are being read, until a
// descriptor was given back, by whatever goroutine, since freed was before: the
// one that was missing may have been on its way back when the system refused. It
// is false when there is nothing left to give. slots is how many the caller has.
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
			c.changed.Broadcast() // others that wait for this one are as stuck
			return false
		}
	}
}
