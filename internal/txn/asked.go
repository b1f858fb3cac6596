package txn

import "github.com/seerdb-go/seerdb/internal/base"

// Keys read with the intent to write. If two transactions overlap, and one
// asked for a key that the other writes, the second to commit fails, whichever
// it is. Otherwise two transactions that each ask only for what the other
// writes could both commit. If the one that asked commits second, validation
// treats the key as one that it wrote; if the one that wrote commits second, it
// needs the record of asked keys that is kept here.
//
// Only transactions under snapshot isolation look at it: a serializable one
// does not mind that another read a key. Two transactions that both asked do
// not conflict, and one that wrote nothing leaves no trace, since it is as if
// it had run at its snapshot.
//
// A key that was asked for gets no version, so the tree does not know about it.
// If the records exceed their memory the oldest are dropped, and a transaction
// older than those that writes anything conflicts.
type asked struct {
	onTheWay []asking    // commits whose outcome is open, in order
	rs       records     // of transactions that committed while others were open
	floor    base.SeqNum // keys asked for up to it may be missing in rs
}

// asking has the keys that a transaction with a sequence asked for.
type asking struct {
	set *ReadSet
	seq base.SeqNum // the last one of its commit
}

// askedMin is the memory that asked keys may take in any case.
const askedMin = 64 << 10

// Asks reports whether the set has keys that were asked for. If so, Asking and
// Asked must be called for its commit.
func (s *ReadSet) Asks() bool { return s.asks > 0 }

// Asking records the keys that a transaction asked for. It has just got its
// sequences, the last of which is seq.
func (t *Tracker) Asking(s *ReadSet, seq base.SeqNum) {
	t.asked.onTheWay = append(t.asked.onTheWay, asking{s, seq})
}

// Asked ends the oldest Asking: its commit became visible, or failed for good.
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

// askedFor looks for a key that x writes and that another transaction, which
// has a sequence newer than x's snapshot, asked for. It returns the last
// sequence of that transaction's commit, which may still fail.
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

// writes reports whether a key is written by the transaction, under snapshot
// isolation, of the sealed set.
func (s *ReadSet) writes(p *point) bool {
	q := s.point(p.hash, p.keyspace, p.key)
	return q != nil && q.written || s.inRange(p.keyspace, p.key)
}
