package memtable

import (
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// A hint says that at some sequence every key in a range was dead: deleted, in
// this memtable and in all that is older, or expired by some time. It is what an
// iterator found out by stepping over one tombstone after another, and spares the next one the way. It
// is no tombstone: it deletes nothing, point reads and flushes do not look at
// it, and it goes with the memtable.
//
// As with range tombstones, an iterator of this memtable may jump over a
// fragment of hints while it is clean, for which Add marks what it puts there.
// But a hint is seen at once, even over entries that came before it and are
// newer: it is not clean before AddHint has looked for them.

// maxHints and maxHintKeys bound the memory of the hints, at about 200 bytes each
// and those of the keys.
const (
	maxHints    = 1 << 12
	maxHintKeys = 1 << 10
)

// hints are those of a half. Runs of keys of which some are dead only
// because their time is over are apart: a read at an earlier time does without.
type hints struct {
	deleted rangedel.Set
	expired rangedel.Set
	// expiredAt is the latest time at which a hint in expired was found. It is
	// raised before the hint is added, so a reader that loads the view first
	// never sees a hint without its time.
	expiredAt atomic.Uint64
}

// reuse notes an entry that was added.
func (h *hints) reuse(key []byte, seq base.SeqNum) {
	if v := h.deleted.View(); v != nil {
		v.MarkDirty(key, seq)
	}
	if v := h.expired.View(); v != nil {
		v.MarkDirty(key, seq)
	}
}

// AddHint notes that all entries in [lo, hi) up to a sequence, which is visible,
// are dead; at is 0 if they all were deleted, and else the time at which they
// are deleted or expired. It copies the keys, and passes over very long ones.
func (h *half) AddHint(lo, hi []byte, seq base.SeqNum, at uint64) {
	set := &h.hints.deleted
	if at != 0 {
		set = &h.hints.expired
	}
	if set.View().Len() >= maxHints || len(lo)+len(hi) > maxHintKeys {
		return
	}
	if at != 0 {
		raise(&h.hints.expiredAt, at)
	}
	// Of two hints the newer is enough: a read before it does without.
	v := set.AddSeen(lo, hi, seq, []base.SeqNum{base.SeqNumMax})
	invariant.Yield()
	v.MarkDirtyRange(lo, hi, h.newest())
}

func raise(a *atomic.Uint64, to uint64) {
	for old := a.Load(); old < to && !a.CompareAndSwap(old, to); old = a.Load() {
	}
}

// Hints returns the hints about deleted keys that there are now, as range
// tombstones; nil when there are none.
func (h *half) Hints() *rangedel.View { return h.hints.deleted.View() }

// ExpiredHints returns the hints about keys of which some expired, for a read at
// a time; nil when there are none, or some were found at a later time.
func (h *half) ExpiredHints(at uint64) *rangedel.View {
	v := h.hints.expired.View()
	if v == nil || at < h.hints.expiredAt.Load() {
		return nil
	}
	return v
}
