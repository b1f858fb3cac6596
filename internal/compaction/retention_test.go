package compaction

import (
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

// history is versions of one key, newest first.
type history []base.Trailer

// readAt is the oracle: what a read at s finds, where deeper says that an older
// version lies deeper in the tree. 0 is nothing, deeperSeen the deeper version.
func (h history) readAt(s base.SeqNum, deeper bool) base.Trailer {
	for _, t := range h {
		if t.Visible(s) {
			if t.Kind() == base.KindDelete {
				return 0
			}
			return t
		}
	}
	if deeper {
		return deeperSeen
	}
	return 0
}

const deeperSeen = base.Trailer(1)

// changedAfter is what a transaction asks that read the key at s.
func (h history) changedAfter(s base.SeqNum) bool { return len(h) > 0 && h[0].Seq() > s }

// same reports whether no read can tell two histories apart, with these live
// snapshots, now or later.
func same(a, b history, snapshots []base.SeqNum, deeper bool, seqMax base.SeqNum) bool {
	reads := slices.Clone(snapshots)
	for s := snapshots[len(snapshots)-1]; s <= seqMax; s++ {
		reads = append(reads, s)
	}
	for _, s := range reads {
		if a.readAt(s, deeper) != b.readAt(s, deeper) || a.changedAfter(s) != b.changedAfter(s) {
			return false
		}
	}
	return true
}

func judgeAll(h history, snapshots []base.SeqNum, deeper bool) (kept history) {
	k := retention{snapshots: snapshots}
	k.startKey()
	for _, t := range h {
		if k.judge(t, func() bool { return !deeper }) == keepVersion {
			kept = append(kept, t)
		}
	}
	return kept
}

// histories calls fn with every history over sequences 1..n: each of them
// absent, a put or a tombstone.
func histories(n int, fn func(history)) {
	total := 1
	for range n {
		total *= 3
	}
	for code := range total {
		var h history
		c := code
		for s := n; s >= 1; s-- {
			switch c % 3 {
			case 1:
				h = append(h, base.MakeTrailer(base.SeqNum(s), base.KindPut))
			case 2:
				h = append(h, base.MakeTrailer(base.SeqNum(s), base.KindDelete))
			}
			c /= 3
		}
		fn(h)
	}
}

// snapshotSets calls fn with every non-empty set of sequences 0..n.
func snapshotSets(n int, fn func([]base.SeqNum)) {
	for mask := 1; mask < 1<<(n+1); mask++ {
		var s []base.SeqNum
		for i := 0; i <= n; i++ {
			if mask&(1<<i) != 0 {
				s = append(s, base.SeqNum(i))
			}
		}
		fn(s)
	}
}

// TestKeepAgainstOracle goes through all histories of up to six versions, all
// sets of snapshots and both states of what lies deeper (hazards H10 and H13 of
// the original: dropping the version that a snapshot needs, never dropping
// tombstones).
func TestKeepAgainstOracle(t *testing.T) {
	n := 6
	if testing.Short() {
		n = 5
	}
	cases := 0
	snapshotSets(n, func(snapshots []base.SeqNum) {
		histories(n, func(h history) {
			for _, deeper := range []bool{false, true} {
				cases++
				checkKeep(t, h, snapshots, deeper, base.SeqNum(n+1))
			}
		})
	})
	t.Logf("%d cases", cases)
}

func checkKeep(t *testing.T, h history, snapshots []base.SeqNum, deeper bool, seqMax base.SeqNum) {
	kept := judgeAll(h, snapshots, deeper)
	if !same(h, kept, snapshots, deeper, seqMax) {
		t.Fatalf("history %v, snapshots %v, deeper %v: keeping %v changes a read", h, snapshots, deeper, kept)
	}
	for i, v := range kept {
		if v.Kind() == base.KindDelete && v.Seq() > snapshots[0] {
			continue // kept for transactions even where no read needs it
		}
		without := slices.Delete(slices.Clone(kept), i, i+1)
		if same(h, without, snapshots, deeper, seqMax) {
			t.Fatalf("history %v, snapshots %v, deeper %v: %v need not have been kept in %v", h, snapshots, deeper, v, kept)
		}
	}
}

func TestKeepDuplicates(t *testing.T) {
	put := func(s base.SeqNum) base.Trailer { return base.MakeTrailer(s, base.KindPut) }
	for _, snapshots := range [][]base.SeqNum{nil, {3}, {9}, {3, 9}} {
		k := retention{snapshots: snapshots}
		for range 2 { // the second key must not see the first one's versions
			k.startKey()
			if v := k.judge(put(7), nil); v != keepVersion {
				t.Fatalf("snapshots %v: first: %d", snapshots, v)
			}
			if v := k.judge(put(7), nil); v != dropDuplicate {
				t.Fatalf("snapshots %v: second: %d", snapshots, v)
			}
		}
	}
}

// TestKeepWithoutSnapshots: with no visible sequence nothing may be dropped.
func TestKeepWithoutSnapshots(t *testing.T) {
	histories(4, func(h history) {
		if kept := judgeAll(h, nil, false); !slices.Equal(kept, h) {
			t.Fatalf("%v became %v", h, kept)
		}
	})
}

// judge enters a version and decides about it, as decide does.
func (k *retention) judge(t base.Trailer, elidable func() bool) verdict {
	if !k.enter(t.Seq()) {
		return dropDuplicate
	}
	return k.decide(t.Kind(), elidable)
}
