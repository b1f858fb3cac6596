package txn

import (
	"github.com/seerdb-go/seerdb/internal/base"
)

// Verdict is the result of Validate.
type Verdict uint8

// The verdicts.
const (
	Valid    Verdict = iota // the transaction may take its sequence now
	Conflict                // a commit after its snapshot touched its set
	NeedTree                // the tree must be asked up to Answer.Upto, then Validate again
)

// Answer is a verdict. For NeedTree, Upto is the sequence that must be visible
// before the tree is asked. For Conflict it is the last sequence of the
// conflicting commit; while that is not visible the commit may still fail, and
// with it the conflict goes away.
type Answer struct {
	Verdict Verdict
	Upto    base.SeqNum
}

// orderMax is how many keys one validation adds to the tree of keys, which
// takes about a millisecond. If there are more, the caller asks the LSM tree,
// which does not hold up all commits.
const orderMax = 4096

// rangeSteps is the cost of one range, in records visited.
const rangeSteps = 16

// Validate reports whether a transaction whose set is sealed may commit. last
// is the last sequence assigned to any commit.
func (t *Tracker) Validate(x *Txn, last base.SeqNum) Answer {
	switch {
	case x.phase == idle:
		panic("txn: a transaction that is not open is validated")
	case !x.sealed:
		panic("txn: a set that is not sealed is validated")
	case len(x.points)+len(x.ranges) == 0:
		return Answer{Verdict: Valid} // nothing to validate
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

// watch makes the tracker compare every later commit with the set.
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

// check compares a set with the records newer than after, and returns the
// sequence of a conflict. Its cost is the lesser of the number of records and
// the size of the set.
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

// deleted returns the sequence, newer than after, of a range delete that
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

// Tree answers from the stored versions. Keys in range deletes count as
// written.
type Tree interface {
	// NewestSeq returns the sequence of the newest version of a key, deletions
	// included, or 0.
	NewestSeq(keyspace uint32, key []byte) (base.SeqNum, error)
	// AnyNewer reports whether any version in [lo, hi) is newer than after. A
	// nil hi is no end.
	AnyNewer(keyspace uint32, lo, hi []byte, after base.SeqNum) (bool, error)
}

// CheckTree compares the sealed set with the tree: it reports whether anything
// in it was written after the snapshot. Everything up to the answer's Upto must
// be visible. Newer commits may be visible too, since those are conflicts as
// well.
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
