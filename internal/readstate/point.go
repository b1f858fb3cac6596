package readstate

import "github.com/seerdb-go/seerdb/internal/base"

// Point is what a read sees: entries up to a sequence, and of those that
// expire the ones that are left at a time.
type Point struct {
	Seq  base.SeqNum // base.SeqNumMax: the newest visible one
	Time uint64      // 0: the time at which the read begins
	Hold *Hold       // of the snapshot; nil where there is none
}

// Newest is the moment at which a read begins.
var Newest = Point{Seq: base.SeqNumMax}
