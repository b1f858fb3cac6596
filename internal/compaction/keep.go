package compaction

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Which versions of a key live (invariant I7).
//
// The snapshots cut the sequences into stripes. With snapshots s0 < s1 < ... <
// sn, where sn is the sequence that was visible when the job began,
//
//	stripe 0      seq <= s0        seen by every snapshot
//	stripe i      s(i-1) < seq <= si
//	stripe n+1    sn < seq         not published when the job began
//
// Every read, now and later, is at one of the snapshots or above sn, so of the
// versions in one stripe up to n only the newest can ever be read. In stripe
// n+1 no version hides another: a read may come to stand between any two.
//
// A tombstone may go if all it hides is gone, which is so when nothing deeper
// in the tree overlaps its key and no older version of it stays in this very
// output. The latter holds in stripe 0. Tombstones of other stripes stay even
// if nothing is under them: a transaction that validates its reads against the
// tree must see that the key changed after its snapshot.

// verdict is what becomes of one version.
type verdict uint8

const (
	keepVersion   verdict = iota
	dropShadowed          // a newer version of the same stripe hides it
	dropDuplicate         // the same version came twice
	dropTombstone         // nothing is left to hide
)

// keeper judges the versions of one key after another, newest first.
type keeper struct {
	snapshots []base.SeqNum // ascending
	stripe    int           // of the previous version of this key; -1 before the first
	seq       base.SeqNum   // of the previous version of this key
}

// startKey begins the versions of another key.
func (k *keeper) startKey() { k.stripe = -1 }

// stripeOf returns the stripe of a sequence.
func (k *keeper) stripeOf(s base.SeqNum) int {
	// Nearly always there is one snapshot, the visible sequence.
	if len(k.snapshots) == 1 {
		if s <= k.snapshots[0] {
			return 0
		}
		return 1
	}
	i, _ := slices.BinarySearch(k.snapshots, s)
	return i
}

// judge decides about the next older version of the key. elidable is whether
// nothing deeper overlaps the key; it is asked only for tombstones that could
// go.
func (k *keeper) judge(t base.Trailer, elidable func() bool) verdict {
	s := t.Seq()
	if k.stripe >= 0 && s == k.seq {
		return dropDuplicate
	}
	stripe := k.stripeOf(s)
	hidden := stripe == k.stripe && stripe < len(k.snapshots)
	k.stripe, k.seq = stripe, s
	switch {
	case hidden:
		return dropShadowed
	case t.Kind() == base.KindDelete && k.visibleToAll() && elidable():
		return dropTombstone
	}
	return keepVersion
}

// visibleToAll reports whether the version judged last is seen by every
// snapshot, so that nothing older than it can stay.
func (k *keeper) visibleToAll() bool { return k.stripe == 0 && len(k.snapshots) > 0 }
