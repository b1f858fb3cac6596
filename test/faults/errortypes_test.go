package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/observe"
)

// sameError checks that the public error is found in err, by both functions and at
// any depth, with the fields and the text of the engine's; and that what it wraps,
// and the sentinel, are found by it.
func sameError[Public, Own error](t *testing.T, what string, err error, sentinel error) (found Public) {
	t.Helper()
	own, ok := errors.AsType[Own](err)
	if !ok {
		t.Errorf("%s: %v: has no %T", what, err, own)
		return found
	}
	for depth, err := range map[string]error{
		"as it is": err, "alone": own, "wrapped": fmt.Errorf("a: %w", fmt.Errorf("b: %w", err)), "joined": errors.Join(errors.New("c"), err),
		"one of two": fmt.Errorf("%w, %w", errors.New("d"), err), "lasting": base.Lasting(fmt.Errorf("%w: %w", base.ErrNoSpace, err)),
	} {
		var as Public
		typed, ok := errors.AsType[Public](err)
		if !errors.As(err, &as) || !ok {
			t.Errorf("%s, %s: %v: no %T", what, depth, err, as)
			continue
		}
		for _, got := range []Public{as, typed} {
			if got.Error() != own.Error() || !strings.Contains(err.Error(), got.Error()) {
				t.Errorf("%s, %s: it says %q, and the engine's %q", what, depth, got, own)
			}
			if want, got := fields(own), fields(got); want != got || want == "" {
				t.Errorf("%s, %s: it has %s, and the engine's %s", what, depth, got, want)
			}
			if sentinel != nil && (!errors.Is(got, sentinel) || !errors.Is(err, sentinel)) {
				t.Errorf("%s, %s: it is not %v", what, depth, sentinel)
			}
			if inner := errors.Unwrap(own); inner != errors.Unwrap(got) || inner != nil && !errors.Is(got, inner) {
				t.Errorf("%s, %s: it wraps %v, and the engine's %v", what, depth, errors.Unwrap(got), inner)
			}
		}
		found = as
	}
	if _, ok := errors.AsType[*otherError](err); ok {
		t.Errorf("%s: there is an error of a type of ours", what)
	}
	return found
}

// otherError has the fields of an error of the engine.
type otherError base.LeakError

func (*otherError) Error() string { return "" }

// fields prints the fields of an error, whatever its type is called.
func fields(err error) string {
	_, s, _ := strings.Cut(fmt.Sprintf("%#v", reflect.ValueOf(err).Elem()), "{")
	return s
}

func corruption(t *testing.T, what string, err error) {
	t.Helper()
	c := sameError[*seerdb.CorruptionError, *base.CorruptionError](t, what, err, seerdb.ErrCorruption)
	if c == nil || !strings.HasSuffix(c.File, ".sst") || c.Detail == "" {
		t.Errorf("%s: %+v", what, c)
	}
	if errors.As(err, new(*seerdb.LeakError)) || errors.As(err, new(*seerdb.PanicError)) {
		t.Errorf("%s: %v: is another error as well", what, err)
	}
}

// TestCorruptionErrorIsFound damages a table, and asks everything that meets it.
func TestCorruptionErrorIsFound(t *testing.T) {
	ctx := context.Background()
	var mu sync.Mutex
	events := map[string]error{} // guarded by mu
	note := func(name string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			events[name] = err
		}
	}
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, to *dbtest.TestOptions) {
		to.NoCache = true
		o.Listener.BackgroundError = func(err error) { note("background error", err) }
		o.Listener.CompactionEnd = func(e observe.CompactionEvent) { note("compaction event", e.Err) }
	})
	r.Put(dbtest.Rows("k", 30, strings.Repeat("v", 250))...)
	dbtest.Must(t, r.Flush())
	r.Put(dbtest.Rows("k", 30, strings.Repeat("w", 250))...)
	dbtest.Must(t, r.Flush())
	snap := r.DB.NewSnapshot()
	defer snap.Close()
	x, err := r.DB.Begin(nil)
	dbtest.Must(t, err)
	defer x.Rollback()
	it, err := r.DB.NewIter(nil)
	dbtest.Must(t, err)
	r.Fault.Inject(faultfs.Rule{Op: faultfs.OpRead, Path: "*.sst", Flip: true})
	key := []byte(dbtest.KeyOf(dbtest.Rows("k", 30, "")[0]))
	for name, src := range map[string]seerdb.Reader{"database": r.DB, "snapshot": snap, "transaction": x} {
		_, err := src.Get(key)
		corruption(t, name+" Get", err)
		_, err = src.AppendGet(nil, key)
		corruption(t, name+" AppendGet", err)
		all := src.Range(nil, nil)
		for range all.All() {
		}
		corruption(t, name+" Range", all.Err())
	}
	for it.First(); it.Next(); {
	}
	corruption(t, "iterator", it.Err())
	corruption(t, "iterator Close", it.Close())
	corruption(t, "Compact", r.DB.Compact(ctx, nil, nil))
	report, err := r.DB.Verify(ctx)
	if dbtest.Must(t, err); report.Clean() {
		t.Error("Verify is clean")
	}
	for _, d := range report.Damage {
		corruption(t, "Verify", d)
	}
	dbtest.Eventually(t, 10*time.Second, "the events come", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(events) == 2
	})
	mu.Lock()
	defer mu.Unlock()
	for name, err := range events {
		corruption(t, name, err)
	}
}

// TestCorruptionErrorIsFoundInOpen refuses a database without one of its tables.
func TestCorruptionErrorIsFoundInOpen(t *testing.T) {
	gone := dbtest.NewRig(t, dbtest.Quiet)
	gone.Put("a=1")
	dbtest.Must(t, gone.Flush())
	dbtest.Must(t, gone.DB.Close())
	for _, name := range gone.Files(".sst") {
		dbtest.Must(t, gone.Mem.Remove("db/"+name))
	}
	err := gone.Disk(1).TryOpen()
	if corruption(t, "Open", err); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
}

// TestLeakErrorIsFound closes a database beside an open iterator.
func TestLeakErrorIsFound(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	it, err := r.DB.NewIter(nil)
	dbtest.Must(t, err)
	err = r.DB.Close()
	l := sameError[*seerdb.LeakError, *base.LeakError](t, "Close", err, seerdb.ErrLeaked)
	if l == nil || l.Open != 1 || len(l.Places) != 1 || !strings.Contains(l.Places[0], "errortypes_test.go:") {
		t.Errorf("%+v", l)
	}
	_ = it.Close()
}

// errHandler keeps the errors of log records.
type errHandler struct {
	slog.Handler
	note func(error)
}

func (h errHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h errHandler) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			h.note(err)
		}
		return true
	})
	return nil
}

// TestPanicErrorIsFound panics in a filter, about which Compact returns, and in a
// merge operator in a flush, of which listener and logger hear.
func TestPanicErrorIsFound(t *testing.T) {
	var heard, logged atomic.Pointer[error]
	var badMerger, badFilter atomic.Bool
	badMerger.Store(true)
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) {
		o.Merger = jumpy{bad: &badMerger}
		o.CompactionFilter = func(_, _ []byte) (seerdb.FilterVerdict, []byte, error) {
			if badFilter.Load() {
				panic(dbtest.ErrDisk)
			}
			return seerdb.FilterKeep, nil, nil
		}
		o.Listener.BackgroundError = func(err error) { heard.Store(&err) }
		o.Logger = slog.New(errHandler{slog.DiscardHandler, func(err error) { logged.Store(&err) }})
	})
	check := func(what string, err error, code, key string, wraps error) {
		t.Helper()
		p := sameError[*seerdb.PanicError, *base.PanicError](t, what, err, wraps)
		if p == nil || !strings.Contains(p.Code, code) || string(p.Key) != key || p.Value == nil ||
			!bytes.Contains(p.Stack, []byte("_test.go:")) || errors.As(err, new(*seerdb.CorruptionError)) {
			t.Errorf("%s: %+v", what, p)
		}
	}
	for range 3 {
		dbtest.Must(t, r.DB.Merge([]byte("sum"), []byte{2}))
	}
	dbtest.Must(t, r.Flush())
	dbtest.Eventually(t, 10*time.Second, "the panic is reported", func() bool { return heard.Load() != nil && logged.Load() != nil })
	check("background error", *heard.Load(), "merge operator", "sum", nil)
	check("log record", *logged.Load(), "merge operator", "sum", nil)
	badMerger.Store(false)
	r.Put("key=value")
	dbtest.Must(t, r.Flush())
	badFilter.Store(true)
	check("Compact", r.DB.Compact(context.Background(), nil, nil), "filter", "key", dbtest.ErrDisk)
	badFilter.Store(false)
}
