package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// An open iterator keeps the memtables of its state, after their flush too: what
// Key and Value show lies there. That memory is pinned: in use, in the budget,
// and given back only by the program. So the memtables to come are made smaller
// by it, that iterators opened at different times may not add up to much more
// than those that there are without them.

const (
	// memtableShare is the part of the budget for memtables, pinned ones included,
	// if MemtableSize does not ask for more.
	memtableShare = 2
	// maxMemtables is how many of full size there are: one that fills, those that
	// wait. Where more than half of the share is pinned, scarceMemtables are: one
	// waits, and they are twice as large.
	maxMemtables    = 1 + maxImmutable
	scarceMemtables = 2
	// minMemtable is the part of the memtables' share that a memtable gets at
	// least. An iterator keeps up to scarceMemtables of them, so that a hundred, each
	// with its own, keep an eighth of the share when memtables are that small.
	minMemtable = 1600
)

// nextMemtables says how large the next memtable is, as configured, less what its part
// of pinned memory is; and how many full ones may wait. It looks at all iterators.
func (e *Engine) nextMemtables() (size, queue int) {
	full := int64(e.opts.MemtableSize)
	share := max(e.opts.MemoryBudget/memtableShare, full*maxMemtables)
	floor := min(full, max(share/minMemtable, 4<<10))
	pinned, held := e.heldMemtables()
	pinned += held
	n := int64(maxMemtables)
	if pinned > share/2 {
		n, share = scarceMemtables, share-share/4 // so many iterators keep pages besides
	}
	return int(min(full, max((share-pinned)/n, floor))), int(n) - 1
}

// queueFull reports whether as many full memtables wait for their flush as may.
func (e *Engine) queueFull(s *readstate.State) bool {
	return len(s.Imm) >= int(e.commit.maxQueue.Load())
}

// pinnedMemtables is how many bytes of memtables open iterators keep beyond those
// of the current state.
func (e *Engine) pinnedMemtables() int64 {
	pinned, _ := e.heldMemtables()
	return pinned
}

// heldMemtables is that, and how many bytes of those of the current state are kept by
// iterators that saw the last memtable replaced: they are likely to be open still
// when those are flushed. What a running job keeps does not count: it ends by
// itself.
func (e *Engine) heldMemtables() (pinned, held int64) {
	cur := e.store.Current()
	if cur == nil {
		return 0, 0
	}
	seen := map[*generation.Generation]bool{}
	e.open.States(func(s *readstate.State) {
		for i := range 1 + len(s.Imm) {
			g := s.Generation(i)
			current := g == cur.Active || slices.Contains(cur.Imm, g)
			switch {
			case seen[g] || current && s.Active == cur.Active:
				continue
			case current:
				held += g.Charge
			default:
				pinned += g.Charge
			}
			seen[g] = true
		}
	})
	return pinned, held
}

// pinning says which iterators keep memtables that were flushed, if that is
// more than an eighth of the budget.
func (e *Engine) pinning() string {
	n := e.pinnedMemtables()
	s := e.store.Current()
	if s == nil || n <= e.opts.MemoryBudget/8 {
		return ""
	}
	places := e.open.Holders(s)
	if len(places) == 0 {
		return ""
	}
	return fmt.Sprintf("open iterators keep %d bytes of memtables that were flushed, of a memory budget of %d; close them, or open them anew from time to time: %s",
		n, e.opts.MemoryBudget, strings.Join(places, "; "))
}
