package txn

import "github.com/seerdb-go/seerdb/internal/base"

// Keys that were asked for with the intent to write. Of two transactions that
// overlap, one of which asked for a key that the other writes, the second to
// commit fails, whichever of them that is: else two transactions that each ask
// for what the other writes, and nothing more, could both commit. The one that
// asked and commits second is validated like one that wrote the key; for the
// one that wrote and commits second, what was asked for is kept here.
//
// That looks only at transactions under snapshot isolation: to a serializable
// one it makes no difference that a key was looked at. Two that both asked do
// not conflict, and one that wrote nothing leaves no trace, for it is as if it
// had run at its snapshot.
//
// A key that was asked for has no version of its own, so the tree knows nothing
// of it. What does not fit into memory is forgotten, the oldest first, and a
// transaction that is older than that and writes anything conflicts with it.
type asked struct {
	onTheWay []asking    // of commits whose outcome is open, in their order
	rs       records     // of those that committed while transactions were open
	floor    base.SeqNum // what was asked for up to it may be missing in rs
}

// asking is what a transaction asked for that has got its sequence.
type asking struct {
	set *ReadSet
	seq base.SeqNum // the last one of its commit
}

// askedMin is what the keys that were asked for may take in any case.
const askedMin = 64 << 10

// Asks reports whether the set has keys that were asked for: then Asking and
// Asked must be called for its commit.
func (s *ReadSet) Asks() bool { return s.asks > 0 }

// Asking notes what a transaction asked for that has just got its sequences, the
// last of which is seq.
func (t *Tracker) Asking(s *ReadSet, seq base.SeqNum) {
	t.asked.onTheWay = append(t.asked.onTheWay, asking{s, seq})
}

// Asked ends what Asking began, in the same order: the commit became visible, or
// failed for good.
func (t *Tracker) Asked(committed bool) {
	a := &t.asked
	s, seq := a.onTheWay[0].set, a.onTheWay[0].seq
	a.onTheWay[0] = asking{}
	if a.onTheWay = a.onTheWay[1:]; len(a.onTheWay) == 0 {
		a.onTheWay = nil
	}
	if _, open := t.Oldest(); !committed || !open {
		return
	}
	for i := range s.points {
		if p := &s.points[i]; p.asked {
			a.rs.put(p.keyspace, p.key, seq)
		}
	}
	for a.rs.bytes > max(t.limit, askedMin) {
		oldest, _ := t.Oldest()
		a.floor = max(a.floor, a.rs.oldest.seq)
		for a.rs.oldest != nil && a.rs.oldest.seq <= max(a.floor, oldest) {
			a.rs.drop(a.rs.oldest)
		}
	}
}

// askedFor looks for a key that a transaction writes and another one, which has
// its sequence and is newer than the snapshot, asked for. It returns the last
// sequence of that one's commit, which may still fail.
func (t *Tracker) askedFor(x *Txn) (found bool, by base.SeqNum) {
	a := &t.asked
	switch {
	case !x.writer || len(a.onTheWay) == 0 && a.rs.newest == nil && a.floor <= x.snapshot:
		return false, 0
	case a.floor > x.snapshot:
		return true, a.floor
	}
	for i := range x.points {
		p := &x.points[i]
		if r := a.rs.find(p.hash, p.keyspace, p.key); p.written && r != nil && r.seq > x.snapshot {
			x.over = p.hash
			return true, r.seq
		}
	}
	if len(x.ranges) > 0 {
		a.rs.order(a.rs.n)
	}
	for i := range x.ranges {
		if seq := a.rs.keys.anyNewer(&x.ranges[i], x.snapshot); seq != 0 {
			return true, seq
		}
	}
	for _, w := range a.onTheWay {
		for i := range w.set.points {
			if p := &w.set.points[i]; p.asked && x.writes(p) {
				x.over = p.hash
				return true, w.seq
			}
		}
	}
	return false, 0
}

// writes reports whether the sealed set, of a transaction under snapshot
// isolation, says that a key is written.
func (s *ReadSet) writes(p *point) bool {
	q := s.point(p.hash, p.keyspace, p.key)
	return q != nil && q.written || s.inRange(p.keyspace, p.key)
}
