package memtable

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// Memtable holds the entries that all keyspaces wrote since the last switch.
// Keyspace 0, the default one, has a half to itself with unprefixed keys, so
// the existence of others costs it nothing. The others share the second half,
// in which each key has its keyspace's number as a prefix: ten thousand
// keyspaces cost no more than what was written to them, and an idle one pins no
// memory.
type Memtable struct {
	o    Options // immutable
	root *half   // immutable; its reservation and its writers cover both halves
	// shared is nil until a keyspace other than the default one needs it. Share
	// stores it; one goroutine calls that at a time.
	shared atomic.Pointer[half]
}

// New returns an empty memtable. Its error is base.ErrInvalidOptions, or the
// system's if that has no memory.
func New(o Options) (*Memtable, error) {
	h, err := newHalf(o)
	if err != nil {
		return nil, err
	}
	return &Memtable{o: o, root: h}, nil
}

// Share makes the half for keyspaces other than the default one if there is
// none. Callers call it before the first Add for one of them.
func (m *Memtable) Share() error {
	if m.shared.Load() != nil {
		return nil
	}
	h, err := newHalf(m.o)
	if err != nil {
		return err
	}
	m.shared.Store(h)
	return nil
}

// of returns the half of a keyspace, or nil.
func (m *Memtable) of(keyspace uint32) *half {
	if keyspace == 0 {
		return m.root
	}
	return m.shared.Load()
}

// Reserve takes n bytes, the sum of EntryBound over the entries to come, from
// the capacity. If they do not fit it takes nothing and returns false.
func (m *Memtable) Reserve(n int64) bool { return m.root.Reserve(n) }

// Bytes returns how much of the capacity is reserved.
func (m *Memtable) Bytes() int64 { return m.root.Bytes() }

// Capacity returns how many bytes can be reserved.
func (m *Memtable) Capacity() int64 { return m.o.Capacity }

// BeginWrite admits a writer. It returns false once WaitWriters has begun: the
// caller then has an old memtable, must not add to it nor call EndWrite, and
// loads the current one.
func (m *Memtable) BeginWrite() bool { return m.root.BeginWrite() }

// EndWrite ends a write that BeginWrite admitted.
func (m *Memtable) EndWrite() { m.root.EndWrite() }

// WaitWriters refuses new writers and waits for the last one to end. From then
// on the memtable does not change. It may be called more than once.
func (m *Memtable) WaitWriters() { m.root.WaitWriters() }

// Empty reports whether nothing was added to any keyspace.
func (m *Memtable) Empty() bool {
	h := m.shared.Load()
	return m.root.Empty() && (h == nil || h.Empty())
}

// Len returns the number of entries, not counting range tombstones.
func (m *Memtable) Len() int {
	n := m.root.Len()
	if h := m.shared.Load(); h != nil {
		n += h.Len()
	}
	return n
}

// Free frees the memory. The memtable, its iterators and slices from them must
// not be used any more.
func (m *Memtable) Free() {
	m.root.Free()
	if h := m.shared.Load(); h != nil {
		h.Free()
	}
}

// Get returns the newest version of a key visible at sequence s, of whatever
// kind. The value is in the memtable: it is valid as long as that, and must not
// be written to.
func (m *Memtable) Get(k *Key, s base.SeqNum) (t base.Trailer, value []byte, ok bool) {
	h := m.root
	if k.keyspace != 0 {
		if h = m.shared.Load(); h == nil {
			return 0, nil, false
		}
	}
	return h.Get(k.full, k.hash, s)
}

// Ranges returns the current range tombstones of a keyspace. rangedel.Set.View
// says when readers must call it.
func (m *Memtable) Ranges(keyspace uint32) Ranges {
	if h := m.of(keyspace); h != nil {
		return rangesIn(h.Ranges(), keyspace)
	}
	return Ranges{}
}

// AllIter returns an iterator over every version of a keyspace, or nil when it
// has none.
func (m *Memtable) AllIter(keyspace uint32) base.Iterator {
	h := m.of(keyspace)
	switch {
	case h == nil || h.Empty():
		return nil
	case keyspace == 0:
		return h.NewAllIter()
	}
	p := new(prefixIter)
	p.it.InitAll(h)
	p.bound(keyspace)
	return p
}

// RangeList returns the range tombstones of a keyspace, or nil.
func (m *Memtable) RangeList(keyspace uint32) *rangedel.List {
	v := m.Ranges(keyspace).view
	if v == nil {
		return nil
	}
	l := v.List()
	if keyspace == 0 {
		return &l
	}
	end := prefixOf(keyspace + 1)
	prefix := prefixOf(keyspace)
	l = l.Truncate(prefix[:], end[:])
	if l.Len() == 0 {
		return nil
	}
	own := make([]rangedel.Fragment, l.Len())
	for i := range own {
		own[i] = stripped(*l.At(i), end[:])
	}
	l = rangedel.FromFragments(own)
	return &l
}

// Estimate returns roughly how many entries of a keyspace with lo <= key < hi
// there are, and how many bytes of the capacity they take; a nil hi means no
// end. It is exact for some 600 keys, and takes some tens of microseconds.
func (m *Memtable) Estimate(keyspace uint32, lo, hi []byte) (entries, size uint64) {
	h := m.of(keyspace)
	if h == nil {
		return 0, 0
	}
	if keyspace != 0 {
		lo = prefixed(keyspace, lo)
		if hi == nil {
			end := prefixOf(keyspace + 1)
			hi = end[:]
		} else {
			hi = prefixed(keyspace, hi)
		}
	}
	return h.Estimate(lo, hi)
}

// AddHint notes that all entries of a keyspace in [lo, hi) up to seq, which is
// visible, are dead. at is 0 if all were deleted, else the time at which they
// are deleted or expired. It copies the keys and ignores hints with very long
// ones. If Share must be called first, it does nothing and returns false.
func (m *Memtable) AddHint(keyspace uint32, lo, hi []byte, seq base.SeqNum, at uint64) bool {
	h := m.of(keyspace)
	if h == nil {
		return false
	}
	if keyspace != 0 {
		lo, hi = prefixed(keyspace, lo), prefixed(keyspace, hi)
	}
	h.AddHint(lo, hi, seq, at)
	return true
}

// Hints returns the current hints about deleted keys of a keyspace.
func (m *Memtable) Hints(keyspace uint32) Ranges {
	if h := m.of(keyspace); h != nil {
		return rangesIn(h.Hints(), keyspace)
	}
	return Ranges{}
}

// ExpiredHints returns the hints about keys of a keyspace of which some
// expired, for a read at a time. It returns none if some have a later time.
func (m *Memtable) ExpiredHints(keyspace uint32, at uint64) Ranges {
	if h := m.of(keyspace); h != nil {
		return rangesIn(h.ExpiredHints(at), keyspace)
	}
	return Ranges{}
}

// Keyspaces returns, ascending, the numbers of the keyspaces other than the
// default one that have entries or range tombstones.
func (m *Memtable) Keyspaces() []uint32 {
	h := m.shared.Load()
	if h == nil {
		return nil
	}
	var out []uint32
	var next [prefixSize]byte
	it := h.NewAllIter()
	for kv := it.SeekGE(next[:], base.TrailerMax); kv != nil; kv = it.SeekGE(next[:], base.TrailerMax) {
		id := binary.BigEndian.Uint32(kv.Key)
		out = append(out, id)
		next = prefixOf(id + 1)
	}
	l := h.Ranges().List()
	for i := range l.Len() {
		// Neighbouring ranges of two keyspaces may be one fragment.
		f := l.At(i)
		id := binary.BigEndian.Uint32(f.Lo)
		for p := prefixOf(id); bytes.Compare(p[:], f.Hi) < 0; p = prefixOf(id) {
			out = append(out, id)
			id++
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
