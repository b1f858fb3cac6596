package memtable

import (
	"bytes"
	"unsafe"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// Iter walks a half in key order. It takes no lock and holds nothing: the
// caller keeps the memtable alive. It returns every visible entry that was
// added before the iterator was made.
//
// It copies the refs of a leaf on arrival, so writers do not disturb it there.
// To leave the leaf it descends the tree again with the leaf's fence. That is
// one descent in about ten entries, and needs no stack and no links between
// leaves that splits would have to maintain.
type Iter struct {
	half  *half
	limit base.Trailer // entries with a larger trailer are not visible
	all   bool         // every version, not only the newest visible one
	ahead bool         // the last step was forward

	at       found       // the leaf
	refs     [fanout]ref // of the leaf, in order
	n, pos   int         // refs in use; the current position, or -1 or n at the ends
	lo, hi   ref         // fences of the leaf
	touched  bool        // touch has been called for the leaf
	position position
	rec      *record  // current; kept at the ends for the way back
	ver      *version // current
	kv       base.KV
}

// position is where an iterator stands.
type position uint8

const (
	unpositioned position = iota
	onEntry
	beforeFirst
	afterLast
)

var _ base.Iterator = (*Iter)(nil)

// Init prepares the iterator to walk what a read at sequence s sees: of each
// user key the newest visible version, however many lie above or below it. If
// that is a merge operand, Next continues with what is under it: older operands
// and the first version of another kind. Prev returns the newest version alone,
// and Next from there goes to the next key.
func (i *Iter) Init(h *half, s base.SeqNum) {
	i.half, i.limit, i.all = h, base.SeekTrailer(s), false
	i.position = unpositioned
}

// InitAll prepares the iterator to walk every version of every key.
func (i *Iter) InitAll(h *half) {
	i.half, i.limit, i.all = h, base.TrailerMax, true
	i.position = unpositioned
}

// NewIter returns an iterator over what a read at sequence s sees.
func (h *half) NewIter(s base.SeqNum) *Iter {
	i := new(Iter)
	i.Init(h, s)
	return i
}

// NewAllIter returns an iterator over every version.
func (h *half) NewAllIter() *Iter {
	i := new(Iter)
	i.InitAll(h)
	return i
}

// First lands on the first entry.
func (i *Iter) First() *base.KV {
	i.load(nil, toFirst)
	i.pos = 0
	return i.forward()
}

// Last lands on the last entry.
func (i *Iter) Last() *base.KV {
	i.load(nil, toLast)
	i.pos = i.n - 1
	return i.backward()
}

// SeekGE lands on the first entry at or after (key, t).
func (i *Iter) SeekGE(key []byte, t base.Trailer) *base.KV {
	i.load(key, toKey)
	kv := i.forward()
	if kv == nil || kv.Trailer <= t || !bytes.Equal(kv.Key, key) {
		return kv
	}
	if i.all {
		a := &i.half.arena
		if v := a.atMost(a.newestOf(i.rec), t); v != nil {
			return i.show(v)
		}
	}
	i.pos++
	return i.forward()
}

// SeekLT lands on the last entry whose user key is less than key.
func (i *Iter) SeekLT(key []byte) *base.KV {
	i.load(key, toBefore)
	i.pos--
	return i.backward()
}

// Next goes to the next entry.
func (i *Iter) Next() *base.KV {
	switch i.position {
	case unpositioned, beforeFirst:
		return i.First()
	case afterLast:
		return nil
	}
	if !i.touched {
		i.touch(i.pos, i.n, 1)
	}
	if i.all || i.ahead && i.kv.Trailer.Kind() == base.KindMerge {
		if older := ref(i.ver.older.Load()); older != 0 {
			return i.show(i.half.arena.version(older))
		}
	}
	i.pos++
	return i.forward()
}

// Prev goes to the previous entry.
func (i *Iter) Prev() *base.KV {
	switch i.position {
	case unpositioned, afterLast:
		return i.Last()
	case beforeFirst:
		return nil
	}
	if !i.touched {
		i.touch(0, i.pos, -1)
	}
	if i.all {
		a := &i.half.arena
		if newest := a.newestOf(i.rec); a.version(newest) != i.ver {
			return i.show(a.version(a.newerThan(newest, i.ver.trailer)))
		}
	}
	i.pos--
	return i.backward()
}

// Err is always nil: memory does not fail.
func (i *Iter) Err() error { return nil }

// Close releases the half. Init makes the iterator usable again.
func (i *Iter) Close() error {
	i.half, i.rec, i.ver = nil, nil, nil
	i.kv = base.KV{}
	i.position = unpositioned
	return nil
}

// forward returns the first visible entry from pos on.
func (i *Iter) forward() *base.KV {
	i.ahead = true
	a := &i.half.arena
	for {
		for ; i.pos < i.n; i.pos++ {
			rec := a.record(i.refs[i.pos])
			if v := i.visible(a.newestOf(rec)); v != nil {
				i.rec = rec
				return i.show(v)
			}
		}
		if i.hi == 0 {
			i.position = afterLast
			return nil
		}
		i.cross()
	}
}

// cross goes to the leaf on the right, to its first key that was not in this
// one.
func (i *Iter) cross() {
	t := &i.half.tree
	if f, ok := t.neighbour(i.at, 1); ok && i.copy(f) {
		i.pos = 0
		i.touch(0, i.n, 1)
		return
	}
	if i.n > 0 {
		// A leaf copied in the middle of a split can hold keys beyond hi.
		last := t.a.key(i.refs[i.n-1])
		if bytes.Compare(last, t.a.key(i.hi)) >= 0 {
			i.load(last, toKey)
			if i.pos < i.n && t.a.equalKey(i.refs[i.pos], last) {
				i.pos++
			}
			return
		}
	}
	i.load(t.a.key(i.hi), toKey)
	i.touch(i.pos, i.n, 1)
}

// crossBack goes to the leaf on the left, to its last key that was not in this
// one.
func (i *Iter) crossBack() {
	t := &i.half.tree
	if f, ok := t.neighbour(i.at, -1); ok && i.copy(f) {
		i.pos = i.n - 1
		i.touch(0, i.n, -1)
		return
	}
	before := t.a.key(i.lo)
	if i.n > 0 {
		if first := t.a.key(i.refs[0]); bytes.Compare(first, before) < 0 {
			before = first
		}
	}
	i.load(before, toBefore)
	i.pos--
	i.touch(0, i.pos+1, -1)
}

// backward returns the last visible entry from pos down.
func (i *Iter) backward() *base.KV {
	i.ahead = false
	a := &i.half.arena
	for {
		for ; i.pos >= 0; i.pos-- {
			rec := a.record(i.refs[i.pos])
			v := i.visible(a.newestOf(rec))
			if v == nil {
				continue
			}
			i.rec = rec
			if i.all {
				v = a.oldest(a.newestOf(rec))
			}
			return i.show(v)
		}
		if i.lo == 0 {
			i.position = beforeFirst
			return nil
		}
		i.crossBack()
	}
}

func (i *Iter) visible(newest ref) *version {
	v := i.half.arena.version(newest)
	if v.trailer <= i.limit {
		return v
	}
	return i.half.arena.atMost(newest, i.limit)
}

// show makes v, a version of rec, the current entry.
func (i *Iter) show(v *version) *base.KV {
	i.ver = v
	i.position = onEntry
	i.kv.Key, i.kv.Trailer, i.kv.Value = i.rec.key(), v.trailer, i.rec.value(v)
	return &i.kv
}

// load goes to the leaf of a key, and to the first key >= it.
func (i *Iter) load(key []byte, to target) {
	t := &i.half.tree
	i.touched = false
	for {
		f := t.descend(key, to)
		i.pos = 0
		if to == toKey || to == toBefore {
			i.pos = f.leaf.search(t.a, f.ctl, key)
		}
		if i.copy(f) {
			return
		}
	}
}

// copy makes f the leaf of the iterator. It returns false if the leaf was split
// since f was found; the caller then finds another.
func (i *Iter) copy(f found) bool {
	invariant.Yield()
	var refs [fanout]ref
	n := f.leaf.sorted(f.ctl, &refs)
	invariant.Yield()
	lo, hi := ref(f.leaf.lo.Load()), ref(f.leaf.hi.Load())
	if f.leaf.version.Load() != f.version {
		return false
	}
	i.at, i.refs, i.n, i.lo, i.hi = f, refs, n, lo, hi
	return true
}

// touch prefetches the records at positions first to end-1 and the next leaf in
// the direction of the walk. Otherwise the walk would wait for each in turn.
// (Prefetching the records of the next leaf as well gained nothing.)
func (i *Iter) touch(first, end, by int) {
	t := &i.half.tree
	i.touched = true
	if end > first {
		prefetch(t.a.base, &i.refs[first], end-first)
	}
	if next := t.peek(&i.at, by); next != 0 {
		t.a.prefetchLeaf(next)
	}
}

// prefetchLeaf prefetches the lines of a leaf that a walk needs.
func (a *arena) prefetchLeaf(r ref) {
	refs := r + ref(unsafe.Offsetof(leaf{}.refs)>>wordShift)
	ahead := [2]ref{r, refs}
	prefetch(a.base, &ahead[0], 2)
}
