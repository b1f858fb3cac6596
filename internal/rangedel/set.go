package rangedel

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// Set is a set of tombstones, added one at a time in any order of sequences.
// The zero Set is empty. It is safe for concurrent use.
type Set struct {
	view   atomic.Pointer[View] // nil when empty, claimed during an edit in place; stored under adding
	adding sync.Mutex           // held by edits
	edits  edit                 // guarded by adding; number of edits that copied
	adder  *adder               // guarded by adding; kept for its memory

	// mu is held while the view is claimed, and readers wait for it. It is
	// locked after adding.
	mu sync.Mutex
}

// View is a Set at one moment. Once a reader has it, only the marks of its
// fragments change.
type View struct {
	root *node
	n    int         // fragments
	seen atomic.Bool // a reader may have it
}

// claimed stands in for the view of a Set while an edit changes, in place, a
// view that no reader has. Readers and edits meet as in Dekker's algorithm: a
// reader marks the view as seen and then checks that it is still there; an edit
// takes it away and then checks whether it was seen. At least one of them
// notices the other.
var claimed = new(View)

// maxInPlace bounds how many tombstones an edit adds in place, and so how long
// a reader waits for it: less than a millisecond.
const maxInPlace = 512

// View returns the current view of the set, or nil when it is empty.
//
// A read that needs every tombstone up to its sequence loads the view first,
// then takes the visible sequence, and then checks that the view is still the
// current one. Otherwise an edit may have dropped sequences that it needs.
func (s *Set) View() *View {
	v := s.view.Load()
	if v == nil {
		return nil
	}
	if v != claimed {
		invariant.Yield()
		if !v.seen.Load() {
			v.seen.Store(true)
		}
		invariant.Yield()
		if s.view.Load() == v {
			return v
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v = s.view.Load()
	v.seen.Store(true)
	return v
}

// Add adds a tombstone, copying the keys, and returns the view with it. An
// empty hi is no end. It ignores a tombstone with no key between lo and hi.
//
// stripes are the sequences of the live snapshots, ascending, and then the
// visible sequence: every earlier read is at one of them, and every later read
// at or above the last. In the fragments it covers, Add drops a sequence if
// every read that sees it also sees a newer one. A commit that directly follows
// the visible sequence may add its own last sequence to stripes, since no read
// will ever see a part of it. Otherwise a batch that deletes one range many
// times keeps all its sequences until they are visible.
func (s *Set) Add(lo, hi []byte, seq base.SeqNum, stripes []base.SeqNum) *View {
	return s.addOne(stripes, clean, Tombstone{lo, hi, seq})
}

// AddAll is Add for several tombstones. It adds them in key order: 20,000 in
// any order change nodes in as many places, and waiting for those took half of
// the time. It returns no view, and copies nothing as long as no reader asks
// for one. It replaces the keys in the slice by its copies.
func (s *Set) AddAll(tombstones []Tombstone, stripes []base.SeqNum) {
	s.adding.Lock()
	defer s.adding.Unlock()
	a := s.beginAdding(stripes, clean)
	order := a.inOrder(tombstones)
	if v := s.view.Load(); rebuilds(v.Len(), len(order)) {
		s.view.Store(a.rebuild(v, tombstones, order))
		return
	}
	for part := range slices.Chunk(order, maxInPlace) {
		s.add(a, tombstones, part)
	}
}

// AddSeen is Add for a tombstone whose sequence is visible, so that reads see
// it as soon as it is in the view. Fragments that get it are not clean until
// MarkDirtyRange has found nothing newer in them.
func (s *Set) AddSeen(lo, hi []byte, seq base.SeqNum, stripes []base.SeqNum) *View {
	return s.addOne(stripes, unsure, Tombstone{lo, hi, seq})
}

func (s *Set) addOne(stripes []base.SeqNum, mark uint32, t Tombstone) *View {
	s.adding.Lock()
	defer s.adding.Unlock()
	a, one := s.beginAdding(stripes, mark), []Tombstone{t}
	if order := a.inOrder(one); len(order) > 0 {
		s.add(a, one, order)
	}
	v := s.view.Load()
	if v != nil {
		v.seen.Store(true)
	}
	return v
}

// beginAdding returns the set's adder. It gives mark to fragments whose mark
// changes its meaning. The caller holds adding.
func (s *Set) beginAdding(stripes []base.SeqNum, mark uint32) *adder {
	if s.adder == nil {
		s.adder = new(adder)
	}
	a := s.adder
	a.stripes, a.mark = stripes, mark
	return a
}

// add adds a part of the tombstones, at least one. The caller holds adding.
func (s *Set) add(a *adder, tombstones []Tombstone, part []ordered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.view.Load()
	next := v
	if !s.claim(v) {
		s.edits++
		if next = new(View); v != nil {
			next.root, next.n = v.root, v.n
		}
	}
	a.edit = s.edits
	for _, o := range part {
		a.over(next, &tombstones[o.i])
		invariant.Yield()
	}
	s.view.Store(next)
}

// claim reports whether tombstones may be added to a view in place. The caller
// holds mu and stores a view in the end.
func (s *Set) claim(v *View) bool {
	if v == nil || v.seen.Load() {
		return false
	}
	invariant.Yield()
	s.view.Store(claimed)
	invariant.Yield()
	return !v.seen.Load()
}

const (
	// nodeRoom is how many fragments are allocated at a time, after smaller
	// first allocations: 2 KiB. While one is in use the others stay.
	nodeRoom = 18
	// keyRoom is how many bytes for keys are allocated at a time, likewise,
	// except for long keys.
	keyRoom = 2 << 10
	longKey = keyRoom / 8
)

// adder adds tombstones to the fragments in their ranges, one by one.
type adder struct {
	splicer
	stripes []base.SeqNum
	mark    uint32 // for fragments whose mark changes its meaning

	// Memory for new nodes, sequences and keys, allocated twice as much each
	// time: most sets are small, but the garbage collector had to visit 160,000
	// pieces for 80,000 tombstones.
	nodes []node
	room  int // of nodes
	keys  []byte

	// The current tombstone.
	seq     base.SeqNum
	lo, hi  []byte
	pos     []byte // it has been applied up to here
	endless bool   // it has been applied to everything
	met     int    // number of fragments that it covers
	begun   int    // entries of with from here on are its own
}

// ordered is one of several tombstones.
type ordered struct {
	head uint64 // of Lo
	i    int
}

// inOrder orders tombstones by Lo and leaves out those with no key between
// their ends. It replaces their keys by copies, and empty ends by nil.
func (a *adder) inOrder(ts []Tombstone) []ordered {
	order := make([]ordered, 0, len(ts))
	for i := range ts {
		t := &ts[i]
		switch {
		case len(t.Hi) == 0:
			t.Lo, t.Hi = a.copyKey(t.Lo), nil
		case bytes.Compare(t.Lo, t.Hi) < 0:
			t.Lo, t.Hi = a.copyKey(t.Lo), a.copyKey(t.Hi)
		default:
			continue
		}
		order = append(order, ordered{base.Head(t.Lo), i})
	}
	slices.SortFunc(order, func(x, y ordered) int {
		if x.head != y.head {
			return cmp.Compare(x.head, y.head)
		}
		return bytes.Compare(ts[x.i].Lo, ts[y.i].Lo)
	})
	return order
}

func (a *adder) copyKey(key []byte) []byte {
	n := len(a.keys)
	switch {
	case len(key) >= longKey:
		return bytes.Clone(key)
	case cap(a.keys)-n < len(key):
		a.keys, n = make([]byte, 0, max(min(2*cap(a.keys), keyRoom), longKey)), 0
	}
	a.keys = append(a.keys, key...)
	return a.keys[n:len(a.keys):len(a.keys)]
}

// begin begins a tombstone and keeps its keys.
func (a *adder) begin(t *Tombstone) {
	a.lo, a.hi = t.Lo, t.Hi
	a.seq, a.pos, a.endless = t.Seq, a.lo, false
	a.met, a.begun, a.with = 0, 0, a.with[:0]
}

// over adds a tombstone to a view that no reader has.
func (a *adder) over(v *View, t *Tombstone) {
	a.begin(t)
	if v.root != nil {
		first := v.root.find(&a.from, a.lo)
		a.to = a.from
		if first != nil && a.beginsIn(first) {
			a.overAll(v.root, first)
		}
	}
	a.fillRest()
	v.n += len(a.with) - a.met
	v.root = a.splice(v.root)
}

// beginsIn reports whether a fragment begins before the tombstone ends.
func (a *adder) beginsIn(n *node) bool { return a.hi == nil || bytes.Compare(n.Lo, a.hi) < 0 }

// overAll covers the fragments that the tombstone meets, and sets a.to after
// them.
func (a *adder) overAll(root, first *node) {
	a.meetFirst(first)
	last := first
	if a.reachesBehind(first) {
		root.from(first.Hi, func(n *node) bool {
			if !a.beginsIn(n) {
				return false
			}
			a.cover(n)
			last = n
			return true
		})
	}
	a.leave(last)
	switch {
	case a.hi == nil:
		root.end(&a.to)
	case last != first:
		if found := root.find(&a.to, a.hi); found == last { // it ends behind hi
			a.to[root.lowest()]++
		}
	default:
		a.to[root.lowest()]++
	}
}

// meetFirst covers the first fragment that the tombstone meets. The part of it
// before the tombstone stays.
func (a *adder) meetFirst(n *node) {
	if bytes.Compare(n.Lo, a.lo) < 0 {
		a.with = append(a.with, a.piece(n, n.Lo, a.lo))
	}
	a.begun = len(a.with)
	a.cover(n)
}

// reachesBehind reports whether the tombstone may meet more fragments after n.
func (a *adder) reachesBehind(n *node) bool {
	return n.Hi != nil && (a.hi == nil || n.endsBefore(a.hi))
}

// leave keeps the part after the tombstone of the last fragment that it met.
func (a *adder) leave(n *node) {
	if a.hi != nil && (n.Hi == nil || bytes.Compare(a.hi, n.Hi) < 0) {
		a.with = append(a.with, a.piece(n, a.hi, n.Hi))
	}
}

// piece returns a part of a fragment.
func (a *adder) piece(n *node, lo, hi []byte) *node {
	p := a.newNode(lo, hi)
	p.Seqs, p.mark = n.Seqs, n.mark
	return p
}

// cover adds the tombstone to a fragment, as far as it reaches, and fills the
// gap before it.
func (a *adder) cover(n *node) {
	lo, hi := n.Lo, n.Hi
	switch c := bytes.Compare(a.pos, lo); {
	case c < 0:
		a.fill(lo)
	case c > 0:
		lo = a.pos
	}
	if a.hi != nil && !n.endsBefore(a.hi) {
		hi = a.hi
	}
	c := a.newNode(lo, hi)
	c.mark = n.mark
	c.Seqs = a.withSeq(c.seq[:0], n.Seqs)
	if c.Seqs[0] != n.Seqs[0] {
		// The fragment has a new newest sequence, so its mark means something
		// else.
		c.setMark(a.mark)
	}
	a.put(c)
	a.met++
}

// fill adds a fragment for keys up to hi that no tombstone had covered.
func (a *adder) fill(hi []byte) {
	n := a.newNode(a.pos, hi)
	n.seq[0] = a.seq
	n.Seqs = n.seq[:1]
	n.setMark(a.mark)
	a.put(n)
}

// fillRest adds a fragment for the rest of the tombstone.
func (a *adder) fillRest() {
	if !a.endless && (a.hi == nil || bytes.Compare(a.pos, a.hi) < 0) {
		a.fill(a.hi)
	}
}

// newNode returns a fragment without sequences.
func (a *adder) newNode(lo, hi []byte) *node {
	if len(a.nodes) == 0 {
		a.room = max(min(2*a.room, nodeRoom), 3)
		a.nodes = make([]node, a.room)
	}
	n := &a.nodes[0]
	a.nodes = a.nodes[1:]
	n.Lo, n.Hi = lo, hi
	return n
}

// setMark gives a fragment a mark of its own.
func (t *node) setMark(v uint32) {
	t.own.v.Store(v)
	t.mark = &t.own
}

// put appends a fragment, or extends the last one if they are alike. The longer
// one has a new mark, since a commit may be about to set either of the old
// ones. MarkDirtyRange sets the new one if necessary. Until then no read is at
// the newest sequence, which is that of a tombstone not yet visible, or it does
// not find the fragment clean (AddSeen).
func (a *adder) put(n *node) {
	a.pos, a.endless = n.Hi, n.Hi == nil
	if i := len(a.with) - 1; i >= a.begun && joins(&a.with[i].Fragment, &n.Fragment) {
		last := a.with[i]
		last.Hi = n.Hi
		if last.mark != n.mark {
			last.mark = newMark(max(a.mark, last.mark.v.Load(), n.mark.v.Load()))
		}
		return
	}
	a.with = append(a.with, n)
}

// withSeq appends to dst, which is empty, the sequences of a fragment and that
// of the tombstone, without those that no read needs.
func (a *adder) withSeq(dst, old []base.SeqNum) []base.SeqNum {
	last := len(a.stripes)
	add := func(p base.SeqNum) {
		stripe, _ := slices.BinarySearch(a.stripes, p)
		if stripe == len(a.stripes) || stripe != last {
			dst = append(dst, p)
		}
		last = stripe
	}
	i, found := slices.BinarySearchFunc(old, a.seq, newestFirst)
	for _, p := range old[:i] {
		add(p)
	}
	if !found {
		add(a.seq)
	}
	for _, p := range old[i:] {
		add(p)
	}
	return dst
}

// Find returns the fragment that contains key, or nil. clean means that, for a
// read that sees the fragment's newest sequence, no entry in it is newer than
// that.
func (v *View) Find(key []byte) (f *Fragment, clean bool) {
	f, clean = v.Next(key)
	if f == nil || bytes.Compare(f.Lo, key) > 0 {
		return nil, false
	}
	return f, clean
}

// Next returns the first fragment that ends after key, or nil: the one that
// contains key, or the next one forward.
func (v *View) Next(key []byte) (f *Fragment, clean bool) {
	if v == nil {
		return nil, false
	}
	return v.root.ending(key).found()
}

// Prev returns the last fragment that begins before key, or nil: the next one
// backward.
func (v *View) Prev(key []byte) (f *Fragment, clean bool) {
	if v == nil {
		return nil, false
	}
	return v.root.starting(key).found()
}

func (t *node) found() (*Fragment, bool) {
	if t == nil {
		return nil, false
	}
	return &t.Fragment, t.clean()
}

// Len returns the number of fragments.
func (v *View) Len() int {
	if v == nil {
		return 0
	}
	return v.n
}

// List returns the view as a list.
func (v *View) List() List {
	if v == nil {
		return List{}
	}
	l := List{make([]Fragment, 0, v.Len())}
	v.root.walk(func(t *node) bool {
		l.append(t.Fragment) // two that were cut may still be alike
		return true
	})
	return l
}

// MarkDirty marks the fragment of an entry that became visible before the view
// was loaded.
func (v *View) MarkDirty(key []byte, s base.SeqNum) {
	if v == nil {
		return
	}
	t := v.root.ending(key)
	if t != nil && t.Seqs[0] < s && bytes.Compare(t.Lo, key) <= 0 {
		t.mark.reuse()
	}
}

// MarkDirtyRange marks fragments for entries, none newer than s, some of which
// may be in [lo, hi) and may have become visible before the view was published.
// An empty hi is no end.
func (v *View) MarkDirtyRange(lo, hi []byte, s base.SeqNum) {
	if v == nil {
		return
	}
	v.root.from(lo, func(t *node) bool {
		switch {
		case len(hi) > 0 && bytes.Compare(t.Lo, hi) >= 0:
			return false
		case t.Seqs[0] < s:
			t.mark.reuse()
		default:
			t.mark.settle()
		}
		return true
	})
}
