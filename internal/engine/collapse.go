package engine

import (
	"bytes"
	"time"
)

// collapseFrom is how many operands a read may have to merge before its key is
// compacted: that is when merging them takes as long as a dozen reads.
const collapseFrom = 1 << 10

// collapseEvery is the time between two such compactions, each of which begins
// with a flush.
const collapseEvery = 5 * time.Second

// collapseLater compacts the versions of a key in the background, unless that
// was done for some key lately.
func (k *Keyspace) collapseLater(key []byte) {
	e := k.e
	last, now := e.collapsed.Load(), int64(time.Since(e.opened))+1
	if last != 0 && now-last < int64(collapseEvery) || !e.collapsed.CompareAndSwap(last, now) || e.opts.ReadOnly || e.opts.ManualOnly {
		return
	}
	if !e.work.Enter() {
		return
	}
	lo := bytes.Clone(key)
	go func() {
		defer e.work.Leave()
		hi := append(bytes.Clone(lo), 0)
		if err := k.Compact(e.work.Context(), lo, hi); err != nil {
			e.background.report("compaction of a key with many operands", err)
		}
	}()
}
