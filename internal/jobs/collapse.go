package jobs

import (
	"bytes"
	"time"

	"github.com/seerdb-go/seerdb/internal/keyspace"
)

// CollapseFrom is the number of operands a read merges from which on its key is
// compacted: merging so many takes as long as a dozen reads.
const CollapseFrom = 1 << 10

// collapseEvery is the shortest time between two such compactions, each of which
// begins with a flush.
const collapseEvery = 5 * time.Second

// CollapseLater compacts the versions of a key in the background, unless it
// compacted a key within collapseEvery.
func (js *Jobs) CollapseLater(k *keyspace.Keyspace, key []byte) {
	last, now := js.collapsed.Load(), int64(time.Since(js.opened))+1
	if last != 0 && now-last < int64(collapseEvery) || !js.collapsed.CompareAndSwap(last, now) || js.env.ManualOnly {
		return
	}
	if !js.env.Work.Enter() {
		return
	}
	lo := bytes.Clone(key)
	go func() {
		defer js.env.Work.Leave()
		hi := append(bytes.Clone(lo), 0)
		if err := js.Compact(js.env.Work.Context(), k, lo, hi); err != nil {
			js.report("compaction of a key with many operands", err)
		}
	}()
}
