package memtable

import "github.com/seerdb-go/seerdb/internal/base"

// Iters holds the iterators of one scan over the memtables that it reads, in
// memory that the next scan reuses. The zero value is ready for Reset.
type Iters struct {
	keyspace uint32
	n        int
	root     []Iter       // for the default keyspace
	others   []prefixIter // for another keyspace
}

// Reset drops the iterators, and makes room for n iterators of a keyspace.
func (r *Iters) Reset(keyspace uint32, n int) {
	r.keyspace, r.n = keyspace, 0
	if keyspace == 0 {
		r.root = base.Grow(r.root, n)
	} else {
		r.others = base.Grow(r.others, n)
	}
}

// Add returns an iterator over what a read at sequence s sees of a memtable, as
// Iter.Init says, or nil when there is nothing. It is valid until Reset.
func (r *Iters) Add(m *Memtable, s base.SeqNum) base.Iterator {
	h := m.of(r.keyspace)
	if h == nil || h.Empty() {
		return nil
	}
	r.n++
	if r.keyspace == 0 {
		it := &r.root[r.n-1]
		it.Init(h, s)
		return it
	}
	p := &r.others[r.n-1]
	p.it.Init(h, s)
	p.bound(r.keyspace)
	return p
}
