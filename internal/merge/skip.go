package merge

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// Order returns which child has the current entry: its position in the list
// given to Init, or -1 when there is no current entry.
func (i *Iter) Order() int {
	if len(i.heap) == 0 {
		return -1
	}
	return i.heap[0].order
}

// SkipTop moves the child with the current entry past all its entries before
// key, and returns the next entry, which may be another child's and before key.
// It may be called only going forward, with a key beyond the current one. A
// walk back returns the skipped entries.
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
// after key, which is not beyond the current key.
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

// turnAfterSkip changes direction after children have skipped: a step back
// would not bring those to where the others are, so it seeks all children.
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
		// Of equal entries those of earlier children come first.
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
