package engine

import "github.com/seerdb-go/seerdb/internal/base"

// Now is the time by which values expire, in Unix milliseconds.
func (e *Engine) Now() uint64 { return e.clock.Now() }

// ReadPoint is what a read sees: entries up to a sequence, and of those that
// expire the ones that are left at a time.
type ReadPoint struct {
	Seq  base.SeqNum // base.SeqNumMax: the newest visible one
	Time uint64      // 0: the time at which the read begins
	hold *hold       // of the snapshot; nil where there is none
}

// Newest is the moment at which a read begins.
var Newest = ReadPoint{Seq: base.SeqNumMax}
