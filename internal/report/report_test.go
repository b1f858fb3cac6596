package report_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/report"
	"github.com/seerdb-go/seerdb/observe"
)

// program is a listener and a logger, and what they were called with, in order. Only
// deliveries write to it.
type program struct {
	got      []string
	listener observe.EventListener
	log      *slog.Logger
}

func newProgram() *program {
	p := new(program)
	file := func(event string) func(observe.FileEvent) {
		return func(ev observe.FileEvent) { p.note(fmt.Sprintf("%s %s of %d by %d", event, ev.Name, ev.Size, ev.Job)) }
	}
	p.listener = observe.EventListener{
		TableCreated: file("table created"), TableRemoved: file("table removed"),
		ValueFileCreated: file("values created"), ValueFileRemoved: file("values removed"),
		BackgroundError: func(err error) { p.note("error " + err.Error()) },
		StallBegin:      func(reason string) { p.note("stall " + reason) },
		EventsLost:      func(n int) { p.note(fmt.Sprintf("%d lost", n)) },
	}
	p.log = slog.New(slog.NewTextHandler(lines{p}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "stack" {
			return slog.Attr{}
		}
		return a
	}}))
	return p
}

func (p *program) note(s string) { p.got = append(p.got, s) }

// lines notes what is logged.
type lines struct{ p *program }

func (l lines) Write(b []byte) (int, error) {
	l.p.note("log " + string(bytes.TrimSpace(b)))
	return len(b), nil
}

// wants fails the test unless the program was called with this since the last time.
func (p *program) wants(t *testing.T, r *report.Reporter, want ...string) {
	t.Helper()
	r.Drain()
	if !slices.Equal(p.got, want) {
		t.Errorf("the program was called with\n%s\nwant\n%s", strings.Join(p.got, "\n"), strings.Join(want, "\n"))
	}
	p.got = nil
}

// TestReports: what happens comes to the listener and the logger, each in the words that are
// meant for it, in the order of what happened.
func TestReports(t *testing.T) {
	p := newProgram()
	r := report.New(p.log, p.listener)
	damage := base.Corruptf("000003.sst", 12, "a detail")
	r.Listener.StallBegin("a reason")
	r.JobFailed("flush", errors.New("no"))
	r.Logger.Info("a line", "k", 1)
	r.Damage(fmt.Errorf("read: %w", damage))
	r.Poisoned(errors.New("a sync failed"))
	r.Listener.StallBegin("another")
	p.wants(t, r,
		"stall a reason",
		`log level=WARN msg="seerdb: a background flush failed and will be retried" err=no`, "error no",
		`log level=INFO msg="a line" k=1`,
		`log level=ERROR msg="seerdb: damage" file=000003.sst offset=12 detail="a detail"`, "error read: "+damage.Error(),
		`log level=ERROR msg="seerdb is read-only from now on" cause="a sync failed"`, "error a sync failed",
		"stall another")
}

// TestDamage: only damage is reported as such, the errors that reads end with every day are not.
func TestDamage(t *testing.T) {
	p := newProgram()
	r := report.New(p.log, p.listener)
	for _, err := range []error{nil, base.ErrNotFound, base.ErrClosed, base.ErrCorruption, context.Canceled, &base.PanicError{Code: "a filter"}} {
		r.Damage(err)
	}
	p.wants(t, r)
}

// TestFiles: a table and a file of many tables are tables to the listener, a value file is
// one; of other files it knows nothing.
func TestFiles(t *testing.T) {
	p := newProgram()
	r := report.New(p.log, p.listener)
	var want []string
	for typ := range base.FileType(64) {
		event := map[base.FileType]string{base.FileTypeTable: "table", base.FileTypePack: "table", base.FileTypeValues: "values"}[typ]
		r.FileCreated(typ, 5, 100, 9)
		r.FileRemoved(typ, 5, 100)
		if event != "" {
			name := base.FileName(typ, 5)
			want = append(want, fmt.Sprintf("%s created %s of 100 by 9", event, name), fmt.Sprintf("%s removed %s of 100 by 0", event, name))
		}
	}
	if len(want) != 6 {
		t.Fatalf("there are %d events", len(want))
	}
	p.wants(t, r, want...)
}

// TestPanics: a panic of the program's code is logged with its stack, told the listener and
// kept for Health, but never told the code that panicked.
func TestPanics(t *testing.T) {
	for _, c := range []struct {
		code           string
		logged, events bool
	}{
		{"the filter of a keyspace", true, true}, {callback.ListenerCode, true, false}, {callback.LoggerCode, false, true},
	} {
		p := newProgram()
		r := report.New(p.log, p.listener)
		if r.Panicked() != nil {
			t.Error("a panic before the first")
		}
		first, last := &base.PanicError{Code: "other code", Value: "0"}, &base.PanicError{Code: c.code, Value: "v"}
		r.Panic(first)
		r.Drain()
		p.got = nil
		r.Panic(last)
		var want []string
		if c.logged {
			want = append(want, fmt.Sprintf(`log level=ERROR msg="seerdb: code of the program panicked" err="seerdb: %s panicked: v"`, c.code))
		}
		if c.events {
			want = append(want, fmt.Sprintf("error seerdb: %s panicked: v", c.code))
		}
		p.wants(t, r, want...)
		if r.Panicked() != last {
			t.Errorf("%s: the last is %v", c.code, r.Panicked())
		}
	}
}

// TestStackIsLogged: the line about a panic says where it was.
func TestStackIsLogged(t *testing.T) {
	var out bytes.Buffer // written by deliveries only
	r := report.New(slog.New(slog.NewTextHandler(&out, nil)), observe.EventListener{})
	r.Panic(&base.PanicError{Code: "the filter", Value: "v", Stack: []byte("file_of_the_program.go:12")})
	r.Drain()
	if !strings.Contains(out.String(), "file_of_the_program.go:12") {
		t.Errorf("logged: %s", out.String())
	}
}

// panics is a handler that does nothing else.
type panics struct {
	slog.Handler
	n *int // written by deliveries only
}

func (h panics) Enabled(context.Context, slog.Level) bool { return true }
func (h panics) Handle(context.Context, slog.Record) error {
	*h.n++
	panic("the handler")
}

// TestListenerAndLoggerPanic: where both panic each time, each report costs a few calls, and
// what follows is delivered.
func TestListenerAndLoggerPanic(t *testing.T) {
	var lines, events, stalls int
	r := report.New(slog.New(panics{n: &lines}), observe.EventListener{
		BackgroundError: func(error) { events++; panic("the listener") },
		StallBegin:      func(string) { stalls++ },
	})
	r.JobFailed("flush", errors.New("no"))
	r.Listener.StallBegin("a reason")
	r.Drain()
	// The line panics, which the listener gets; the event panics, which the logger gets. What
	// panics in these two is not reported.
	if lines != 2 || events != 2 || stalls != 1 {
		t.Errorf("%d lines, %d events, %d of what followed", lines, events, stalls)
	}
	if p := r.Panicked(); p == nil || len(p.Stack) == 0 {
		t.Errorf("Health has %v", p)
	}
}

// TestWithoutLogger: a database without a logger and a listener says nothing, to none.
func TestWithoutLogger(t *testing.T) {
	r := report.New(nil, observe.EventListener{})
	r.Logger.Error("a line")
	r.JobFailed("flush", errors.New("no"))
	r.Poisoned(errors.New("no"))
	r.Damage(base.Corruptf("a", 0, "b"))
	r.FileCreated(base.FileTypeTable, 1, 1, 1)
	p := &base.PanicError{Code: "a filter"}
	r.Panic(p)
	r.Drain()
	if r.Panicked() != p || r.Logger.Enabled(context.Background(), slog.LevelError) {
		t.Errorf("Panicked: %v", r.Panicked())
	}
}

// TestUnderLocks: a report never waits for the program, and the program may report and drain
// in a delivery.
func TestUnderLocks(t *testing.T) {
	var mu sync.Mutex
	var r *report.Reporter
	p := newProgram()
	p.listener.StallBegin = func(reason string) {
		mu.Lock() // which those that report hold
		defer mu.Unlock()
		p.note("stall " + reason)
		if reason == "first" {
			r.JobFailed("flush", errors.New("no"))
			r.Drain()
		}
	}
	r = report.New(nil, p.listener)
	mu.Lock()
	r.Listener.StallBegin("first")
	r.Listener.StallBegin("second")
	mu.Unlock()
	p.wants(t, r, "stall first", "stall second", "error no")
}

// TestLost: what is lost is counted where it is missing.
func TestLost(t *testing.T) {
	p := newProgram()
	begun, free := make(chan struct{}), make(chan struct{})
	r := report.New(nil, observe.EventListener{
		StallBegin: func(string) { close(begun); <-free }, EventsLost: p.listener.EventsLost,
		TableRemoved: func(observe.FileEvent) {},
	})
	r.Listener.StallBegin("held")
	<-begun
	for range 1<<14 + 3 {
		r.FileRemoved(base.FileTypeTable, 1, 1)
	}
	close(free)
	p.wants(t, r, "3 lost")
}

// TestBesideEachOther: goroutines report at the same time; each one's reports come in its order.
func TestBesideEachOther(t *testing.T) {
	got := map[int][]string{} // written by deliveries only
	r := report.New(nil, observe.EventListener{TableCreated: func(ev observe.FileEvent) { got[ev.Job] = append(got[ev.Job], ev.Name) }})
	var want []string
	for i := range 200 {
		want = append(want, base.FileName(base.FileTypeTable, base.FileNum(i)))
	}
	var wg sync.WaitGroup
	for job := range 4 {
		wg.Go(func() {
			for i := range 200 {
				r.FileCreated(base.FileTypeTable, base.FileNum(i), 1, job)
				r.Panic(&base.PanicError{Code: "a filter"})
				_ = r.Panicked().Code
			}
		})
	}
	wg.Wait()
	r.Drain()
	if !reflect.DeepEqual(got, map[int][]string{0: want, 1: want, 2: want, 3: want}) {
		t.Errorf("%v", got)
	}
}
