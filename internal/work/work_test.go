package work_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seerdb-go/seerdb/internal/work"
)

// TestWaitWaits: Wait returns once every goroutine that was let in, or that one of the group
// started, has ended; and not before.
func TestWaitWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := work.New()
		var ended atomic.Int32
		end := func(d time.Duration) { time.Sleep(d); ended.Add(1) }
		if !g.Enter() {
			t.Fatal("it is stopped from the beginning")
		}
		go func() { defer g.Leave(); end(time.Second) }()
		g.Go(func() {
			<-g.Done()
			g.Go(func() { end(3 * time.Second) }) // one of the group may, after Stop as well
			end(2 * time.Second)
		})
		g.Stop()
		begin := time.Now()
		g.Wait()
		if ended.Load() != 3 || time.Since(begin) != 3*time.Second {
			t.Errorf("after %v %d of 3 have ended", time.Since(begin), ended.Load())
		}
		g.Wait()
	})
}

// TestStop: from Stop on no goroutine is let in, and those that work see it.
func TestStop(t *testing.T) {
	g := work.New()
	select {
	case <-g.Done():
		t.Error("Done before Stop")
	default:
	}
	if g.Stopped() || g.Context().Err() != nil {
		t.Error("stopped before Stop")
	}
	for range 2 {
		g.Stop()
		<-g.Done()
		<-g.Context().Done()
		if !g.Stopped() || g.Context().Err() != context.Canceled || g.Enter() {
			t.Error("not stopped after Stop")
		}
	}
	g.Wait()
}

// TestEnterBesideStop: a goroutine that is let in while others stop the group is waited for.
func TestEnterBesideStop(t *testing.T) {
	for range 500 {
		g := work.New()
		var inside, in atomic.Int32
		var waited atomic.Bool
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for g.Enter() {
					inside.Add(1)
					in.Add(1)
					runtime.Gosched()
					if waited.Load() {
						t.Error("a goroutine is inside after Wait")
					}
					inside.Add(-1)
					g.Leave()
				}
			})
		}
		for in.Load() == 0 {
			runtime.Gosched()
		}
		g.Stop()
		g.Wait()
		waited.Store(true)
		if n := inside.Load(); n != 0 {
			t.Errorf("%d goroutines are inside after Wait", n)
		}
		wg.Wait()
	}
}

// TestRest: a rest takes as long as it should, or until Stop.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := work.New()
		begin := time.Now()
		g.Rest(time.Second)
		if d := time.Since(begin); d != time.Second {
			t.Errorf("a second takes %v", d)
		}
		go func() { time.Sleep(time.Minute); g.Stop() }()
		begin = time.Now()
		g.Rest(time.Hour)
		if d := time.Since(begin); d != time.Minute {
			t.Errorf("stopped after a minute it takes %v", d)
		}
		begin = time.Now()
		g.Rest(time.Hour)
		if d := time.Since(begin); d != 0 {
			t.Errorf("after Stop it takes %v", d)
		}
	})
}
