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
//
// The rest is about what one stripe up to n holds; across stripes, and in
// stripe n+1, versions do not touch each other.
//
// Range tombstones. A version under a range tombstone of its own stripe goes.
// Of the tombstones over a key the newest of each stripe stays, that of stripe
// 0 until nothing deeper overlaps what it covers.
//
// Expiry. An entry that is expired for every live reader is a tombstone, in
// everything that follows.
//
// Merge operands hide nothing. They collapse: onto a value, a tombstone or a
// range tombstone under them into a value; at the end of stripe 0, with nothing
// deeper, into a value as well; else among themselves, as far as they can be
// combined. All keep the sequence of the newest. Operands do not collapse onto
// a value that will expire: a read before that sees them on top of the value, a
// read after it on top of nothing, and no single entry says both. Once it has
// expired they collapse as on any tombstone. If the merger fails, the operands
// and what is under them stay as they are.
//
// A single delete and the value next under it vanish together, so that neither
// travels down to where the other would have ended; what is left is the key as
// it was before the value, which is to say without one. In other stripes than 0
// only the value goes, and the single delete stays for transactions to see, as
// other tombstones do; once the snapshots are gone it ends at what is under it, or
// at the bottom. That is what the caller
// promised: since the single delete before, the key was put once, without an
// expiry, and neither merged nor deleted otherwise than by range. The promise
// is broken if the next under the two is a value or an operand: then, as over
// an operand, the single delete is taken for a tombstone and the case counted.
// So it is, without being counted, over another tombstone. Under a value a
// single delete stays, unlike a tombstone: the value may yet vanish with a
// newer single delete, and must not uncover what the older was for.
//
// The filter is asked about values of stripe 0 with nothing newer over them.

// verdict is what becomes of one version.
type verdict uint8

const (
	keepVersion   verdict = iota
	dropShadowed          // a newer version of the same stripe hides it
	dropDuplicate         // the same version came twice
	dropTombstone         // nothing is left to hide
)

// hiding is what the versions of a stripe, as far as judged, do to older ones.
type hiding uint8

const (
	hideNothing  hiding = iota
	hideByValue         // all go but single deletes
	hideByDelete        // all go
)

// retention judges the versions of one key after another, newest first.
type retention struct {
	snapshots []base.SeqNum // ascending
	stripe    int           // of the current version of this key; -1 before the first
	seq       base.SeqNum   // of the current version of this key
	hides     hiding        // in this stripe
}

// startKey begins the versions of another key.
func (k *retention) startKey() { k.stripe, k.hides = -1, hideNothing }

// stripeOf returns the stripe of a sequence.
func (k *retention) stripeOf(s base.SeqNum) int {
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

// enter moves on to the next older version of the key. It answers false for
// the one it stands on already.
func (k *retention) enter(s base.SeqNum) bool {
	if k.stripe >= 0 && s == k.seq {
		return false
	}
	if stripe := k.stripeOf(s); stripe != k.stripe {
		k.stripe, k.hides = stripe, hideNothing
	}
	k.seq = s
	return true
}

// decide decides about the current version, which acts as one of kind, for
// itself and for older ones. elidable is whether nothing deeper overlaps the
// key; it is asked only for tombstones that could go.
func (k *retention) decide(kind base.Kind, elidable func() bool) verdict {
	if k.hides != hideNothing {
		return dropShadowed
	}
	switch kind {
	case base.KindMerge:
		return keepVersion
	case base.KindDelete:
		k.hide(hideByDelete)
		if k.visibleToAll() && elidable() {
			return dropTombstone
		}
	default:
		k.hide(hideByValue)
	}
	return keepVersion
}

// hide notes what the current version does to older ones of its stripe.
func (k *retention) hide(h hiding) {
	if k.published() {
		k.hides = h
	}
}

// published reports whether the current version could be read when the job
// began, so that its stripe holds but one that matters.
func (k *retention) published() bool { return k.stripe < len(k.snapshots) }

// visibleToAll reports whether the current version is seen by every snapshot,
// so that nothing older than it can stay.
func (k *retention) visibleToAll() bool { return k.stripe == 0 && len(k.snapshots) > 0 }
