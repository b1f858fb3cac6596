// Package work counts the goroutines that work beside a database: its own workers, and callers
// that Close must wait for.
package work

import (
	"context"
	"sync"
	"time"
)

// Group is the goroutines of one database. It is safe for concurrent use.
type Group struct {
	ctx    context.Context // ends with Stop
	cancel context.CancelFunc
	mu     sync.Mutex // orders Enter and Stop: what entered before is waited for
	wg     sync.WaitGroup
}

// New returns a group without goroutines.
func New() *Group {
	g := new(Group)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// Go runs fn in a goroutine of the group. The caller is one itself, or has the group to
// itself.
func (g *Group) Go(fn func()) { g.wg.Go(fn) }

// Enter lets the calling goroutine in, until Leave. It returns false once the group was
// stopped.
func (g *Group) Enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.Stopped() {
		return false
	}
	g.wg.Add(1)
	return true
}

// Leave ends what Enter began.
func (g *Group) Leave() { g.wg.Done() }

// Stop makes the goroutines end, after what they are doing now has failed or finished.
func (g *Group) Stop() {
	g.mu.Lock()
	g.cancel()
	g.mu.Unlock()
}

// Wait waits for all goroutines. The caller has called Stop.
func (g *Group) Wait() { g.wg.Wait() }

// Context is what the goroutines work under. It ends with Stop.
func (g *Group) Context() context.Context { return g.ctx }

// Done is closed by Stop.
func (g *Group) Done() <-chan struct{} { return g.ctx.Done() }

// Stopped reports whether Stop was called.
func (g *Group) Stopped() bool { return g.ctx.Err() != nil }

// Rest waits for d, or until Stop.
func (g *Group) Rest(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-g.Done():
	}
}
