package compaction

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Workload is what Pick may know about the use of the database. The zero value
// knows nothing.
type Workload struct {
	// Idle means that there were no writes for a while.
	Idle bool
	// OldestSnapshot is the oldest sequence that is still read: that of the
	// oldest snapshot, or else the visible one.
	OldestSnapshot base.SeqNum
	// ExpireAt is as in RunOptions.
	ExpireAt uint64
	// RangeDeleted are the tables that range tombstones delete, as RangeDeleted found. What
	// it found in an older version still holds of the tables that are left.
	RangeDeleted map[base.FileNum]RangeDeleted
	// Held are the keyspaces of which nothing is picked now.
	Held map[uint32]bool

	// Of the entries that reached the last level lately, how many replaced
	// nothing there. Older jobs count less and less.
	fresh, arrived float64
}

// observeDecay is what an observation is still worth after the next one. With
// it the last five jobs make up two thirds.
const observeDecay = 0.8

// Observe learns from a job that was installed what its writes were like.
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

// freshness returns the part of what lies above the last level that hides
// nothing: near 1 while loading, 0 while overwriting, and 0 when nothing is
// known.
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
