package commit

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// TestModel commits from many goroutines, with transactions and ingestions among them, on a
// disk that is full at times and in the end fails, while memtables are replaced and
// flushed. Readers at each visible sequence see what a plain map holds after exactly the
// commits up to there that succeeded; transactions commit as if no other commit had come
// between; a power cut leaves what is durable, and nothing of what was refused.
func TestModel(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 4
	}
	for d := NoWAL; d <= Sync; d++ {
		t.Run(d.String(), func(t *testing.T) {
			for seed := range seeds {
				runModel(t, d, seed)
			}
		})
	}
}

func runModel(t *testing.T, own Durability, seed uint64) {
	r := newRig(t, func(e *Env) {
		e.Durability = own
		if own == Buffered {
			e.SyncInterval = time.Millisecond
		}
	})
	h := newHistory(r)
	endFlushes := r.flushing()
	var others, committers sync.WaitGroup
	var over atomic.Bool
	beside := func(n uint64, pause time.Duration, do func(rng *rand.Rand)) {
		rng := rand.New(rand.NewPCG(seed, n))
		others.Go(func() {
			for !over.Load() {
				do(rng)
				time.Sleep(time.Duration(rng.Int64N(int64(pause))))
			}
		})
	}
	beside(100, 200*time.Microsecond, func(*rand.Rand) { h.look() })
	beside(101, 5*time.Millisecond, func(rng *rand.Rand) { h.crash([]float64{0, 0.5}[rng.IntN(2)]) })
	beside(102, 2*time.Millisecond, h.rotate)
	beside(103, 2*time.Millisecond, h.fill)
	commits := 60
	for i := range 6 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		committers.Go(func() {
			for range commits {
				if !h.step(rng, own) {
					return
				}
			}
		})
	}
	committers.Wait()
	over.Store(true)
	others.Wait()
	if r.env.Latch.Cause() != nil {
		t.Errorf("seed %d: a full disk poisons: %v", seed, r.env.Latch.Cause())
	}
	if seed%2 == 0 {
		h.breakDown(rand.New(rand.NewPCG(seed, 200)), own)
	}
	h.look()
	endFlushes()
	h.crash(0)
	h.compare(fmt.Sprintf("%v, seed %d", own, seed), own)
	r.close()
}

// step makes one commit of a random sort.
func (h *history) step(rng *rand.Rand, own Durability) bool {
	d := own
	if own != NoWAL {
		d += Durability(rng.IntN(int(Sync-own) + 1))
	}
	switch rng.IntN(12) {
	case 0:
		return h.load(rng)
	case 1, 2, 3, 4:
		return h.transact(rng, d)
	}
	return h.commit(rng, d)
}

// rotate has the memtable replaced, in one of the ways that there are.
func (h *history) rotate(rng *rand.Rand) {
	switch rng.IntN(3) {
	case 0:
		h.RetireSoon()
	case 1:
		_ = h.Retire(h.Context(), neverFails)
	case 2:
		_ = h.Sync()
	}
}

// fill makes the disk full for some operations on logs.
func (h *history) fill(rng *rand.Rand) {
	ops := []faultfs.OpKind{faultfs.OpWrite, faultfs.OpWrite, faultfs.OpCreate}
	rule := faultfs.Rule{
		Op: ops[rng.IntN(len(ops))], Path: "*.wal", Err: syscall.ENOSPC,
		Short: rng.IntN(2) == 0, Skip: rng.IntN(4), Count: 1 + rng.IntN(3),
	}
	fault := h.fs.Inject(rule)
	time.Sleep(time.Duration(rng.Int64N(int64(time.Millisecond))))
	fault.Remove()
}

// breakDown has the disk fail for good, in the middle of commits.
func (h *history) breakDown(rng *rand.Rand, own Durability) {
	rule := faultfs.Rule{Op: faultfs.OpSync | faultfs.OpWrite, Path: "*.wal", Skip: rng.IntN(4)}
	if own == NoWAL {
		rule = faultfs.Rule{Op: faultfs.OpDirSync} // all that is asked of the disk
	}
	h.fs.Inject(rule)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range 4 {
		rng := rand.New(rand.NewPCG(rng.Uint64(), uint64(i)))
		wg.Go(func() {
			for h.step(rng, own) && time.Since(begin) < time.Second {
			}
		})
	}
	wg.Wait()
	if h.env.Latch.Cause() == nil {
		// All that is asked of the disk may be the next log, again and again: that it cannot be
		// begun is definite each time.
		h.Poison(syscall.EIO)
	}
	cause := h.env.Latch.Cause()
	for range 3 {
		if h.step(rng, own) {
			h.Error("a commit behind the failure succeeds")
		}
	}
	if h.env.Latch.Cause() != cause || !h.work.Stopped() {
		h.Error("the first cause is not kept, or the workers go on")
	}
}

// compare is the comparison with a plain map.
func (h *history) compare(what string, own Durability) {
	slices.SortFunc(h.applied, func(a, b applied) int { return cmp.Compare(a.first, b.first) })
	slices.SortStableFunc(h.seen, func(a, b observation) int { return cmp.Compare(a.at, b.at) })
	model := map[row]version{}
	seen, last := h.seen, base.SeqNum(0) // last: of the commits so far
	upTo := func(next base.SeqNum) {     // all that was seen before next
		for ; len(seen) > 0 && seen[0].at < next; seen = seen[1:] {
			o := &seen[0]
			for i, k := range h.rows {
				if m := model[k]; o.rows[i] != m {
					h.Fatalf("%s: at %d row %v is %.20q of %d, and should be %.20q of %d", what, o.at, k, o.rows[i].value, o.rows[i].seq, m.value, m.seq)
				}
			}
			if own == Sync && o.durable < last {
				h.Fatalf("%s: %d is visible and %d durable", what, last, o.durable)
			}
		}
	}
	for _, c := range h.applied {
		upTo(c.first)
		if c.first <= last {
			h.Fatalf("%s: commit %d begins with %d, and the one before it ends with %d", what, c.id, c.first, last)
		}
		for _, r := range c.reads {
			if m := model[r.row]; m.seq != r.seq {
				h.Fatalf("%s: transaction %d, from %d on, read version %d of %v, and %d came between", what, c.id, c.first, r.seq, r.row, m.seq)
			}
		}
		for i, op := range c.ops {
			model[op.row] = version{c.first + base.SeqNum(i), op.value, op.deleted}
		}
		last = c.end
		if len(seen) > 0 && seen[0].at < last {
			h.Fatalf("%s: %d was visible, within commit %d from %d to %d", what, seen[0].at, c.id, c.first, c.end)
		}
	}
	upTo(base.SeqNumMax)
	for _, c := range h.crashes {
		for _, a := range h.applied {
			if !a.loaded && a.end <= c.durable && a.end > c.flushed && !c.logged[a.id] {
				h.Fatalf("%s: a power cut loses commit %d up to %d, and %d is durable", what, a.id, a.end, c.durable)
			}
		}
		for id := range c.logged {
			if h.refused[id] {
				h.Fatalf("%s: a power cut brings commit %d back, which was refused", what, id)
			}
		}
	}
	h.Logf("%s: %d commits, %d refused, %d unknown; %d looks, %d crashes", what, len(h.applied), len(h.refused), h.unknown, len(h.seen), len(h.crashes))
}
