package pins

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// States calls fn for the states that iterators read, at least once for each.
// fn must not open or close iterators.
func (l *List) States(fn func(*readstate.State)) {
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

// maxPlaces is how many places Health names at most.
const maxPlaces = 5

// Holders returns where the program opened iterators that read states with
// older memtables than s, most frequent places first.
func (l *List) Holders(s *readstate.State) []string {
	count := map[string]int{}
	for i := range l.shards {
		list := &l.shards[i]
		list.mu.Lock()
		for o := list.first; o != nil; o = o.next {
			if o.state != nil && o.state.Active != s.Active && !slices.Contains(s.Imm, o.state.Active) {
				count[o.location()]++
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

// The memory of an iterator, in bytes: its own, and that of each source. The
// current page of a source belongs to the cache.
const (
	iterBytes   = 2 << 10
	sourceBytes = 768
	// chargeIters is the largest difference, for a shard, between the memory of
	// iterators and its charge to the budget. Charging each iterator would make
	// all of them contend for one counter.
	chargeIters = 32 << 10
)

// charge adds n bytes to the memory of iterators. The caller holds mu.
func (l *shard) charge(c *cache.Cache, n int64) {
	l.bytes += n
	if d := l.bytes - l.charged; d >= chargeIters || d <= -chargeIters {
		l.charged = l.bytes
		c.Charge(cache.Iterators, d)
	}
}

// Grown notes that the buffers of an iterator grew by n bytes. Small amounts
// are not worth the lock.
func (l *List) Grown(o *Pin, n int64) {
	if n < chargeIters {
		return
	}
	s := &l.shards[o.shard]
	s.mu.Lock()
	o.bytes += n
	s.charge(l.cache, n)
	s.mu.Unlock()
}

// IterBytes returns the memory of all iterators.
func (l *List) IterBytes() (n int64) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += s.bytes
		s.mu.Unlock()
	}
	return n
}
