package compaction

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Workload is what Pick knows about the use of the database. The zero value
// knows nothing.
type Workload struct {
	// Idle is set if there were no writes for a while.
	Idle bool
	// OldestSnapshot is the oldest sequence that is still read: the oldest
	// snapshot's, or else the visible one.
	OldestSnapshot base.SeqNum
	// ExpireAt is as in RunOptions.
	ExpireAt uint64
	// RangeDeleted are the tables that range tombstones delete, from
	// RangeDeletedTables. A result for an older version still holds for the
	// tables that are left.
	RangeDeleted map[base.FileNum]RangeDeleted
	// Held are the keyspaces for which nothing is picked now.
	Held map[uint32]bool

	// Of the entries that recently reached the last level (arrived), fresh
	// replaced nothing there. Older jobs count less and less.
	fresh, arrived float64
}

// observeDecay is the weight that an observation keeps at each later one. The
// last five jobs make up two thirds.
const observeDecay = 0.8

// Observe updates the figures with an installed job.
func (w *Workload) Observe(j *Job, outputs []*manifest.FileMeta) {
	if j.Drop || j.OutputLevel != lastLevel || j.Inputs[0].Level == lastLevel {
		return
	}
	var upper, lower, out float64
	j.Files(func(level int, f *manifest.FileMeta) {
		if level == lastLevel {
			lower += float64(f.Entries)
		} else {
			upper += float64(f.Entries)
		}
	})
	for _, f := range outputs {
		out += float64(f.Entries)
	}
	if j.Move {
		out = upper
	}
	w.fresh = w.fresh*observeDecay + min(max(out-lower, 0), upper)
	w.arrived = w.arrived*observeDecay + upper
}

// freshness returns the part of the data above the last level that hides
// nothing: near 1 while loading, 0 while overwriting or when nothing is known.
func (w *Workload) freshness() float64 {
	if w.arrived == 0 {
		return 0
	}
	return w.fresh / w.arrived
}

// hiding returns the part that hides something, and 0 when nothing is known.
func (w *Workload) hiding() float64 {
	if w.arrived == 0 {
		return 0
	}
	return 1 - w.fresh/w.arrived
}
