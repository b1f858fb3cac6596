package txn

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
)

// A span is a range that a range delete covered. The spans of a keyspace are
// disjoint: where they would overlap the newer one cuts away the older, since
// only the newer counts. A queue that deletes from its front over and over
// leaves one span.

// covers reports whether a span of this keyspace, which does not begin after
// key, contains key.
func (r *record) covers(keyspace uint32, key []byte) bool {
	return r.keyspace == keyspace && (r.endless || bytes.Compare(key, r.hi) < 0)
}

// putSpan records that [lo, hi) was deleted at seq, the newest sequence so far.
// A nil hi is no end.
func (rs *records) putSpan(keyspace uint32, lo, hi []byte, seq base.SeqNum) {
	if p := rs.spans.atMost(keyspace, lo); p != nil && p.covers(keyspace, lo) && !bytes.Equal(p.key, lo) {
		if hi != nil && p.covers(keyspace, hi) { // the part of it after the new one stays
			rs.addSpan(keyspace, hi, p.hi, p.endless, p.seq, p)
		}
		rs.bytes -= p.size()
		p.hi, p.endless = append(p.hi[:0], lo...), false
		rs.bytes += p.size()
	}
	for {
		n := rs.spans.atLeast(keyspace, lo)
		if n == nil || n.keyspace != keyspace || hi != nil && bytes.Compare(n.key, hi) >= 0 {
			break
		}
		if hi != nil && n.covers(keyspace, hi) {
			// It begins later now, still before the next span.
			rs.bytes -= n.size()
			n.setKey(keyspace, hi)
			rs.bytes += n.size()
			break
		}
		rs.drop(n)
	}
	rs.addSpan(keyspace, lo, hi, hi == nil, seq, rs.newest)
}

func (rs *records) addSpan(keyspace uint32, lo, hi []byte, endless bool, seq base.SeqNum, behind *record) {
	r := rs.alloc()
	r.setKey(keyspace, lo)
	r.hi = append(r.hi[:0], hi...)
	r.span, r.endless, r.ordered, r.seq = true, endless, true, seq
	rs.bytes += r.size()
	rs.link(r, behind)
	rs.spans.insert(r)
}

// spanNewer returns the sequence, newer than after, of a range delete over a
// key, or 0.
func (rs *records) spanNewer(keyspace uint32, key []byte, after base.SeqNum) base.SeqNum {
	if r := rs.spans.atMost(keyspace, key); r != nil && r.seq > after && r.covers(keyspace, key) {
		return r.seq
	}
	return 0
}

// spanOverlaps returns the sequence, newer than after, of a range delete that
// overlaps g, or 0.
func (rs *records) spanOverlaps(g *Range, after base.SeqNum) base.SeqNum {
	if seq := rs.spanNewer(g.Keyspace, g.Lo, after); seq != 0 {
		return seq
	}
	return rs.spans.anyNewer(g, after)
}
