package commit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/pace"
	"github.com/seerdb-go/seerdb/observe"
)

// fullQueue replaces memtables until no more may wait for their flush.
func (r *rig) fullQueue() {
	for i := range maxImmutable {
		r.check(r.write(r.Context(), fmt.Sprint("queued ", i), DefaultDurability))
		r.check(r.Retire(r.Context(), neverFails))
	}
	r.check(r.write(r.Context(), "active", DefaultDurability))
}

// stop makes writers stop in one of the two ways, and returns what lets them go on.
func (r *rig) stop(s Stop) (goOn func()) {
	if s == StopL0 {
		r.l0.Store(12)
		r.Changed()
		return func() { r.l0.Store(0); r.Changed() }
	}
	r.fullQueue()
	r.check(r.fillMemtable())
	return func() { r.flush() }
}

// fillMemtable writes until the memtable takes no more row of 1 KB.
func (r *rig) fillMemtable() error {
	for r.gen.Charge-r.gen.Mem.Bytes() > 3000 {
		if _, err := r.put("filler", strings.Repeat("v", 1000)); err != nil {
			return err
		}
	}
	return nil
}

// stopped starts a commit that has to wait.
func (r *rig) stopped(ctx context.Context, n int) <-chan error {
	out := begun(func() error {
		if err := r.write(ctx, strings.Repeat("k", 4000), DefaultDurability); err != nil {
			return err
		}
		return nil
	})
	r.until("a writer that is stopped", func() bool { return r.waiting == n })
	return out
}

// TestStops: writers stop while too many memtables wait for their flush, or L0 is too high,
// make the jobs look, and go on when that has passed. A stop of several writers begins with
// the first and ends with the last, and each beginning has its end.
func TestStops(t *testing.T) {
	for _, s := range []Stop{StopMemtables, StopL0} {
		r := newRig(t, nil)
		var got events
		r.events = observe.EventListener{
			StallBegin: func(reason string) { got.add("begin %s", reason) },
			StallEnd:   func(reason string, d time.Duration) { got.add("end %s", reason) },
		}
		goOn := r.stop(s)
		kicked := make(chan struct{}, 10)
		r.mu.Lock()
		r.kicks = func() { kicked <- struct{}{} }
		r.mu.Unlock()
		first := r.stopped(t.Context(), 1)
		second := r.stopped(t.Context(), 2)
		<-kicked
		r.mu.Lock()
		r.kicks = nil
		r.mu.Unlock()
		var m observe.Metrics
		r.Metrics(&m)
		if m.Stalls.Stopped == "" || m.Stalls.Stopped != r.Stats.Stopped() {
			t.Errorf("stop %d: the metrics say %q", s, m.Stalls.Stopped)
		}
		last := r.LastSeq()
		if !still(first) || !still(second) {
			t.Errorf("stop %d: a writer is not stopped", s)
		}
		goOn()
		r.check(r.ended("the first writer", first))
		r.check(r.ended("the second writer", second))
		if r.LastSeq() != last+2 {
			t.Errorf("stop %d: two writers brought the sequence from %d to %d", s, last, r.LastSeq())
		}
		r.Metrics(&m)
		if m.Stalls.Stops < 2 || m.Stalls.StopTime <= 0 || m.Stalls.Stopped != "" {
			t.Errorf("stop %d: the metrics say %+v", s, m.Stalls)
		}
		r.env.Report.Drain()
		l := got.all()
		for i, event := range l {
			if want := []string{"begin ", "end "}[i%2]; !strings.HasPrefix(event, want) || !strings.Contains(event, " wait for ") {
				t.Errorf("stop %d: event %d is %q, want that it %ss", s, i, event, want)
			}
		}
		if len(l) == 0 || len(l)%2 != 0 {
			t.Errorf("stop %d: reported: %q", s, l)
		}
	}
}

// TestStopsThatCannotEnd: where the job that would let writers go on fails, its error is
// theirs, and Refusing says it. It is definite, and passes.
func TestStopsThatCannotEnd(t *testing.T) {
	own := errors.New("the job failed")
	for _, s := range []Stop{StopMemtables, StopL0} {
		r := newRig(t, nil)
		goOn := r.stop(s)
		out := r.stopped(t.Context(), 1)
		r.mu.Lock()
		r.blocking = func(asked Stop) error {
			if asked != s {
				t.Errorf("asked about the stop %d, and not %d", asked, s)
			}
			return own
		}
		r.mu.Unlock()
		last := r.LastSeq()
		r.Changed()
		if err := r.ended("the writer", out); !errors.Is(err, own) {
			t.Errorf("stop %d: %v", s, err)
		}
		if err := r.Refusing(); !errors.Is(err, own) {
			t.Errorf("stop %d: a commit would meet %v", s, err)
		}
		r.ClearTrouble()
		if err := r.Refusing(); s == StopMemtables && !errors.Is(err, own) || s == StopL0 && err != nil {
			t.Errorf("stop %d: a commit would meet %v", s, err)
		}
		if r.LastSeq() != last {
			t.Errorf("stop %d: the refused commit has a sequence", s)
		}
		r.mu.Lock()
		r.blocking = nil
		r.mu.Unlock()
		goOn()
		r.check(r.write(t.Context(), "after", Sync))
	}
}

// TestEndsOfStops: contexts, Close and a cause of poison end the wait of a writer that is
// stopped, as they do for ingestions.
func TestEndsOfStops(t *testing.T) {
	stops := map[string]func(*rig) func(context.Context) error{
		"memtables": func(r *rig) func(context.Context) error {
			r.stop(StopMemtables)
			return func(ctx context.Context) error { return r.write(ctx, strings.Repeat("k", 4000), Sync) }
		},
		"L0": func(r *rig) func(context.Context) error {
			r.stop(StopL0)
			return func(ctx context.Context) error { return r.write(ctx, "k", Sync) }
		},
		"ingestions": func(r *rig) func(context.Context) error {
			r.stop(StopL0)
			return func(ctx context.Context) error {
				return r.WaitUnstopped(ctx, func(p *pace.Pressure) string { return p.StopsKeyspace(0) })
			}
		},
		"retire": func(r *rig) func(context.Context) error {
			r.stop(StopMemtables)
			return func(ctx context.Context) error { return r.Retire(ctx, neverFails) }
		},
	}
	for name, stop := range stops {
		for what, want := range map[string]error{"context": context.Canceled, "Close": base.ErrClosed, "poison": base.ErrReadOnly} {
			r := newRig(t, nil)
			ctx, cancel := context.WithCancel(t.Context())
			write := stop(r)
			out := begun(func() error { return write(ctx) })
			r.until("a writer that is stopped", func() bool { return r.waiting == 1 })
			switch what {
			case "context":
				cancel()
			case "Close":
				r.Close()
			case "poison":
				r.Poison(errors.New("cause"))
			}
			if err := r.ended("the writer", out); !errors.Is(err, want) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			if s := r.Stats.Stopped(); s != "" {
				t.Errorf("%s, %s: the metrics say %q", name, what, s)
			}
			cancel()
		}
	}
}

// TestWaitUnstopped: an ingestion waits for what stops it alone, and gets the error of the
// job that it waits for.
func TestWaitUnstopped(t *testing.T) {
	r := newRig(t, nil)
	goOn := r.stop(StopL0)
	stops := func(p *pace.Pressure) string { return p.StopsKeyspace(0) }
	r.check(r.WaitUnstopped(t.Context(), func(p *pace.Pressure) string { return p.StopsKeyspace(7) }))
	out := begun(func() error { return r.WaitUnstopped(t.Context(), stops) })
	r.until("an ingestion that is stopped", func() bool { return r.waiting == 1 })
	goOn()
	r.check(r.ended("the wait", out))
	r.stop(StopL0)
	own := errors.New("the job failed")
	r.blocking = func(Stop) error { return own }
	if err := r.WaitUnstopped(t.Context(), stops); !errors.Is(err, own) {
		t.Errorf("%v, want the error of the job", err)
	}
}

// TestCallbackDoesNotWaitForItself: a commit from code of the program that the jobs wait for
// is refused where it would wait for them, and is let through where it does not.
func TestCallbackDoesNotWaitForItself(t *testing.T) {
	r := newRig(t, nil)
	within := func(call func() error) error {
		defer r.env.Report.Callers.Enter(callback.CallingJob)()
		return call()
	}
	commit := func() error { return r.write(t.Context(), strings.Repeat("k", 4000), Sync) }
	r.check(within(commit))
	goOn := r.stop(StopL0)
	if err := within(commit); !errors.Is(err, base.ErrInCallback) {
		t.Errorf("in a stop for L0: %v", err)
	}
	goOn()
	r.stop(StopMemtables)
	if err := within(commit); !errors.Is(err, base.ErrInCallback) {
		t.Errorf("in a stop for memtables: %v", err)
	}
	r.flush()
	pl, err := r.TakePlace(t.Context(), &Ingestion{Batch: oneRow(r)})
	r.check(err)
	if err := within(commit); !errors.Is(err, base.ErrInCallback) {
		t.Errorf("while an ingestion has its place: %v", err)
	}
	r.EndPlace(pl, nil, nil)
	r.check(within(commit))
}
