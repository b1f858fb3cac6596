package pins

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// TestIteratorsAreCharged: the memory of open iterators is charged to the budget, except
// for a little in each shard of the list, and is returned.
func TestIteratorsAreCharged(t *testing.T) {
	c := cache.New(cache.Options{Budget: 16 << 20})
	defer c.Close()
	var l List
	l.Init(c)
	most := int64(len(l.shards)) * chargeIters
	open := make([]Pin, 2*most/iterBytes)
	for i := range open {
		l.AddIter(&open[i], new(readstate.State), 3, 100, false, CallSite{})
		if i%10 == 0 {
			l.Grown(&open[i], 2*chargeIters)
		}
	}
	charged, taken := c.Charged(cache.Iterators), l.IterBytes()
	want := int64(len(open))*(iterBytes+3*sourceBytes+100) + int64((len(open)+9)/10)*2*chargeIters
	if taken != want || charged < taken-most || charged > taken+most {
		t.Errorf("%d iterators take %d bytes, want %d, and the budget knows of %d", len(open), taken, want, charged)
	}
	if n := l.Iterators(); n != int64(len(open)) {
		t.Errorf("%d iterators of %d", n, len(open))
	}
	for i := range open {
		l.Remove(&open[i])
	}
	if n := c.Charged(cache.Iterators); n > most || n < -most || l.IterBytes() != 0 || l.Iterators() != 0 {
		t.Errorf("%d bytes are charged for %d iterators of %d bytes", n, l.Iterators(), l.IterBytes())
	}
}

// TestGrownIsCharged: large buffers of one iterator are charged to the budget, and
// returned.
func TestGrownIsCharged(t *testing.T) {
	c := cache.New(cache.Options{Budget: 16 << 20})
	defer c.Close()
	var l List
	l.Init(c)
	var it Pin
	l.AddIter(&it, new(readstate.State), 1, 0, false, CallSite{})
	if n := c.Charged(cache.Iterators); n != 0 {
		t.Errorf("%d bytes are charged for a little", n)
	}
	l.Grown(&it, chargeIters)
	if n := c.Charged(cache.Iterators); n != l.IterBytes() || n < chargeIters {
		t.Errorf("%d bytes are charged of %d", n, l.IterBytes())
	}
	l.Remove(&it)
	if n := c.Charged(cache.Iterators); n != 0 {
		t.Errorf("%d bytes are still charged", n)
	}
}
