package memtable

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// rangeOverhead is what a range tombstone takes beside its keys: it cuts at
// most two fragments in two, so there are two nodes more, each with sequences
// and a mark.
const rangeOverhead = 2 * (112 + 16 + 16)

// RangeBound is what a range tombstone takes from a reservation. It lies on the
// Go heap, and leaves so much of the arena unused.
func RangeBound(loLen, hiLen int) int { return rangeOverhead + loLen + hiLen }

// AddRange adds a range tombstone over [lo, hi), within a reservation and
// between BeginWrite and EndWrite. An empty hi is no end. It copies the keys.
// stripes are those of rangedel.Set.Add.
func (g *Generation) AddRange(lo, hi []byte, seq base.SeqNum, stripes []base.SeqNum) {
	if len(lo) > maxKeySize || len(hi) > maxKeySize {
		panic("memtable: AddRange of keys over the limits")
	}
	v := g.ranges.Add(lo, hi, seq, stripes)
	// Only now, when every Add that begins will see the tombstone, ask for the
	// entries of those that did not.
	yield()
	v.ReuseRange(lo, hi, g.newest())
}

// newest is the newest sequence of all entries.
func (g *Generation) newest() (s base.SeqNum) {
	for i := range g.partitions {
		p := &g.partitions[i]
		p.mu.Lock()
		s = max(s, p.newest)
		p.mu.Unlock()
	}
	return s
}

// Ranges returns the range tombstones there are now; nil when there are none.
// See rangedel.Set.View for when to ask.
func (g *Generation) Ranges() *rangedel.View { return g.ranges.View() }
