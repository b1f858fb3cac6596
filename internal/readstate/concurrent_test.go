package readstate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// rows are written by each commit, in two keyspaces, with its number: so a wrong, an old
// and a torn answer show.
const rows = 12

func rowValue(i int, n int64) string {
	v := fmt.Sprintf("%06d", n)
	if i%3 == 0 {
		v += strings.Repeat(".", 40) // to a value file
	}
	return v
}

// crowd is readers beside one goroutine that changes everything.
type crowd struct {
	*readstatetest.Rig
	wg                 sync.WaitGroup
	begun, done        atomic.Int64 // numbers of commits
	closing            atomic.Bool
	reads, apart, full atomic.Int64
}

// number is what a row holds, or -1 if the database was closed first.
func (c *crowd) number(keyspace uint32, i int, at readstate.Point) int64 {
	f, err := read(c.Store, keyspace, fmt.Sprint("row", i), at)
	if errors.Is(err, base.ErrClosed) && c.closing.Load() {
		return -1
	}
	var n int64
	if _, scan := fmt.Sscanf(strings.ToLower(f.value), "%06d", &n); err != nil || scan != nil {
		c.Errorf("row %d: %v %v", i, f, err)
		return -1
	}
	c.reads.Add(1)
	return n
}

// point reads rows at what is visible: nothing older than what was when it began.
func (c *crowd) point(rnd *rand.Rand) {
	for !c.closing.Load() && !c.Failed() {
		least := c.done.Load()
		n := c.number(uint32(rnd.IntN(2)), rnd.IntN(rows), readstate.Newest)
		if most := c.begun.Load(); n >= 0 && (n < least || n > most) {
			c.Errorf("a row has the number %d; commits %d to %d were there", n, least, most)
		}
	}
}

// snapshot reads all rows at one moment, again and again, and all that its State holds.
func (c *crowd) snapshot(rnd *rand.Rand) {
	for !c.closing.Load() && !c.Failed() {
		at := c.Store.Snapshots.Take(new(readstate.Hold))
		first := c.number(0, 0, at)
		for range 3 {
			for i := range rows {
				if n := c.number(uint32(rnd.IntN(2)), i, at); n >= 0 && first >= 0 && n != first {
					c.Errorf("a snapshot has %d in row 0 and %d in row %d", first, n, i)
				}
			}
		}
		if at.Hold.Apart() {
			c.apart.Add(1)
		}
		if s, shard := c.Store.KeepAt(at); s != nil {
			c.all(s, rnd)
			s.LetGo(shard)
		}
		c.Store.Snapshots.Drop(at)
	}
}

// all reads everything that a kept State names, in one direction or the other.
func (c *crowd) all(s *readstate.State, rnd *rand.Rand) {
	check := func(it base.Iterator) {
		first, next := it.First, it.Next
		if rnd.IntN(2) == 0 {
			first, next = it.Last, it.Prev
		}
		for kv := first(); kv != nil; kv = next() {
			if kv.Trailer.Kind() != base.KindPutPointer {
				continue
			}
			if v, err := s.AppendValue(nil, kv.Value, kv.Key); err != nil && !c.closing.Load() {
				c.Errorf("value of %q: %q %v", kv.Key, v, err)
			}
		}
		if err := it.Close(); err != nil && !c.closing.Load() {
			c.Errorf("a kept State: %v", err)
		}
	}
	for i := range s.Generations() {
		if it := s.Generation(i).Mem.AllIter(0); it != nil {
			check(it)
		}
	}
	for _, level := range s.Levels(0) {
		for i := range level {
			it := new(readstate.RunIter)
			it.Init(level[i].Tables, sstable.IterOptions{}, nil)
			check(it)
		}
	}
	c.full.Add(1)
}

// change does everything that changes what readers look at.
func (c *crowd) change(rnd *rand.Rand) {
	c.begun.Add(1)
	c.Commit(func(b *batch.Batch) {
		for ks := range uint32(2) {
			if rnd.IntN(4) == 0 {
				c.Check(b.DeleteRange(ks, []byte("row"), []byte("rox")))
			}
			for i := range rows {
				c.Check(b.Put(ks, fmt.Append(nil, "row", i), []byte(rowValue(i, c.begun.Load()))))
			}
		}
	})
	c.done.Add(1)
	switch rnd.IntN(10) {
	case 0, 1, 2:
		c.Rotate()
	case 3, 4:
		c.Flush()
	case 5, 6:
		from := rnd.IntN(2)
		c.Compact(uint32(rnd.IntN(2)), from, from+1)
	case 7:
		c.Filter = func(_, value []byte) (compaction.FilterVerdict, []byte, error) {
			return compaction.FilterChange, append(value, '!'), nil
		}
		c.Compact(0, 0, 2)
		c.Filter = nil
	case 8: // tables, or filters, leave memory
		others := c.Store.LookBesides(int64(rnd.IntN(2)) * 50_000)
		c.Cache.Charge(cache.Tables, -others)
	case 9:
		c.Rotate() // what follows a load waits for it, which fails
		c.Store.HoldReads(c.Seq+1, c.Seq+5, 0)
		c.Rotate()
		c.Store.LetReads()
	}
	if c.Store.Current().Active.Mem.Bytes() > 100<<10 {
		c.Rotate()
	}
	if len(c.Store.Current().Imm) > 6 {
		c.Flush()
	}
}

// TestReadersBesideEveryChange: readers find what was visible when they began, snapshots
// one moment, and kept States all their files and memtables, whatever is rotated, flushed,
// compacted, filtered and taken out of memory beside them, and until Close.
func TestReadersBesideEveryChange(t *testing.T) {
	for _, packed := range []bool{false, true} {
		r := newRig(t, readstatetest.Options{
			Budget: 2 << 20, Memtable: 128 << 10, OpenFiles: 4, TableSize: 1500, PageSize: 256, FilterBits: 10, ValuesFrom: 30, Packed: packed,
		})
		c := &crowd{Rig: r}
		c.change(rand.New(rand.NewPCG(0, 0)))
		for i := range uint64(3) {
			c.wg.Go(func() { c.point(rand.New(rand.NewPCG(i, 1))) })
		}
		c.wg.Go(func() { c.snapshot(rand.New(rand.NewPCG(0, 2))) })
		rnd := rand.New(rand.NewPCG(0, 3))
		for range rounds(150, 600) {
			if c.change(rnd); t.Failed() {
				break
			}
		}
		c.closing.Store(true)
		c.Close()
		c.wg.Wait()
		if n, reads := r.Store.Left(); n != 0 || reads {
			t.Errorf("%d hold the memory after the readers; reads %v", n, reads)
		}
		if c.reads.Load() < 100 || c.full.Load() < 2 || c.apart.Load() == 0 {
			t.Errorf("%d reads, %d of a whole State, %d snapshots beside a filter", c.reads.Load(), c.full.Load(), c.apart.Load())
		}
		for _, err := range r.Damage() {
			t.Errorf("damage: %v", err)
		}
	}
}

// TestHeldStatesAreNotGone: a State that Acquire or Keep returns is not one that was let go
// in that moment, however fast States are replaced.
func TestHeldStatesAreNotGone(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	var wg sync.WaitGroup
	var stop atomic.Bool
	for i := range 4 {
		wg.Go(func() {
			for !stop.Load() {
				hold, release := r.Store.Acquire, (*readstate.State).Release
				if i%2 == 0 {
					hold, release = r.Store.Keep, (*readstate.State).LetGo
				}
				s, shard := hold()
				if s.Gone() {
					t.Error("the State that is held is gone")
					stop.Store(true)
				}
				release(s, shard)
			}
		})
	}
	for i := 0; i < rounds(100_000, 400_000) && !stop.Load(); i++ {
		r.Store.Renew()
	}
	stop.Store(true)
	wg.Wait()
}
