package memtable

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// A hint says that at some sequence every key in a range was dead: deleted, in
// this generation and in all that is older. It is what an iterator found out by
// stepping over one tombstone after another, and spares the next one the way. It
// is no tombstone: it deletes nothing, point reads and flushes do not look at
// it, and it goes with the generation.
//
// As with range tombstones, an iterator of this generation may jump over a
// fragment of hints while it is clean, for which Add marks what it puts there.
// But a hint is seen at once, even over entries that came before it and are
// newer: it is not clean before AddHint has looked for them.

// maxHints and maxHintKeys bound the memory of the hints, at about 200 bytes each
// and those of the keys.
const (
	maxHints    = 1 << 12
	maxHintKeys = 1 << 10
)

// AddHint notes that all entries in [lo, hi) up to a sequence, which is visible,
// are dead. It copies the keys, and passes over very long ones.
func (g *Generation) AddHint(lo, hi []byte, seq base.SeqNum) {
	if g.hints.View().Len() >= maxHints || len(lo)+len(hi) > maxHintKeys {
		return
	}
	// Of two hints the newer is enough: who reads before it does without.
	v := g.hints.AddSeen(lo, hi, seq, []base.SeqNum{base.SeqNumMax})
	yield()
	v.ReuseRange(lo, hi, g.newest())
}

// Hints returns the hints there are now, as range tombstones; nil when there
// are none.
func (g *Generation) Hints() *rangedel.View { return g.hints.View() }
