package commit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// An open iterator keeps the memtables of its state even after their flush: Key and
// Value return slices of them. That memory is pinned: it counts to the budget, and
// only the program can release it, by closing the iterator. The pipeline makes later
// memtables smaller by the pinned amount, so that iterators opened at different
// times do not take much more memory than memtables take without iterators.

const (
	// maxImmutable is how many full generations may wait for their flush before
	// writers are stopped, if iterators leave memory for them. Three let a flush and
	// a burst overlap.
	maxImmutable = 3
	// memtableShare divides the budget: one part of so many is for memtables, pinned
	// ones included, unless MemtableSize asks for more.
	memtableShare = 2
	// maxMemtables is the number of memtables of full size: one that fills and those
	// that wait. If more than half of the share is pinned, there are scarceMemtables
	// instead: only one waits, and they are twice as large.
	maxMemtables    = 1 + maxImmutable
	scarceMemtables = 2
	// minMemtable divides the memtables' share: a memtable gets at least one part of
	// so many. An iterator keeps up to scarceMemtables of them, so a hundred iterators
	// with memtables of their own keep an eighth of the share at that size.
	minMemtable = 1600
)

// nextMemtables returns the size of the next memtable, which is the configured size
// less its part of pinned memory, and how many full ones may wait. It visits all
// iterators.
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

// queueFull reports whether the queue of full memtables has no room for another.
func (p *Pipeline) queueFull(s *readstate.State) bool {
	return len(s.Imm) >= int(p.maxQueue.Load())
}

// pinnedMemtables returns how many bytes of memtables open iterators keep that the
// current state does not have.
func (p *Pipeline) pinnedMemtables() int64 {
	pinned, _ := p.heldMemtables()
	return pinned
}

// heldMemtables returns the bytes of memtables that open iterators keep: pinned counts
// those that the current state does not have, and held those that it has, if an
// iterator keeps them that is older than the active memtable. Such an iterator is
// likely to be open still when they are flushed. Running jobs do not count: they end
// by themselves.
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

// Pinning describes the iterators that keep flushed memtables, if these take more
// than an eighth of the budget; otherwise it returns "".
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
