// Package work counts the goroutines that Close must wait for: the workers of a database,
// and callers inside long operations.
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
	mu     sync.Mutex // orders Enter and Stop: Wait waits for goroutines that entered before
	wg     sync.WaitGroup
}

// New returns a group without goroutines.
func New() *Group {
	g := new(Group)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// Go runs fn in a goroutine of the group. Its caller is in the group, or no other goroutine
// uses the group yet.
func (g *Group) Go(fn func()) { g.wg.Go(fn) }

// Enter adds the calling goroutine to the group, until Leave. It returns false if the group
// was stopped.
func (g *Group) Enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.Stopped() {
		return false
	}
	g.wg.Add(1)
	return true
}

// Leave removes the calling goroutine from the group.
func (g *Group) Leave() { g.wg.Done() }

// Stop tells the goroutines to end once their current work has finished or failed.
func (g *Group) Stop() {
	g.mu.Lock()
	g.cancel()
	g.mu.Unlock()
}

// Wait waits for all goroutines. Callers call Stop first.
func (g *Group) Wait() { g.wg.Wait() }

// Context returns the context of the goroutines' work. Stop cancels it.
func (g *Group) Context() context.Context { return g.ctx }

// Done returns a channel that Stop closes.
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
