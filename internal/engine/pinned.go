package engine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seerdb-go/seerdb/internal/cache"
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
	e.open.states(func(s *readstate.State) {
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

// states calls fn for the states that iterators read, once or more often for
// each. fn must not open or close any.
func (l *openObjects) states(fn func(*readstate.State)) {
	for i := range l.shards {
		list := &l.shards[i]
		list.mu.Lock()
		for o := list.first; o != nil; o = o.next {
			if o.state != nil {
				fn(o.state)
			}
		}
		list.mu.Unlock()
	}
}

// pinning says which iterators keep memtables that were flushed, if that is
// more than an eighth of the budget.
func (e *Engine) pinning() string {
	n := e.pinnedMemtables()
	s := e.store.Current()
	if s == nil || n <= e.opts.MemoryBudget/8 {
		return ""
	}
	places := e.open.pinning(s)
	if len(places) == 0 {
		return ""
	}
	return fmt.Sprintf("open iterators keep %d bytes of memtables that were flushed, of a memory budget of %d; close them, or open them anew from time to time: %s",
		n, e.opts.MemoryBudget, strings.Join(places, "; "))
}

// maxPlaces is how many places Health names.
const maxPlaces = 5

// pinning lists where iterators were made that read states with older memtables
// than s, those that made most first.
func (l *openObjects) pinning(s *readstate.State) []string {
	count := map[string]int{}
	for i := range l.shards {
		list := &l.shards[i]
		list.mu.Lock()
		for o := list.first; o != nil; o = o.next {
			if o.state != nil && o.state.Active != s.Active && !slices.Contains(s.Imm, o.state.Active) {
				count[o.place()]++
			}
		}
		list.mu.Unlock()
	}
	places := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a, b))
	})
	more := len(places) - maxPlaces
	places = places[:min(len(places), maxPlaces)]
	for i, p := range places {
		if count[p] > 1 {
			places[i] = fmt.Sprintf("%s (%d times)", p, count[p])
		}
	}
	if more > 0 {
		places = append(places, fmt.Sprintf("and at %d other places", more))
	}
	return places
}

// What an iterator takes, in bytes: itself, and for each source. The page that a
// source stands on is the cache's.
const (
	iterBytes   = 2 << 10
	sourceBytes = 768
	// chargeIters is how far the iterators of a shard may be from what the budget
	// knows of them: charging each one would make all meet at one counter.
	chargeIters = 32 << 10
	// keepFetched is the largest buffer for values that a closed iterator keeps for
	// the next one.
	keepFetched = 256 << 10
)

// charge takes n bytes more for iterators. The caller holds mu.
func (l *openList) charge(c *cache.Cache, n int64) {
	l.bytes += n
	if d := l.bytes - l.charged; d >= chargeIters || d <= -chargeIters {
		l.charged = l.bytes
		c.Charge(cache.Iterators, d)
	}
}

// grown charges what the buffers of an iterator took since it was opened.
func (l *openObjects) grown(o *openObject, n int64) {
	s := &l.shards[o.shard]
	s.mu.Lock()
	o.bytes += n
	s.charge(l.cache, n)
	s.mu.Unlock()
}

// iterBytes is what all iterators take.
func (l *openObjects) iterBytes() (n int64) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += s.bytes
		s.mu.Unlock()
	}
	return n
}
