package txn

import (
	"github.com/seerdb-go/seerdb/internal/base"
)

// Verdict is what Validate says.
type Verdict uint8

// The verdicts.
const (
	Valid    Verdict = iota // the transaction may take its sequence now
	Conflict                // a commit after its snapshot touched its set
	NeedTree                // the tree must be asked up to Answer.Upto, then Validate again
)

// Answer is a verdict. Upto is the sequence that must be visible before the tree
// is asked; of a conflict it is the end of the commit that made it. While that is
// not visible it may yet fail, and take the conflict with it.
type Answer struct {
	Verdict Verdict
	Upto    base.SeqNum
}

// orderMax is how many keys one validation brings into the tree of keys, which
// takes about a millisecond. With more to do the versions are asked of the
// tree instead of holding up all commits.
const orderMax = 4096

// rangeSteps is what one range costs, in records looked at.
const rangeSteps = 16

// Validate reports whether a transaction whose set is sealed may commit. Last is
// the last sequence given to any commit.
func (t *Tracker) Validate(x *Txn, last base.SeqNum) Answer {
	switch {
	case x.phase == idle:
		panic("txn: a transaction that is not open is validated")
	case !x.sealed:
		panic("txn: a set that is not sealed is validated")
	case len(x.points)+len(x.ranges) == 0:
		return Answer{Verdict: Valid} // blind writes meet no other
	}
	if found, by := t.askedFor(x); found {
		return Answer{Conflict, by}
	}
	if x.phase == watched {
		if x.hit != 0 {
			return Answer{Conflict, x.hit}
		}
		return Answer{Verdict: Valid}
	}
	v, by := t.check(x, max(x.snapshot, t.floor))
	switch {
	case v == Conflict:
		return Answer{Conflict, by}
	case v == Valid && x.phase == tracked:
		return Answer{Verdict: Valid}
	}
	t.watch(x)
	return Answer{NeedTree, last}
}

// watch has every commit from now on compared with the set.
func (t *Tracker) watch(x *Txn) {
	if x.phase == lost {
		t.lost.remove(x)
	} else {
		t.tracked.remove(x)
		t.active--
		t.prune()
	}
	x.phase = watched
	t.watched.add(x)
	t.active++
}

// check holds a set against the records after a sequence, and returns that of a
// conflict. It costs the lesser of what was written since and what the set holds.
func (t *Tracker) check(x *Txn, after base.SeqNum) (Verdict, base.SeqNum) {
	rs := &t.rs
	if rs.newest == nil || rs.newest.seq <= after {
		return Valid, 0
	}
	if rs.spans.root != nil && rs.spans.root.max > after {
		if seq := rs.deleted(x, after); seq != 0 {
			return Conflict, seq
		}
	}
	steps := len(x.points) + rangeSteps*len(x.ranges)
	r := rs.newest
	for ; r != nil && r.seq > after && steps > 0; r, steps = r.older, steps-1 {
		if !r.span && x.has(r.hash, r.keyspace, r.key) {
			x.over = r.hash
			return Conflict, r.seq
		}
	}
	if r == nil || r.seq <= after {
		return Valid, 0
	}
	for i := range x.points {
		p := &x.points[i]
		if r := rs.find(p.hash, p.keyspace, p.key); r != nil && r.seq > after {
			x.over = p.hash
			return Conflict, r.seq
		}
	}
	if len(x.ranges) > 0 && !rs.order(orderMax) {
		return NeedTree, 0
	}
	for i := range x.ranges {
		g := &x.ranges[i]
		if seq := rs.keys.anyNewer(g, after); seq != 0 {
			x.over = keyHash(g.Keyspace, g.Lo)
			return Conflict, seq
		}
	}
	return Valid, 0
}

// deleted returns the sequence after another one at which a range delete
// touched a set, or 0.
func (rs *records) deleted(x *Txn, after base.SeqNum) base.SeqNum {
	for i := range x.points {
		p := &x.points[i]
		if seq := rs.spanNewer(p.keyspace, p.key, after); seq != 0 {
			x.over = p.hash
			return seq
		}
	}
	for i := range x.ranges {
		if seq := rs.spanOverlaps(&x.ranges[i], after); seq != 0 {
			return seq
		}
	}
	return 0
}

// Tree answers from the stored versions. What range deletes covered counts as
// written.
type Tree interface {
	// NewestSeq is the sequence of the newest version of a key, deletions
	// included, or 0.
	NewestSeq(keyspace uint32, key []byte) (base.SeqNum, error)
	// AnyNewer reports whether any version in [lo, hi) is newer than after. A
	// nil hi is no end.
	AnyNewer(keyspace uint32, lo, hi []byte, after base.SeqNum) (bool, error)
}

// CheckTree holds the sealed set against the tree: it reports whether anything
// in it was written after the snapshot. Everything up to the answer's Upto
// must be visible; that newer commits are there too does no harm, for they are
// conflicts as well.
func (x *Txn) CheckTree(t Tree) (newer bool, err error) {
	for i := range x.points {
		p := &x.points[i]
		if seq, err := t.NewestSeq(p.keyspace, p.key); err != nil || seq > x.snapshot {
			x.found = p.hash
			return err == nil, err
		}
	}
	for i := range x.ranges {
		g := &x.ranges[i]
		if newer, err := t.AnyNewer(g.Keyspace, g.Lo, g.Hi, x.snapshot); err != nil || newer {
			return newer, err
		}
	}
	return false, nil
}
