package pace

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seerdb-go/seerdb/internal/batch"
)

// trees are the runs in L0 of keyspaces.
type trees map[uint32]int

func (t trees) each(fn func(uint32, int)) {
	for id, runs := range t {
		fn(id, runs)
	}
}

func newPace(t trees) (*Pace, chan struct{}) {
	done := make(chan struct{})
	return New(Options{L0Slowdown: 12, L0Stop: 36, BaseLevelBytes: 1 << 20, Trees: t.each, Done: done}), done
}

func write(t *testing.T, id uint32, n int) *batch.Batch {
	t.Helper()
	b := new(batch.Batch)
	if err := b.Put(id, []byte("key"), make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	return b
}

// wait returns how long a batch waits.
func wait(ctx context.Context, p *Pace, b *batch.Batch) time.Duration {
	begin := time.Now()
	p.Wait(ctx, b)
	return time.Since(begin)
}

// TestPaceByRuns: writers of a keyspace are slowed by its runs in L0, the more the more
// there are, and stopped at the limit; those of another keyspace are not.
func TestPaceByRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := trees{0: 3, 1: 11}
		p, _ := newPace(state)
		last := time.Duration(0)
		for runs := 11; runs <= 40; runs++ {
			state[1] = runs
			p.Update()
			p.due.Store(0)
			took := wait(t.Context(), p, write(t, 1, 1<<20))
			if slowed := runs > 12; (p.Rate() != 0) != slowed || slowed != (took > 0) {
				t.Errorf("%d runs: rate %d, waits %v", runs, p.Rate(), took)
			}
			if took < last {
				t.Errorf("%d runs: waits %v, with one less %v", runs, took, last)
			}
			last = took
			stops := p.Pressure().Stops(write(t, 1, 1)) != "" && p.Pressure().StopsKeyspace(1) != ""
			if stops != (runs >= 36) {
				t.Errorf("%d runs: stopped %v", runs, stops)
			}
			if took := wait(t.Context(), p, write(t, 0, 1<<20)); took != 0 || p.Pressure().Stops(write(t, 0, 1)) != "" || p.Pressure().StopsKeyspace(0) != "" {
				t.Errorf("%d runs of another keyspace: waits %v", runs, took)
			}
		}
		state[1] = 0
		p.Update()
		if p.Rate() != 0 || p.Pressure() != nil || p.due.Load() != 0 {
			t.Error("a tree that caught up is slowed")
		}
		if n, d := p.Waits(); n < 25 || d < last {
			t.Errorf("%d waits of %v are counted", n, d)
		}
	})
}

// TestPaceByDebt: bytes beyond the limits slow writers as runs do; a faster disk slows them
// less.
func TestPaceByDebt(t *testing.T) {
	state := trees{0: 1, 1: 1}
	p, _ := newPace(state)
	rate := func(tree, values uint64) int64 {
		p.SetDebt(map[uint32]uint64{1: tree}, values)
		p.Update()
		return p.Rate()
	}
	if r := rate(4<<20, 0); r != 0 {
		t.Errorf("a debt at the limit: rate %d", r)
	}
	some, much, most := rate(5<<20, 0), rate(7<<20, 0), rate(100<<20, 0)
	if some <= much || much <= most || most < 1<<16 {
		t.Errorf("rates %d, %d and %d for growing debts", some, much, most)
	}
	if r := rate(4<<20, 1<<20); r != some || !p.Pressure().slows(write(t, 1, 1)) {
		t.Errorf("a debt of tables and values: rate %d, want %d", r, some)
	}
	rate(0, 5<<20)
	if !p.Pressure().slows(write(t, 0, 1)) {
		t.Error("a debt of values slows only some keyspaces")
	}
	for range 20 {
		p.Moved(1<<30, time.Second)
	}
	p.Moved(1, time.Second) // too little to say anything
	p.Moved(1<<30, 0)
	if r := rate(5<<20, 0); r < 20*some {
		t.Errorf("rate %d after 1 GiB a second, %d before", r, some)
	}
}

// TestPaceLetsGo: a wait ends when the tree has caught up, the context ends, or the
// database closes.
func TestPaceLetsGo(t *testing.T) {
	for _, end := range []string{"caught up", "cancelled", "closing"} {
		synctest.Test(t, func(t *testing.T) {
			state := trees{0: 40}
			p, done := newPace(state)
			p.Update()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				time.Sleep(time.Second)
				switch end {
				case "caught up":
					state[0] = 0
					p.Update()
				case "cancelled":
					cancel()
				case "closing":
					close(done)
				}
			}()
			if took := wait(ctx, p, write(t, 0, 64<<20)); took < time.Second || took > time.Second+2*nap {
				t.Errorf("%s after a second: waited %v", end, took)
			}
			synctest.Wait()
		})
	}
}
