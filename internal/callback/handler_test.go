package callback

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

// textHandler writes records without their time to out.
func textHandler(out *bytes.Buffer, level slog.Leveler) slog.Handler {
	return slog.NewTextHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
}

// TestHandler: records come with the attributes and groups of their logger, in order, and
// the level is asked for when they are delivered.
func TestHandler(t *testing.T) {
	var out bytes.Buffer // written by deliveries only
	var level slog.LevelVar
	o := NewOutbox(nil, func(p *base.PanicError) { t.Error(p) })
	log := slog.New(o.Handler(textHandler(&out, &level)))
	release := held(o)
	log.Info("first", "a", 1)
	log.With("db", "x").WithGroup("job").With("n", 2).Warn("second", "level", 3)
	log.WithGroup("empty").Error("third")
	log.Debug("below the level")
	log.Info("fourth")
	if out.Len() > 0 {
		t.Error("a record was written before it was delivered")
	}
	release()
	o.Drain()
	want := "level=INFO msg=first a=1\nlevel=WARN msg=second db=x job.n=2 job.level=3\nlevel=ERROR msg=third\nlevel=INFO msg=fourth\n"
	if out.String() != want {
		t.Errorf("logged\n%s, want\n%s", out.String(), want)
	}
	out.Reset()
	release = held(o)
	log.Debug("now above it")
	level.Set(slog.LevelDebug)
	release()
	o.Drain()
	if want := "level=DEBUG msg=\"now above it\"\n"; out.String() != want {
		t.Errorf("logged\n%s, want\n%s", out.String(), want)
	}
}

// codeHandler is a handler whose methods are functions.
type codeHandler struct {
	enabled func(context.Context, slog.Level) bool
	handle  func(context.Context, slog.Record) error
}

func (h codeHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.enabled == nil || h.enabled(ctx, l)
}
func (h codeHandler) Handle(ctx context.Context, r slog.Record) error { return h.handle(ctx, r) }
func (h codeHandler) WithAttrs([]slog.Attr) slog.Handler              { return h }
func (h codeHandler) WithGroup(string) slog.Handler                   { return h }

// TestHandlerKeepsRecords: a record that waits is a copy, and comes with its context.
func TestHandlerKeepsRecords(t *testing.T) {
	type key struct{}
	var got []string
	o := NewOutbox(nil, func(p *base.PanicError) { t.Error(p) })
	h := o.Handler(codeHandler{
		enabled: func(ctx context.Context, l slog.Level) bool { return ctx.Value(key{}) == "mine" && l == slog.LevelInfo },
		handle: func(ctx context.Context, r slog.Record) error {
			r.Attrs(func(a slog.Attr) bool { got = append(got, a.String()); return true })
			got = append(got, ctx.Value(key{}).(string))
			return errors.New("cannot log")
		},
	})
	var r slog.Record
	r.Level = slog.LevelInfo
	for i := range 6 {
		r.AddAttrs(slog.Int("i", i))
	}
	release := held(o)
	ctx := context.WithValue(context.Background(), key{}, "mine")
	if !h.Enabled(ctx, slog.LevelDebug) {
		t.Error("a level is refused before the program is asked")
	}
	shared := r // has the same room behind its attributes
	if err := h.Handle(ctx, r); err != nil {
		t.Errorf("Handle: %v", err)
	}
	shared.AddAttrs(slog.String("later", "yes"))
	if err := h.Handle(context.Background(), r); err != nil {
		t.Errorf("Handle: %v", err)
	}
	release()
	o.Drain()
	if want := []string{"i=0", "i=1", "i=2", "i=3", "i=4", "i=5", "mine"}; !slices.Equal(got, want) {
		t.Errorf("handled %q, want %q", got, want)
	}
}

// TestHandlerPanics: a panic of the handler, or where it is asked for the level, is
// the logger's, and not reported if the record was about a panic.
func TestHandlerPanics(t *testing.T) {
	var panics []*base.PanicError
	o := NewOutbox(nil, func(p *base.PanicError) { panics = append(panics, p) })
	for _, h := range []codeHandler{
		{handle: func(context.Context, slog.Record) error { panic("handle") }},
		{enabled: func(context.Context, slog.Level) bool { panic("enabled") }},
	} {
		panics = nil
		log := slog.New(o.Handler(h))
		log.InfoContext(Finally(context.Background()), "about a panic")
		log.With("a", 1).WithGroup("g").InfoContext(Finally(context.Background()), "about a panic")
		o.Drain()
		if len(panics) != 0 {
			t.Errorf("reported: %v", panics)
		}
		log.Info("about a job")
		o.Drain()
		if len(panics) != 1 || panics[0].Code != LoggerCode || !strings.Contains(string(panics[0].Stack), "handler_test.go") {
			t.Errorf("reported: %v", panics)
		}
	}
}
