package wal

import (
	"runtime"
	"time"
)

// gather makes groups whole. When a sync ends, the committers that it releases
// return with their next records a few microseconds later, but the first
// committer that waited for its end starts the next sync at once: 16 committers
// then settle into two groups of 8 that take turns, and each waits for two
// syncs. So a committer that is about to sync first waits for the released
// ones, as long as that is short compared with the sync. If they do not return,
// because committers pause between commits, it tries less and less often.
//
// Guarded by Writer.mu.
type gather struct {
	records   int64         // appended so far
	written   int64         // of records, written to the file
	synced    int64         // of records, durable
	atSync    int64         // records when the last sync ended
	released  int64         // records that it covered
	took      time.Duration // how long it took
	gathering bool          // a goroutine waits for the released committers
	skip      int           // syncs to skip before trying again
	misses    int           // consecutive attempts that waited in vain
}

// gatherMax bounds the wait, and so does a quarter of a sync.
const gatherMax = 250 * time.Microsecond

// gatherYields bounds the wait too: a yield without other work takes 0.1 us.
const gatherYields = 500

// gatherSkipMax bounds how many syncs are skipped.
const gatherSkipMax = 256

// wanted reports whether to wait for the released committers.
func (g *gather) wanted() bool {
	if g.released == 0 || g.records-g.atSync >= g.released {
		return false
	}
	if g.skip > 0 {
		g.skip--
		return false
	}
	return true
}

// gatherLocked waits, and releases mu while it does.
func (w *Writer) gatherLocked() {
	g := &w.gather
	g.gathering = true
	limit := min(gatherMax, g.took/4)
	begin := time.Now()
	for yields := 0; g.records-g.atSync < g.released && yields < gatherYields; yields++ {
		w.mu.Unlock()
		runtime.Gosched()
		w.mu.Lock()
		if time.Since(begin) > limit || w.err != nil || w.closing {
			break
		}
	}
	g.gathering = false
	if g.records-g.atSync >= g.released {
		g.misses = 0
	} else {
		g.misses++
		g.skip = min(1<<min(g.misses, 30), gatherSkipMax)
	}
	w.cond.Broadcast()
}
