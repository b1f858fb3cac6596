// Package writeset finds the operations of an open transaction by key: what
// reads in it see on top of its snapshot. The operations are in the batch that
// will be committed; the set has only references.
package writeset

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// FirstSeq is the sequence of the first operation of an open transaction for
// the transaction's own reads. It is above every sequence of a commit.
const FirstSeq base.SeqNum = 1 << 55

// Set is the set of operations of one transaction. Operation i has sequence
// FirstSeq+i. It is used by one goroutine at a time. An iterator, like a View,
// returns the operations that existed when it was made, whatever is added or
// undone later, as long as the batch does not overwrite their keys and values.
// The zero value is empty.
type Set struct {
	refs     []Op             // in the order of the operations, without range deletes
	last     map[string]int32 // the newest ref by keyspace and key; nil for few refs
	sorted   tree             // the first inTree of refs
	inTree   int
	ranges   map[uint32]*rangedel.Set
	rangeOps []int  // indexes of the range deletes
	count    int    // operations, range deletes included
	buf      []byte // scratch for a key of last
}

// Op is one operation. Its slices point into the batch. When the batch grows it
// moves, and its old memory stays.
type Op struct {
	keyspace uint32
	older    int32 // the previous ref of the same key, or -1; valid once last exists
	Trailer  base.Trailer
	key      []byte
	Value    []byte
}

// refBytes is roughly the memory of an operation here, and again in the tree. A
// range delete takes twice as much.
const refBytes = 96

// fewRefs is the number of operations up to which a search is linear.
const fewRefs = 16

// Add adds an operation that was just added to the batch. It keeps the key and
// the value of op, but not op. A range delete deletes [op.Key, op.Value), or
// everything from op.Key on if op.Value is empty.
func (o *Set) Add(op *batch.Op) {
	seq := FirstSeq + base.SeqNum(o.count)
	o.count++
	if op.Kind == base.KindRangeDelete {
		o.rangeOps = append(o.rangeOps, o.count-1)
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
	o.refs = append(o.refs, Op{keyspace: op.Keyspace, older: -1, Trailer: base.MakeTrailer(seq, op.Kind), key: op.Key, Value: op.Value})
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

// index adds a ref to last.
func (o *Set) index(i int) {
	r := &o.refs[i]
	key := o.mapKey(r.keyspace, r.key)
	if older, ok := o.last[string(key)]; ok {
		r.older = older
	}
	o.last[string(key)] = int32(i)
}

func (o *Set) mapKey(keyspace uint32, key []byte) []byte {
	o.buf = append(o.buf[:0], byte(keyspace), byte(keyspace>>8), byte(keyspace>>16), byte(keyspace>>24))
	o.buf = append(o.buf, key...)
	return o.buf
}

// Get returns the newest operation on a key other than a range delete, or nil,
// and whether a later range delete covers the key. The Op is valid until the
// set changes.
func (o *Set) Get(keyspace uint32, key []byte) (r *Op, deleted bool) {
	if o.last == nil {
		for i := len(o.refs) - 1; i >= 0; i-- {
			if o.refs[i].keyspace == keyspace && bytes.Equal(o.refs[i].key, key) {
				r = &o.refs[i]
				break
			}
		}
	} else if i, ok := o.last[string(o.mapKey(keyspace, key))]; ok {
		r = &o.refs[i]
	}
	if v := o.View(keyspace); v != nil {
		c := base.SeqNum(0)
		if f, _ := v.Find(key); f != nil {
			c = f.Cover(base.SeqNumMax)
		}
		deleted = c != 0 && (r == nil || c > r.Trailer.Seq())
	}
	return r, deleted
}

// View returns the range deletes of a keyspace, or nil if there are none.
func (o *Set) View(keyspace uint32) *rangedel.View {
	if set := o.ranges[keyspace]; set != nil {
		return set.View()
	}
	return nil
}

// Writes reports whether there are operations other than range deletes.
func (o *Set) Writes() bool { return len(o.refs) > 0 }

// Bytes returns roughly the memory of the set, without the batch.
func (o *Set) Bytes() int64 { return int64(len(o.refs)+o.inTree+2*len(o.rangeOps)) * refBytes }

// Room returns how many operations other than range deletes fit in the set
// without growing it.
func (o *Set) Room() int { return cap(o.refs) }

// Reset empties the set and keeps its memory. Earlier iterators stay valid.
func (o *Set) Reset() {
	clear(o.refs) // beyond them it was cleared before
	*o = Set{refs: o.refs[:0], buf: o.buf}
}

// tree returns the root of the current operations, which never changes; nil if
// there are none.
func (o *Set) tree() *node {
	for ; o.inTree < len(o.refs); o.inTree++ {
		o.sorted.insert(o.refs[o.inTree])
	}
	return o.sorted.share()
}

// Rollback removes all operations after the first count. If there are range
// deletes among them it does nothing and returns false: the caller then resets
// the set and adds the rest again.
func (o *Set) Rollback(count int) bool {
	if n := len(o.rangeOps); n > 0 && o.rangeOps[n-1] >= count {
		return false
	}
	n := len(o.refs)
	for ; n > 0 && o.refs[n-1].Trailer.Seq() >= FirstSeq+base.SeqNum(count); n-- {
		r := &o.refs[n-1]
		if n <= o.inTree {
			o.sorted.remove(r)
		}
		if o.last == nil {
			continue
		}
		if key := o.mapKey(r.keyspace, r.key); r.older >= 0 {
			o.last[string(key)] = r.older
		} else {
			delete(o.last, string(key))
		}
	}
	clear(o.refs[n:])
	o.refs, o.inTree, o.count = o.refs[:n], min(o.inTree, n), count
	return true
}
