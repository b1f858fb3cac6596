package txn

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
)

// A span is a range that a range delete covered. The spans of a keyspace are
// disjoint: where they would overlap the newer one, which is the one that
// counts, cuts away the older. A queue that deletes from its front again and
// again leaves one span.

// covers reports whether a span holds a key of its keyspace that is not before
// it.
func (r *record) covers(keyspace uint32, key []byte) bool {
	return r.keyspace == keyspace && (r.endless || bytes.Compare(key, r.hi) < 0)
}

// putSpan notes that [lo, hi) was deleted at seq, which is the newest sequence
// yet. A nil hi is no end.
func (rs *records) putSpan(keyspace uint32, lo, hi []byte, seq base.SeqNum) {
	if p := rs.spans.atMost(keyspace, lo); p != nil && p.covers(keyspace, lo) && !bytes.Equal(p.key, lo) {
		if hi != nil && p.covers(keyspace, hi) { // what remains of it behind the new one
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
			// It begins later now, and still before the next one.
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

// spanNewer returns the sequence at which a key was in a range deleted after
// another sequence, or 0.
func (rs *records) spanNewer(keyspace uint32, key []byte, after base.SeqNum) base.SeqNum {
	if r := rs.spans.atMost(keyspace, key); r != nil && r.seq > after && r.covers(keyspace, key) {
		return r.seq
	}
	return 0
}

// spanOverlaps returns a sequence at which a range deleted after another sequence
// overlaps a range, or 0.
func (rs *records) spanOverlaps(g *Range, after base.SeqNum) base.SeqNum {
	if seq := rs.spanNewer(g.Keyspace, g.Lo, after); seq != 0 {
		return seq
	}
	return rs.spans.anyNewer(g, after)
}
