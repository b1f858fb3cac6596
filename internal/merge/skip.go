package merge

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// Order returns which child shows the current entry: its place in the list given
// to Init. It is -1 when there is no current entry.
func (i *Iter) Order() int {
	if len(i.heap) == 0 {
		return -1
	}
	return i.heap[0].order
}

// SkipTop lets the child that shows the current entry pass all its entries
// before key, and shows what is next then: entries of other children may well
// come before key. It may only be called going forward, with a key beyond the
// current one. Entries that were skipped are shown again by a walk back.
func (i *Iter) SkipTop(key []byte) *base.KV {
	if len(i.heap) == 0 {
		return nil
	}
	top := i.heap[0]
	if invariant.Enabled && (i.flip != 0 || bytes.Compare(key, top.kv.Key) <= 0) {
		panic("merge: SkipTop backward")
	}
	i.skipped = true
	return i.replaceTop(top, top.iter.SeekGE(key, base.TrailerMax))
}

// SkipTopBack is SkipTop going backward: the child passes its entries at and
// after key, which is not beyond the current one.
func (i *Iter) SkipTopBack(key []byte) *base.KV {
	if len(i.heap) == 0 {
		return nil
	}
	top := i.heap[0]
	if invariant.Enabled && (i.flip == 0 || bytes.Compare(key, top.kv.Key) > 0) {
		panic("merge: SkipTopBack forward")
	}
	i.skipped = true
	return i.replaceTop(top, top.iter.SeekLT(key))
}

// turnAfterSkip goes one entry the other way from the current one when children
// have skipped: a step back does not bring one that has to where the others
// are, so all are sought.
func (i *Iter) turnAfterSkip(flip uint64) *base.KV {
	top := i.heap[0]
	key, t := bytes.Clone(top.kv.Key), top.kv.Trailer // the children overwrite it
	i.start(flip)
	for n := range i.children {
		c := &i.children[n]
		kv := c.iter.SeekGE(key, t)
		if kv == nil && c.iter.Err() != nil {
			i.enter(c, nil)
			continue
		}
		// Of equal entries those of children listed before come before.
		same := kv != nil && kv.Trailer == t && bytes.Equal(kv.Key, key)
		switch {
		case flip == 0 && same && c.order <= top.order:
			kv = c.iter.Next()
		case flip != 0 && !(same && c.order < top.order):
			kv = c.iter.Prev()
		}
		i.enter(c, kv)
	}
	return i.arrange()
}

// EndTop is SkipTop past all entries of the child.
func (i *Iter) EndTop() *base.KV {
	if len(i.heap) == 0 {
		return nil
	}
	top := i.heap[0]
	i.skipped = true
	top.iter.Last()
	return i.replaceTop(top, top.iter.Next())
}
