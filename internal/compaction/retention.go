package compaction

import (
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
)

// This file decides which versions of a key live (I7).
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
// n+1 no version hides another: a later read may be between any two.
//
// A tombstone may go if all that it hides is gone: nothing deeper in the tree
// overlaps its key, and no older version of it stays in this output. The latter
// holds in stripe 0. Tombstones of other stripes stay even with nothing under
// them: a transaction that validates its reads against the tree must see that
// the key changed after its snapshot.
//
// The following rules hold within one stripe up to n; versions in different
// stripes, and in stripe n+1, do not affect each other.
//
// Range tombstones. A version under a range tombstone of its own stripe goes.
// Of the tombstones over a key the newest of each stripe stays; that of stripe
// 0 goes once nothing deeper overlaps what it covers.
//
// Expiry. An entry that is expired for every live reader counts as a tombstone
// in all these rules.
//
// Merge operands hide nothing. They collapse: with a value, tombstone or range
// tombstone under them, into a value; at the end of stripe 0 with nothing
// deeper, into a value as well; otherwise with each other, as far as they
// combine. The result has the sequence of the newest. Operands do not collapse
// onto a value that will expire: a read before the expiry sees them on top of
// the value, a read after it on top of nothing, and no single entry expresses
// both. Once the value has expired they collapse as on any tombstone. If the
// merger fails, the operands and what is under them stay.
//
// A single delete and the value next under it vanish together, so that neither
// travels down to where the other would have ended; the key is then absent, as
// it was before the value. In stripes other than 0 only the value goes. The
// single delete stays for transactions to see, as other tombstones do; once the
// snapshots are gone it ends at what is under it, or at the bottom. This relies
// on what the caller promised: since the single delete before, the key was put
// once, without an expiry, and neither merged nor deleted other than by range.
// If the next version under the two is a value or an operand, the promise is
// broken: the single delete then becomes a tombstone, and the case is counted.
// It also becomes a tombstone over an operand, which is counted, and over
// another tombstone, which is not. Under a value a single delete stays, unlike
// a tombstone: the value may still vanish with a newer single delete, and must
// not uncover what the older one hides.
//
// The filter is called for values of stripe 0 with nothing newer over them.

// verdict is the decision about one version.
type verdict uint8

const (
	keepVersion   verdict = iota
	dropShadowed          // a newer version of the same stripe hides it
	dropDuplicate         // a second copy of the same version
	dropTombstone         // a tombstone that hides nothing any more
)

// hiding is what the newer versions of a stripe do to older ones.
type hiding uint8

const (
	hideNothing  hiding = iota
	hideByValue         // all go except single deletes
	hideByDelete        // all go
)

// retention decides about the versions of one key after another, newest first.
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
	// There is almost always one snapshot, the visible sequence.
	if len(k.snapshots) == 1 {
		if s <= k.snapshots[0] {
			return 0
		}
		return 1
	}
	i, _ := slices.BinarySearch(k.snapshots, s)
	return i
}

// enter moves to the next older version of the key. It returns false if that is
// the current version again.
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

// decide decides about the current version, which has the effective kind given,
// and notes its effect on older ones. elidable reports whether nothing deeper
// overlaps the key; decide calls it only for tombstones that could go.
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

// hide notes the effect of the current version on older ones of its stripe.
func (k *retention) hide(h hiding) {
	if k.published() {
		k.hides = h
	}
}

// published reports whether the current version was readable when the job
// began, so that only one of its stripe matters.
func (k *retention) published() bool { return k.stripe < len(k.snapshots) }

// visibleToAll reports whether every snapshot sees the current version, so that
// nothing older can stay.
func (k *retention) visibleToAll() bool { return k.stripe == 0 && len(k.snapshots) > 0 }
