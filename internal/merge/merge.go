package merge

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Iter merges its children. The zero value has none; Init sets them. It
// allocates only when it has more children than ever before.
type Iter struct {
	children []child // as listed; never moved between Init and Close
	heap     []*child
	second   int    // position in the heap of the best child but the top; 0 if there is none
	flip     uint64 // all ones when going backward: reverses the order of heads
	placed   bool   // positioned since Init
	skipped  bool   // a child has skipped entries that others have not reached
	err      error
}

// child is one of the merged iterators.
type child struct {
	head  uint64   // of kv.Key, flipped when going backward
	kv    *base.KV // its current entry; nil at an end
	iter  base.Iterator
	order int // position in the list
}

var _ base.Iterator = (*Iter)(nil)

const backward = ^uint64(0)

// New returns a merge of iterators. It returns a single one unchanged.
func New(iters ...base.Iterator) base.Iterator {
	if len(iters) == 1 {
		return iters[0]
	}
	i := new(Iter)
	i.Init(iters)
	return i
}

// Init makes i, which is new or closed, merge the iterators. Close closes them.
// Init does not keep the slice.
func (i *Iter) Init(iters []base.Iterator) {
	if cap(i.children) < len(iters) {
		i.children = make([]child, len(iters))
		i.heap = make([]*child, 0, len(iters))
	}
	i.children = i.children[:len(iters)]
	for n, it := range iters {
		i.children[n] = child{iter: it, order: n}
	}
	i.heap = i.heap[:0]
	i.placed, i.skipped, i.err = false, false, nil
}

// First lands on the first entry.
func (i *Iter) First() *base.KV {
	i.start(0)
	for n := range i.children {
		i.enter(&i.children[n], i.children[n].iter.First())
	}
	return i.arrange()
}

// Last lands on the last entry.
func (i *Iter) Last() *base.KV {
	i.start(backward)
	for n := range i.children {
		i.enter(&i.children[n], i.children[n].iter.Last())
	}
	return i.arrange()
}

// SeekGE lands on the first entry at or after (key, t).
func (i *Iter) SeekGE(key []byte, t base.Trailer) *base.KV {
	i.start(0)
	for n := range i.children {
		i.enter(&i.children[n], i.children[n].iter.SeekGE(key, t))
	}
	return i.arrange()
}

// SeekLT lands on the last entry whose user key is less than key.
func (i *Iter) SeekLT(key []byte) *base.KV {
	i.start(backward)
	for n := range i.children {
		i.enter(&i.children[n], i.children[n].iter.SeekLT(key))
	}
	return i.arrange()
}

// Next goes to the next entry.
func (i *Iter) Next() *base.KV {
	if len(i.heap) == 0 || i.flip != 0 {
		return i.turnForward()
	}
	top := i.heap[0]
	return i.replaceTop(top, top.iter.Next())
}

// Prev goes to the previous entry.
func (i *Iter) Prev() *base.KV {
	if len(i.heap) == 0 || i.flip == 0 {
		return i.turnBackward()
	}
	top := i.heap[0]
	return i.replaceTop(top, top.iter.Prev())
}

// Err returns the error that ended the walk, or nil.
func (i *Iter) Err() error { return i.err }

// Close closes the children.
func (i *Iter) Close() error {
	for n := range i.children {
		if err := i.children[n].iter.Close(); err != nil && i.err == nil {
			i.err = err
		}
	}
	clear(i.children)
	i.children = i.children[:0]
	clear(i.heap)
	i.heap = i.heap[:0]
	return i.err
}

// turnForward is Next when the current entry was not reached going forward.
// Every child stands at the last entry before those returned, so the next entry
// of each is the first after.
func (i *Iter) turnForward() *base.KV {
	switch {
	case !i.placed:
		return i.First()
	case i.err != nil, i.flip == 0: // at the end
		return nil
	}
	if i.skipped && len(i.heap) > 0 {
		return i.turnAfterSkip(0)
	}
	i.start(0)
	for n := range i.children {
		i.enter(&i.children[n], i.children[n].iter.Next())
	}
	return i.arrange()
}

func (i *Iter) turnBackward() *base.KV {
	switch {
	case !i.placed:
		return i.Last()
	case i.err != nil, i.flip != 0: // before the first
		return nil
	}
	if i.skipped && len(i.heap) > 0 {
		return i.turnAfterSkip(backward)
	}
	i.start(backward)
	for n := range i.children {
		i.enter(&i.children[n], i.children[n].iter.Prev())
	}
	return i.arrange()
}

// start prepares for positioning all children in one direction.
func (i *Iter) start(flip uint64) {
	i.flip, i.placed, i.skipped, i.err = flip, true, false, nil
	i.heap = i.heap[:0]
}

// enter records the new position of a child and appends it to the heap, which
// arrange puts in order. An error of a child ends the walk.
func (i *Iter) enter(c *child, kv *base.KV) {
	if kv == nil {
		if err := c.iter.Err(); err != nil && i.err == nil {
			i.err = err
		}
		return
	}
	c.kv = kv
	c.head = base.Head(kv.Key) ^ i.flip
	i.heap = append(i.heap, c)
}

// arrange orders the heap and returns its top.
func (i *Iter) arrange() *base.KV {
	if i.err != nil {
		i.heap = i.heap[:0]
		return nil
	}
	for n := len(i.heap)/2 - 1; n >= 0; n-- {
		i.siftDown(n)
	}
	return i.show()
}

// show finds the second-best child and returns the top.
func (i *Iter) show() *base.KV {
	switch len(i.heap) {
	case 0:
		return nil
	case 1:
		i.second = 0
	case 2:
		i.second = 1
	default:
		i.second = 1
		if i.less(i.heap[2], i.heap[1]) {
			i.second = 2
		}
	}
	return i.heap[0].kv
}

// replaceTop restores the heap after the top child has moved.
func (i *Iter) replaceTop(top *child, kv *base.KV) *base.KV {
	if kv == nil {
		return i.dropTop(top)
	}
	top.kv = kv
	top.head = base.Head(kv.Key) ^ i.flip
	if i.second == 0 {
		return kv
	}
	second := i.heap[i.second]
	if top.head < second.head || top.head == second.head && i.lessKey(top, second) {
		return kv
	}
	i.heap[0], i.heap[i.second] = second, top
	i.siftDown(i.second)
	return i.show()
}

// dropTop removes the top child, which is at its end or failed.
func (i *Iter) dropTop(top *child) *base.KV {
	if i.err = top.iter.Err(); i.err != nil {
		i.heap = i.heap[:0]
		return nil
	}
	last := len(i.heap) - 1
	i.heap[0] = i.heap[last]
	i.heap = i.heap[:last]
	i.siftDown(0)
	return i.show()
}

func (i *Iter) siftDown(at int) {
	h := i.heap
	if at >= len(h) {
		return
	}
	c := h[at]
	for {
		next := 2*at + 1
		if next >= len(h) {
			break
		}
		if next+1 < len(h) && i.less(h[next+1], h[next]) {
			next++
		}
		if i.less(c, h[next]) {
			break
		}
		h[at] = h[next]
		at = next
	}
	h[at] = c
}

// less reports whether a comes before b.
func (i *Iter) less(a, b *child) bool {
	if a.head != b.head {
		return a.head < b.head
	}
	return i.lessKey(a, b)
}

// lessKey is less for children with equal heads.
func (i *Iter) lessKey(a, b *child) bool {
	c := bytes.Compare(a.kv.Key, b.kv.Key)
	if c == 0 {
		switch {
		case a.kv.Trailer > b.kv.Trailer:
			c = -1
		case a.kv.Trailer < b.kv.Trailer:
			c = 1
		default:
			c = a.order - b.order
		}
	}
	return (c < 0) == (i.flip == 0)
}
