package dbiter

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/merge"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// This file holds what a cursor reads: which sources, at which moment and within which
// bounds.

// Env is what all iterators of a database share.
type Env struct {
	Store    *readstate.Store
	Pins     *pins.List
	Folded   *Folded
	DeadMin  int // how many dead keys in a row make an iterator leave a hint
	FoldFrom int // how many operands of a key make an iterator store their result
	// Share creates the part of a memtable that keyspaces share, if the memtable is active
	// and no commit is in the way.
	Share func(*generation.Generation) bool
}

// Keyspace is what iterators need of a keyspace.
type Keyspace interface {
	ID() uint32
	Merger() base.Merger // or nil
	Describe() string    // for messages
}

// moment is what an iterator sees: entries up to a sequence, and those of its own
// transaction, except values that had expired by a time.
type moment struct {
	seq  base.SeqNum
	top  base.Trailer // trailer to seek a key's newest entry up to seq with
	seek base.Trailer // trailer to seek a key's newest entry with, own writes included
	time uint64
}

// limits are the bounds and modes of an iterator.
type limits struct {
	lower    []byte
	upper    []byte
	bounds   []byte // backs lower and upper
	keysOnly bool
	bulk     bool
}

// sources are what an iterator reads, newest first, and their merged order.
type sources struct {
	k        Keyspace
	s        *readstate.State
	hold     *readstate.Hold // of the snapshot, while the iterator is being opened
	merged   merge.Iter
	children []base.Iterator
	mems     memtable.Iters
	runs     []readstate.RunIter
	refs     writeset.Iter     // the writes of an open transaction
	withOwn  bool              // there are such writes
	ranges   []rangeSource     // range tombstones, newest first; nearly always none
	views    []memtable.Ranges // range tombstones of the memtables, fixed together with the sequence
	hit      hit               // what covered found
}

func (c *cursor) setBounds(o Options) {
	c.bounds = append(append(c.bounds[:0], o.Lower...), o.Upper...)
	if c.bounds == nil {
		c.bounds = []byte{} // an empty upper bound is a bound: nothing is below it
	}
	c.lower, c.upper = nil, nil
	if o.Lower != nil {
		c.lower = c.bounds[:len(o.Lower):len(o.Lower)]
	}
	if o.Upper != nil {
		c.upper = c.bounds[len(o.Lower):]
	}
}

// addChildren adds the sources from newest to oldest.
func (c *cursor) addChildren(own *writeset.Set, o sstable.IterOptions) {
	ls := c.s.Levels(c.k.ID())
	nr := 0
	for l := range ls {
		nr += len(ls[l])
	}
	c.runs = base.Grow(c.runs, nr)
	c.children = c.children[:0]
	c.ranges = c.ranges[:0]
	c.top = base.SeekTrailer(c.seq)
	c.seek, c.withOwn = c.top, false
	if own != nil {
		c.addOwn(own)
	}
	c.addMems()
	n := 0
	for l := range ls {
		for i := range ls[l] {
			run := &c.runs[n]
			n++
			run.Init(ls[l][i].Tables, o, c.upper)
			if ls[l][i].Ranges {
				c.ranges = append(c.ranges, rangeSource{order: len(c.children), run: &ls[l][i]})
			}
			c.children = append(c.children, run)
		}
	}
	c.merged.Init(c.children)
}

// fix fixes the sequence, the time, and the range tombstones of the generations that belong
// to the sequence: see rangedel.Set.View.
func (c *cursor) fix(at readstate.Point) {
	c.seq, c.time = at.Seq, at.Time
	for {
		c.views = c.views[:0]
		for i := range 1 + len(c.s.Imm) {
			c.views = append(c.views, c.s.Generation(i).Mem.Ranges(c.k.ID()))
		}
		visible := c.s.Visible()
		if at.Seq > visible {
			c.seq = visible
		}
		if c.viewsCurrent() {
			break
		}
	}
	if c.time == 0 {
		c.time = c.env.Store.ReadTime()
	}
}

func (c *cursor) viewsCurrent() bool {
	for i, v := range c.views {
		if v != c.s.Generation(i).Mem.Ranges(c.k.ID()) {
			return false
		}
	}
	return true
}

// addOwn adds the writes of an open transaction.
func (c *cursor) addOwn(own *writeset.Set) {
	view := own.View(c.k.ID())
	if view == nil && !own.Writes() {
		return
	}
	c.seek, c.withOwn = base.SeekTrailer(base.SeqNumMax), true
	c.refs.Init(own, c.k.ID())
	if view != nil {
		c.ranges = append(c.ranges, rangeSource{order: 0, view: memtable.PlainRanges(view), own: true})
	}
	c.children = append(c.children, &c.refs)
}

// addMems adds the memtables.
func (c *cursor) addMems() {
	c.mems.Reset(c.k.ID(), 1+len(c.s.Imm))
	for i := range 1 + len(c.s.Imm) {
		m := c.s.Generation(i).Mem
		c.addHints(m) // also of an empty memtable: hints are about what is below it
		if child := c.mems.Add(m, c.seq); child != nil {
			c.addRanges(c.views[i], false)
			c.children = append(c.children, child)
		}
	}
}

// addHints adds the hints of a generation as range tombstones of the next child: they hold
// keys that are dead in the generation and everything older. A snapshot that keeps a state
// of its own gets none, since a compaction filter may have removed keys that the snapshot
// still sees.
func (c *cursor) addHints(m *memtable.Memtable) {
	dead, expired := m.Hints(c.k.ID()), m.ExpiredHints(c.k.ID(), c.time)
	if c.hold != nil && c.hold.Apart() { // checked after the hints are read: a state is kept before it is replaced
		return
	}
	c.addRanges(dead, false)
	c.addRanges(expired, true)
}

// addRanges adds range tombstones, if there are any, as those of the next child.
func (c *cursor) addRanges(r memtable.Ranges, timed bool) {
	if !r.None() {
		c.ranges = append(c.ranges, rangeSource{order: len(c.children), view: r, timed: timed})
	}
}

// sees reports whether an entry is visible: by its sequence, or because the
// transaction wrote it itself.
func (c *cursor) sees(t base.Trailer) bool {
	return t <= c.top || t >= base.MakeTrailer(writeset.FirstSeq, 0)
}

// own copies the target of a seek. The target may be what Key or Value returned: a view
// that the first source to move overwrites before the next source reads it.
func (c *cursor) own(key []byte) []byte {
	c.target = copyKey(c.target, key)
	return c.target
}

// copyKey copies a key into a buffer. The copy of an empty key is not nil, since nil would
// mean no bound.
func copyKey(buf, key []byte) []byte {
	if buf = append(buf[:0], key...); buf == nil {
		buf = []byte{}
	}
	return buf
}
