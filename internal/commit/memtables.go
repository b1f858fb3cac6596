package commit

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
	// maxImmutable is how many full generations may wait for their flush before
	// writers are stopped, if iterators leave memory for them. Three let a flush and
	// a burst overlap.
	maxImmutable = 3
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
func (p *Pipeline) nextMemtables() (size, queue int) {
	full := int64(p.env.MemtableSize)
	share := max(p.env.MemoryBudget/memtableShare, full*maxMemtables)
	floor := min(full, max(share/minMemtable, 4<<10))
	pinned, held := p.heldMemtables()
	pinned += held
	n := int64(maxMemtables)
	if pinned > share/2 {
		n, share = scarceMemtables, share-share/4 // so many iterators keep pages besides
	}
	return int(min(full, max((share-pinned)/n, floor))), int(n) - 1
}

// queueFull reports whether as many full memtables wait for their flush as may.
func (p *Pipeline) queueFull(s *readstate.State) bool {
	return len(s.Imm) >= int(p.maxQueue.Load())
}

// pinnedMemtables is how many bytes of memtables open iterators keep beyond those
// of the current state.
func (p *Pipeline) pinnedMemtables() int64 {
	pinned, _ := p.heldMemtables()
	return pinned
}

// heldMemtables is that, and how many bytes of those of the current state are kept by
// iterators that saw the last memtable replaced: they are likely to be open still
// when those are flushed. What a running job keeps does not count: it ends by
// itself.
func (p *Pipeline) heldMemtables() (pinned, held int64) {
	cur := p.env.Store.Current()
	if cur == nil {
		return 0, 0
	}
	seen := map[*generation.Generation]bool{}
	p.env.Pins.States(func(s *readstate.State) {
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

// Pinning says which iterators keep memtables that were flushed, if that is
// more than an eighth of the budget.
func (p *Pipeline) Pinning() string {
	n := p.pinnedMemtables()
	s := p.env.Store.Current()
	if s == nil || n <= p.env.MemoryBudget/8 {
		return ""
	}
	places := p.env.Pins.Holders(s)
	if len(places) == 0 {
		return ""
	}
	return fmt.Sprintf("open iterators keep %d bytes of memtables that were flushed, of a memory budget of %d; close them, or open them anew from time to time: %s",
		n, p.env.MemoryBudget, strings.Join(places, "; "))
}
