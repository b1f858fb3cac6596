package memtable

import (
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// A hint says that at some sequence every key in a range was dead: deleted, in
// this memtable and everything older, or expired by some time. An iterator that
// stepped over one tombstone after another leaves a hint, which spares the next
// iterator the same way. A hint is not a tombstone: it deletes nothing, point
// reads and flushes ignore it, and it is freed with the memtable.
//
// As with range tombstones, an iterator of this memtable may jump over a
// fragment of hints while it is clean; Add marks the fragments that it writes
// into. But a hint becomes visible at once, even over entries that came before
// it and are newer, so it is not clean until AddHint has looked for those.

// maxHints and maxHintKeys bound the memory of the hints: about 200 bytes each,
// and their keys.
const (
	maxHints    = 1 << 12
	maxHintKeys = 1 << 10
)

// hints are the hints of a half. Hints over keys of which some are expired and
// not deleted are kept apart: reads at an earlier time ignore them.
type hints struct {
	deleted rangedel.Set
	expired rangedel.Set
	// expiredAt is the latest time of a hint in expired. It is raised before
	// the hint is added, so a reader that loads the view first never sees a
	// hint without its time.
	expiredAt atomic.Uint64
}

// reuse marks the hints over an entry that is added.
func (h *hints) reuse(key []byte, seq base.SeqNum) {
	if v := h.deleted.View(); v != nil {
		v.MarkDirty(key, seq)
	}
	if v := h.expired.View(); v != nil {
		v.MarkDirty(key, seq)
	}
}

// AddHint notes that all entries in [lo, hi) up to seq, which is visible, are
// dead. at is 0 if all were deleted, else the time at which they are deleted or
// expired. It copies the keys and ignores hints with very long ones.
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
	// Of two hints the newer is enough: a read at an older sequence ignores it.
	v := set.AddSeen(lo, hi, seq, []base.SeqNum{base.SeqNumMax})
	invariant.Yield()
	v.MarkDirtyRange(lo, hi, h.newest())
}

func raise(a *atomic.Uint64, to uint64) {
	for old := a.Load(); old < to && !a.CompareAndSwap(old, to); old = a.Load() {
	}
}

// Hints returns the current hints about deleted keys, as range tombstones; nil
// when there are none.
func (h *half) Hints() *rangedel.View { return h.hints.deleted.View() }

// ExpiredHints returns the hints about keys of which some expired, for a read
// at a time. It returns nil when there are none, or some have a later time.
func (h *half) ExpiredHints(at uint64) *rangedel.View {
	v := h.hints.expired.View()
	if v == nil || at < h.hints.expiredAt.Load() {
		return nil
	}
	return v
}
