package engine

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// ownSeq is the sequence that the first operation of an open transaction has
// for the transaction itself. It is above every sequence of a commit.
const ownSeq base.SeqNum = 1 << 55

// overlay finds the operations of an open transaction by key: what a read in
// it sees on top of its snapshot. The operations are in the batch that will be
// committed; here are only references. Operation i has sequence ownSeq+i.
//
// A transaction is used by one goroutine, and so is its overlay.
type overlay struct {
	refs   []opRef          // in the order of the operations; range deletes left out
	last   map[string]int32 // the newest ref by keyspace and key; nil while there are few
	sorted []opRef          // refs by keyspace, key and age, newest first, up to some moment
	ranges map[uint32]*rangedel.Set
	count  int    // operations, range deletes included
	buf    []byte // a key of last
}

// opRef is one operation. Its slices lie in the batch, which moves when it
// grows; what they point to stays.
type opRef struct {
	keyspace uint32
	older    int32 // ref of the same key before it, or -1; valid once last is there
	trailer  base.Trailer
	key      []byte
	value    []byte
}

// fewRefs is up to how many operations are searched one by one.
const fewRefs = 16

// add takes over the operation that was just added to a batch.
func (o *overlay) add(op *batch.Op) {
	seq := ownSeq + base.SeqNum(o.count)
	o.count++
	if op.Kind == base.KindRangeDelete {
		if o.ranges == nil {
			o.ranges = map[uint32]*rangedel.Set{}
		}
		set := o.ranges[op.Keyspace]
		if set == nil {
			set = new(rangedel.Set)
			o.ranges[op.Keyspace] = set
		}
		set.Add(op.Key, op.Value, seq, nil)
		return
	}
	o.refs = append(o.refs, opRef{keyspace: op.Keyspace, older: -1, trailer: base.MakeTrailer(seq, op.Kind), key: op.Key, value: op.Value})
	switch {
	case o.last != nil:
		o.index(len(o.refs) - 1)
	case len(o.refs) > fewRefs:
		o.last = make(map[string]int32, 2*fewRefs)
		for i := range o.refs {
			o.index(i)
		}
	}
}

// index enters a ref into last.
func (o *overlay) index(i int) {
	r := &o.refs[i]
	key := o.mapKey(r.keyspace, r.key)
	if older, ok := o.last[string(key)]; ok {
		r.older = older
	}
	o.last[string(key)] = int32(i)
}

func (o *overlay) mapKey(keyspace uint32, key []byte) []byte {
	o.buf = append(o.buf[:0], byte(keyspace), byte(keyspace>>8), byte(keyspace>>16), byte(keyspace>>24))
	o.buf = append(o.buf, key...)
	return o.buf
}

// get returns the newest operation on a key, and whether a range delete came
// after it.
func (o *overlay) get(k *Keyspace, key []byte) (r *opRef, deleted bool) {
	if o.last == nil {
		for i := len(o.refs) - 1; i >= 0; i-- {
			if o.refs[i].keyspace == k.id && bytes.Equal(o.refs[i].key, key) {
				r = &o.refs[i]
				break
			}
		}
	} else if i, ok := o.last[string(o.mapKey(k.id, key))]; ok {
		r = &o.refs[i]
	}
	if v := o.view(k); v != nil {
		c := cover(v, key, base.SeqNumMax)
		deleted = c != 0 && (r == nil || c > r.trailer.Seq())
	}
	return r, deleted
}

// view is the range deletes of a keyspace, or nil.
func (o *overlay) view(k *Keyspace) *rangedel.View {
	if set := o.ranges[k.id]; set != nil {
		return set.View()
	}
	return nil
}

// reset forgets everything.
func (o *overlay) reset() {
	clear(o.refs) // behind them nothing was left
	*o = overlay{refs: o.refs[:0], buf: o.buf}
}

func compareRefs(a, b opRef) int {
	return cmp.Or(cmp.Compare(a.keyspace, b.keyspace), base.Compare(a.key, a.trailer, b.key, b.trailer))
}

// of lists the operations on a keyspace in the order of entries. The list does
// not change any more.
func (o *overlay) of(k *Keyspace) []opRef {
	if n := len(o.sorted); n < len(o.refs) {
		// The list is made anew, for iterators may be on the old one.
		rest := slices.Clone(o.refs[n:])
		slices.SortFunc(rest, compareRefs)
		o.sorted = mergeRefs(o.sorted, rest)
	}
	lo, _ := slices.BinarySearchFunc(o.sorted, k.id, func(r opRef, id uint32) int { return cmp.Compare(r.keyspace, id) })
	hi := lo
	for hi < len(o.sorted) && o.sorted[hi].keyspace == k.id {
		hi++
	}
	return o.sorted[lo:hi:hi]
}

// mergeRefs merges two sorted lists into a new one.
func mergeRefs(a, b []opRef) []opRef {
	out := make([]opRef, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if compareRefs(a[0], b[0]) <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// refIter walks operations as entries.
type refIter struct {
	refs []opRef
	at   int // -1 before all, len after all
	used bool
	kv   base.KV
}

var _ base.Iterator = (*refIter)(nil)

func (i *refIter) init(refs []opRef) { *i = refIter{refs: refs} }

func (i *refIter) to(at int) *base.KV {
	i.at, i.used = max(min(at, len(i.refs)), -1), true
	if i.at < 0 || i.at == len(i.refs) {
		return nil
	}
	r := &i.refs[i.at]
	i.kv = base.KV{Key: r.key, Trailer: r.trailer, Value: r.value}
	return &i.kv
}

func (i *refIter) SeekGE(key []byte, t base.Trailer) *base.KV {
	n, _ := slices.BinarySearchFunc(i.refs, key, func(r opRef, key []byte) int { return base.Compare(r.key, r.trailer, key, t) })
	return i.to(n)
}

func (i *refIter) SeekLT(key []byte) *base.KV {
	n, _ := slices.BinarySearchFunc(i.refs, key, func(r opRef, key []byte) int { return bytes.Compare(r.key, key) })
	return i.to(n - 1)
}

func (i *refIter) First() *base.KV { return i.to(0) }
func (i *refIter) Last() *base.KV  { return i.to(len(i.refs) - 1) }

func (i *refIter) Next() *base.KV {
	if !i.used {
		return i.First()
	}
	return i.to(i.at + 1)
}

func (i *refIter) Prev() *base.KV {
	if !i.used {
		return i.Last()
	}
	return i.to(i.at - 1)
}

func (i *refIter) Err() error   { return nil }
func (i *refIter) Close() error { return nil }
