package concurrent

// This file holds a database that everything happens to at once: committers,
// flushes, loads, keyspaces that come and go, a disk that is full, slow, without
// descriptors or broken, power cuts and Close.

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

var stormSeeds = flag.Int("storm.seeds", 0, "databases in TestStorm; 0: a few")

// storm is one opening of a database.
type storm struct {
	*dbtest.Rig
	prefix string
	broken bool // the disk fails for good, sooner or later
	stop   chan struct{}
	wg     sync.WaitGroup
	acked  [4]atomic.Int64 // rows of each committer
	loaded atomic.Int64
}

// repeat calls f until the storm is over, or f has enough.
func (s *storm) repeat(seed uint64, f func(rng *rand.Rand) bool) {
	s.wg.Go(func() {
		for rng := rand.New(rand.NewPCG(seed, 17)); ; {
			select {
			case <-s.stop:
				return
			default:
			}
			if !f(rng) {
				return
			}
		}
	})
}

func (s *storm) row(w int, i int64) []byte { return fmt.Appendf(nil, "%s-w%d-%06d", s.prefix, w, i) }
func (s *storm) loadedRow(n, i int64) []byte {
	return fmt.Appendf(nil, "load-%s-%06d-%d", s.prefix, n, i)
}

// commit commits the next row of a committer durably.
func (s *storm) commit(w int) bool {
	b := s.DB.NewBatch()
	i := s.acked[w].Load()
	b.Put(s.row(w, i), make([]byte, 60+i%100))
	switch err := s.DB.Apply(b, seerdb.Sync); {
	case err == nil:
		s.acked[w].Store(i + 1)
	case errors.Is(err, seerdb.ErrClosed) || errors.Is(err, seerdb.ErrReadOnly):
		return false
	default:
		time.Sleep(100 * time.Microsecond)
	}
	return true
}

// call calls something else.
func (s *storm) call(rng *rand.Rand) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(20))*time.Millisecond)
	defer cancel()
	switch rng.IntN(4) {
	case 0:
		_ = s.DB.Flush(ctx)
	case 1:
		_ = s.DB.Sync()
	case 2:
		if k, err := s.DB.Keyspace("comes and goes", nil); err == nil {
			_ = k.Put([]byte("a"), []byte("b"))
			_ = s.DB.DropKeyspace("comes and goes")
		}
	case 3:
		n := s.loaded.Load()
		_, err := s.DB.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
			for i := range int64(5) {
				if !yield(s.loadedRow(n, i), []byte("v")) {
					return
				}
			}
		}, nil)
		if err == nil {
			s.loaded.CompareAndSwap(n, n+1) // the other one may have loaded them too
		}
	}
	return true
}

// disturb makes the disk fail for a moment.
func (s *storm) disturb(rng *rand.Rand) bool {
	rules := []faultfs.Rule{
		{Op: faultfs.OpCreate, Path: "*.wal"}, {Op: faultfs.OpWrite, Path: "*.wal"}, {Op: faultfs.OpWrite, Path: "*.wal", Short: true},
		{Op: faultfs.OpCreate, Path: dbtest.TableFiles}, {Op: faultfs.OpWrite, Path: dbtest.TableFiles}, {Op: faultfs.OpWrite, Path: "MANIFEST*"},
		{Op: faultfs.OpRemove}, {Op: faultfs.OpRename}, {Op: faultfs.OpOpen}, {Op: faultfs.OpCreate}, {Op: faultfs.OpStat}, {Op: faultfs.OpList},
	}
	r := rules[rng.IntN(len(rules))]
	r.Err, r.Count, r.Skip = syscall.ENOSPC, 1+rng.IntN(3), rng.IntN(5)
	switch {
	case r.Path == "" && rng.IntN(2) == 0:
		r.Err = syscall.EMFILE
	case rng.IntN(4) == 0:
		r = faultfs.Rule{Op: faultfs.OpDirSync | faultfs.OpSync | faultfs.OpCreate, Delay: time.Duration(rng.IntN(3000)) * time.Microsecond}
	case s.broken && rng.IntN(10) == 0:
		op := []faultfs.OpKind{faultfs.OpSync, faultfs.OpDirSync, faultfs.OpWrite, faultfs.OpTruncate}[rng.IntN(4)]
		r = faultfs.Rule{Op: op, Err: syscall.EIO, Count: 1, After: rng.IntN(2) == 0, Skip: rng.IntN(10)}
	}
	f := s.Fault.Inject(r)
	time.Sleep(time.Duration(rng.IntN(4)) * time.Millisecond)
	f.Remove()
	return true
}

// promised is how many rows of each committer, and loads, must be there.
func (s *storm) promised() (rows [5]int64) {
	for w := range s.acked {
		rows[w] = s.acked[w].Load()
	}
	rows[4] = s.loaded.Load()
	return rows
}

// holds opens a database and looks for what was promised.
func (s *storm) holds(d *dbtest.Rig, rows [5]int64, what string) {
	s.Helper()
	if err := d.TryOpen(); err != nil {
		s.Fatalf("%s: %v", what, err)
	}
	for w := range s.acked {
		for i := range rows[w] {
			if _, err := d.DB.Get(s.row(w, i)); err != nil {
				s.Fatalf("%s: %s of %d acknowledged ones: %v", what, s.row(w, i), rows[w], err)
			}
		}
	}
	for n := range rows[4] {
		for i := range int64(5) {
			if _, err := d.DB.Get(s.loadedRow(n, i)); err != nil {
				s.Fatalf("%s: %s of %d loads: %v", what, s.loadedRow(n, i), rows[4], err)
			}
		}
	}
}

// blow lets everything happen, cuts the power a few times, and closes. It returns
// the database opened anew.
func (s *storm) blow(rng *rand.Rand) *dbtest.Rig {
	for w := range s.acked {
		s.repeat(0, func(*rand.Rand) bool { return s.commit(w) })
	}
	s.repeat(rng.Uint64(), s.call)
	s.repeat(rng.Uint64(), s.call)
	s.repeat(rng.Uint64(), s.disturb)
	s.repeat(rng.Uint64(), s.disturb)
	for range 2 {
		time.Sleep(time.Duration(5+rng.IntN(20)) * time.Millisecond)
		rows, keep := s.promised(), float64(rng.IntN(3))/2
		d := s.Disk(keep)
		s.holds(d, rows, fmt.Sprintf("%s after a power cut that kept %v", s.prefix, keep))
		dbtest.Must(s, d.DB.Close())
	}
	_ = s.Finish(dbtest.Async(s.DB.Close))
	close(s.stop)
	dbtest.Must(s, s.Finish(dbtest.Async(func() error { s.wg.Wait(); return nil })))
	s.Fault.Clear()
	d := &dbtest.Rig{TB: s.TB, Mem: s.Mem, Options: s.Options, Test: s.Test}
	s.holds(d, s.promised(), s.prefix+" after Close")
	return d
}

// TestStorm: what was acknowledged as durable is there after every power cut and
// after Close, and nothing hangs.
func TestStorm(t *testing.T) {
	seeds := dbtest.Some(6)
	if *stormSeeds > 0 {
		seeds = *stormSeeds
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(uint64(seed), 99))
		r := dbtest.NewRig(t, func(o *seerdb.Options, _ *dbtest.TestOptions) {
			o.Durability = []seerdb.Durability{seerdb.Sync, seerdb.Buffered, seerdb.Relaxed}[rng.IntN(3)]
			o.MemtableSize = []int{4 << 10, 16 << 10}[rng.IntN(2)]
		})
		for opening := range 2 {
			s := &storm{Rig: r, prefix: fmt.Sprintf("%d.%d", seed, opening), broken: rng.IntN(2) == 0, stop: make(chan struct{})}
			r = s.blow(rng)
		}
		dbtest.Must(t, r.DB.Close())
	}
}
