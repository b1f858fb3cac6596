package cache

import "testing"

// check holds the cache's structure to its rules. No other goroutine may use c.
func (c *Cache) check(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	inQueue := c.checkQueues(t)
	c.checkSlabs(t, inQueue)
	c.checkIndex(t, inQueue)
	if len(c.waiters) != 0 {
		t.Fatalf("%d waiters", len(c.waiters))
	}
}

// checkQueues: each queue is linked both ways and as long as it says; a free
// frame is in a free queue, any other in small or main.
func (c *Cache) checkQueues(t testing.TB) map[frameID]queueName {
	t.Helper()
	in := map[frameID]queueName{}
	for ci := range c.classes {
		cl := &c.classes[ci]
		for name, q := range map[queueName]*queue{queueFree: &cl.free, queueSmall: &cl.small, queueMain: &cl.main} {
			n, prev := 0, frameID(0)
			for id := q.head; id != 0; id = c.frame(id).next {
				f := c.frame(id)
				s := f.state.Load()
				if f.prev != prev || f.queue != name || int(f.class) != ci || in[id] != queueNone {
					t.Fatalf("frame %d of class %d is badly linked", id, ci)
				}
				if busy := s&(ready|filling) != 0; busy == (name == queueFree) {
					t.Fatalf("frame %d in queue %d has state %x", id, name, s)
				}
				in[id] = name
				prev = id
				n++
			}
			if q.tail != prev || q.len != n {
				t.Fatalf("class %d queue %d: length %d, found %d", ci, name, q.len, n)
			}
		}
	}
	spare := 0
	for id := c.spare; id != 0; id = c.frame(id).next {
		if f := c.frame(id); f.queue != queueNone || in[id] != queueNone || f.state.Load()&(ready|filling|pinMask) != 0 {
			t.Fatalf("spare frame %d is in use", id)
		}
		spare++
	}
	if want := max(c.frames-1, 0); spare+len(in) != want {
		t.Fatalf("%d frames spare, %d in queues, %d made", spare, len(in), want)
	}
	return in
}

// checkSlabs: every slab is in one class or one list; slots do not overlap; the
// bytes used are what the parts sum up to.
func (c *Cache) checkSlabs(t testing.TB, in map[frameID]queueName) {
	t.Helper()
	used := c.index.Load().bytes() + int64(len(c.chunks))*8 + int64(len(c.ghosts))*16 + int64(c.frames)*frameBytes
	perClass := make([]int, len(c.classes))
	slots := 0
	for s := range c.slabs {
		sl := &c.slabs[s]
		if sl.class < 0 {
			continue
		}
		perClass[sl.class]++
		used += int64(c.slabSize)
		if len(sl.frames) != c.classes[sl.class].perSlab {
			t.Fatalf("slab %d has %d frames", s, len(sl.frames))
		}
		for i, id := range sl.frames {
			f := c.frame(id)
			at := int64(uint32(f.place.Load())) * slotAlign
			if want := int64(s)*int64(c.slabSize) + int64(i*c.classes[sl.class].slot); at != want || int(f.slab) != s || int(f.class) != sl.class {
				t.Fatalf("frame %d is at %d, want %d", id, at, want)
			}
			if in[id] != queueFree && f.size() > c.classes[sl.class].slot {
				t.Fatalf("frame %d holds %d bytes in a slot of %d", id, f.size(), c.classes[sl.class].slot)
			}
			slots++
		}
	}
	for ci, n := range perClass {
		if c.classes[ci].slabs != n {
			t.Fatalf("class %d has %d slabs, found %d", ci, c.classes[ci].slabs, n)
		}
	}
	for _, b := range c.large {
		used += int64(len(b))
	}
	if slots+len(c.large) != len(in) || used != c.used.Load() {
		t.Fatalf("%d slots and %d large for %d frames; %d bytes used, found %d", slots, len(c.large), len(in), c.used.Load(), used)
	}
	for _, s := range append(append([]uint32(nil), c.dirty...), c.clean...) {
		if c.slabs[s].class >= 0 {
			t.Fatalf("slab %d is both free and used", s)
		}
		perClass = append(perClass, 0)
	}
	if len(c.slabs) > c.maxSlabs {
		t.Fatal("too many slabs")
	}
}

// checkIndex: exactly the pages held can be found, and each is listed once
// under its file.
func (c *Cache) checkIndex(t testing.TB, in map[frameID]queueName) {
	t.Helper()
	pages, bytes := 0, int64(0)
	for id, q := range in {
		if q == queueFree {
			continue
		}
		f := c.frame(id)
		if c.find(f.key(), f.key().hash()) != f {
			t.Fatalf("frame %d with key %v is not found", id, f.key())
		}
		pages++
		bytes += int64(f.size())
	}
	x := c.index.Load()
	entries := 0
	passed := make([]uint64, len(x.buckets))
	for i := range x.buckets {
		for j := range bucketEntries {
			if e := x.buckets[i][j].Load(); e != 0 {
				entries++
				home := c.frame(frameID(e)).key().hash() >> 32 & x.mask
				for b := home; b != uint64(i); b = (b + 1) & x.mask {
					passed[b]++
				}
			}
		}
	}
	for i, n := range passed {
		if got := x.buckets[i][bucketEntries].Load(); got != n {
			t.Fatalf("bucket %d says that %d entries passed, found %d", i, got, n)
		}
	}
	listed := 0
	for file, id := range c.files {
		for prev := frameID(0); id != 0; id = c.frame(id).fileNext {
			if f := c.frame(id); f.file.Load() != file || f.filePrev != prev {
				t.Fatalf("frame %d is badly linked in file %d", id, file)
			}
			prev = id
			listed++
		}
	}
	if entries != pages || x.entries != pages || listed != pages || c.count.pages != pages || c.count.bytes != bytes {
		t.Fatalf("%d pages, %d entries (%d said), %d listed, counted %d", pages, entries, x.entries, listed, c.count.pages)
	}
}
