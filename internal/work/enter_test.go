package work

import (
	"context"
	"testing"
	"time"
)

// asked is a context that calls at when it was asked whether it has ended.
type asked struct {
	context.Context
	at func()
}

func (a *asked) Err() error {
	err := a.Context.Err()
	a.at()
	return err
}

// TestStopInTheMiddleOfEnter: a goroutine that found the group at work is waited for, even if
// Stop is called before it has entered.
func TestStopInTheMiddleOfEnter(t *testing.T) {
	g := New()
	ctx := &asked{Context: g.ctx}
	g.ctx = ctx
	waited := make(chan struct{})
	ctx.at = func() {
		ctx.at = func() {}
		go func() {
			g.Stop()
			g.Wait()
			close(waited)
		}()
		time.Sleep(10 * time.Millisecond) // for a Stop that does not wait, and for Wait after it
	}
	if !g.Enter() {
		t.Fatal("stopped before Stop")
	}
	select {
	case <-waited:
		t.Error("Wait has returned, and a goroutine is inside")
	default:
	}
	g.Leave()
	<-waited
}
