package memtable

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// rangeOverhead is what a range tombstone takes besides its keys. It cuts at
// most two fragments in two, which makes two more nodes, each with its part of
// an inner node, and one node garbage, for which others may stay in memory.
const rangeOverhead = 3*112 + 2*48

// RangeBound returns what a range tombstone takes from a reservation. It is on
// the Go heap and leaves as much of the arena unused.
func RangeBound(loLen, hiLen int) int64 { return int64(rangeOverhead + loLen + hiLen) }

// AddRanges adds range tombstones within a reservation and between BeginWrite
// and EndWrite. An empty Hi is no end. It copies the keys, and puts the copies
// into the slice. stripes are as for rangedel.Set.Add.
func (h *half) AddRanges(tombstones []rangedel.Tombstone, stripes []base.SeqNum) {
	for i := range tombstones {
		if len(tombstones[i].Lo) > maxKeySize || len(tombstones[i].Hi) > maxKeySize {
			panic("memtable: AddRanges of keys over the limits")
		}
	}
	h.ranges.AddAll(tombstones, stripes)
	// Every Add that begins from now on sees the tombstones. Look for entries
	// of those that did not only after that.
	invariant.Yield()
	newest := h.newest()
	var v *rangedel.View
	for i := range tombstones {
		t := &tombstones[i]
		if t.Seq >= newest {
			continue // what it covers is clean
		}
		if v == nil {
			v = h.ranges.View()
		}
		v.MarkDirtyRange(t.Lo, t.Hi, newest)
	}
}

// newest returns the newest sequence of all entries.
func (h *half) newest() (s base.SeqNum) {
	for i := range h.partitions {
		p := &h.partitions[i]
		p.mu.Lock()
		s = max(s, p.newest)
		p.mu.Unlock()
	}
	return s
}

// Ranges returns the current range tombstones, or nil. rangedel.Set.View says
// when readers must call it.
func (h *half) Ranges() *rangedel.View { return h.ranges.View() }
