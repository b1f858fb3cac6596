package concurrent

// Code of the program that the database calls may call the database back: the
// listener, the handler of the logger, merge operators, filters, the function of
// GetFunc, rows of a load, a context. Each calls every method there is, whatever
// happens at the same time, and nothing hangs.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
	"github.com/seerdb-go/seerdb/observe"
)

// backCaller calls every method of a database, of a keyspace and of a snapshot
// from the places that a test chooses.
type backCaller struct {
	testing.TB
	db atomic.Pointer[seerdb.DB]
	k  *seerdb.Keyspace // immutable once db is set

	mu    sync.Mutex
	from  map[string]int // guarded by mu; how often each place was reached
	sites map[string]int // guarded by mu; how often, by where in the engine from
}

// times is how often each place makes its calls from each site in the engine. What
// they do reaches the places again, so it has to end.
const times = 2

// due notes that a place was reached, and returns the database if it is to make
// its calls.
func (c *backCaller) due(place string) *seerdb.DB {
	db, from := c.db.Load(), site()
	c.mu.Lock()
	c.from[place]++
	n := 0
	if db != nil && from != "" {
		c.sites[place+from]++
		n = c.sites[place+from]
	}
	c.mu.Unlock()
	if n == 0 || n > times {
		return nil
	}
	return db
}

// look makes calls that wait for no job, for a job may be what makes them: the
// clock is no option of the program, so that jobs may read it.
func (c *backCaller) look(place string) {
	db := c.due(place)
	if db == nil {
		return
	}
	s := db.NewSnapshot()
	_, _ = s.Get([]byte("key"))
	_ = s.Close()
	if x, err := db.Begin(nil); err == nil {
		_, _ = x.Get([]byte("key"))
		x.Rollback()
	}
	_, _ = db.Get([]byte("key"))
	_, _ = db.Keyspace("held", nil)
	_, _ = db.Metrics(), db.Health()
}

// call makes the calls. Those to Close are made by tests of their own.
func (c *backCaller) call(place string) {
	db := c.due(place)
	if db == nil {
		return
	}
	s := db.NewSnapshot()
	c.every(db, db)
	c.every(db, s)
	c.every(db, c.k)
	c.every(db, s.In(c.k))
	_ = db.Update(context.Background(), func(x *seerdb.Txn) error { c.every(db, x); return nil })
	_ = s.Close()
}

// site is which functions of the engine have led to who calls due's caller, the last
// few of them; or nothing if it was called by what every or look called.
func site() (s string) {
	var pcs [64]uintptr
	frames, n := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])]), 0
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "backCaller).every") || strings.HasSuffix(f.Function, "backCaller).look") {
			return ""
		}
		if strings.Contains(f.Function, "internal/engine.") && n < 5 {
			s += " " + f.Function
			n++
		}
		if !more {
			return s + " " // from outside of the engine too
		}
	}
}

// every calls each method of an object, with arguments that make sense.
func (c *backCaller) every(db *seerdb.DB, object any) {
	v := reflect.ValueOf(object)
	for i := range v.NumMethod() {
		name := v.Type().Method(i).Name
		if _, isDB := object.(*seerdb.DB); isDB && name == "Close" {
			continue
		}
		var args []reflect.Value
		for j := range v.Method(i).Type().NumIn() {
			args = append(args, c.argument(db, v.Method(i).Type().In(j)))
		}
		for _, res := range v.Method(i).Call(args) {
			switch x := res.Interface().(type) {
			case *seerdb.Rows:
				for range x.All() {
				}
			case *seerdb.Txn:
				if x != nil && x != object {
					x.Rollback()
				}
			case interface{ Close() error }:
				if !res.IsNil() {
					_ = x.Close()
				}
			}
		}
	}
}

func (c *backCaller) argument(db *seerdb.DB, t reflect.Type) reflect.Value {
	var rows iter.Seq2[[]byte, []byte] = func(yield func(k, v []byte) bool) { yield([]byte("loaded"), nil) }
	b := db.NewBatch()
	dbtest.Must(c, b.Put([]byte("of a batch"), nil))
	for _, x := range []any{[]byte("key"), b, rows, "called", time.Hour, time.Now().Add(time.Hour), seerdb.DefaultDurability} {
		if reflect.TypeOf(x) == t {
			return reflect.ValueOf(x)
		}
	}
	switch {
	case t == reflect.TypeFor[*seerdb.Keyspace]():
		return reflect.ValueOf(c.k)
	case t == reflect.TypeFor[context.Context]():
		return reflect.ValueOf(context.Background())
	case t.Kind() == reflect.Func: // that returns nothing, or no error
		return reflect.MakeFunc(t, func([]reflect.Value) []reflect.Value {
			out := make([]reflect.Value, t.NumOut())
			for i := range out {
				out[i] = reflect.Zero(t.Out(i))
			}
			return out
		})
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Struct:
		return reflect.Zero(t) // options, a savepoint
	}
	c.Fatalf("no argument of type %v", t)
	return reflect.Value{}
}

// listener has every function of an EventListener.
func (c *backCaller) listener() (l observe.EventListener) {
	v := reflect.ValueOf(&l).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		v.Field(i).Set(reflect.MakeFunc(v.Field(i).Type(), func([]reflect.Value) []reflect.Value {
			c.call(name)
			return nil
		}))
	}
	return l
}

// Enabled, Handle and so on make it a handler of a logger.
func (c *backCaller) Enabled(context.Context, slog.Level) bool { c.call("Enabled"); return true }
func (c *backCaller) Handle(_ context.Context, r slog.Record) error {
	c.call("log: " + r.Message)
	return nil
}
func (c *backCaller) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c *backCaller) WithGroup(string) slog.Handler      { return c }

// callingMerger calls back when it is asked, even for its name.
type callingMerger struct {
	merger.Append
	c *backCaller
}

func (m callingMerger) Name() string { m.c.call("Name"); return m.Append.Name() }

func (m callingMerger) Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	m.c.call("Full")
	return m.Append.Full(dst, key, existing, exists, operands)
}

func (m callingMerger) Partial(dst, key, older, newer []byte) ([]byte, bool, error) {
	m.c.call("Partial")
	return m.Append.Partial(dst, key, older, newer)
}

// callingContext is a context of the program's own.
type callingContext struct {
	context.Context
	c *backCaller
}

// Value makes package context see a context that it does not know.
func (x callingContext) Value(any) any { return nil }

func (x callingContext) Err() error { x.c.call("Err"); return x.Context.Err() }

func (x callingContext) AfterFunc(f func()) (stop func() bool) {
	x.c.call("AfterFunc")
	inner := context.AfterFunc(x.Context, f)
	return func() bool { x.c.call("stop of AfterFunc"); return inner() }
}

// life lets a database live through what databases meet: stops, flushes,
// compactions, loads, a full disk, a failed sync, Close.
func (c *backCaller) life(t *testing.T, change func(*seerdb.Options, *dbtest.TestOptions)) {
	ctx := callingContext{t.Context(), c}
	mem := memfs.New()
	fs := faultfs.New(mem)
	o, to := dbtest.Tiny()
	o.Durability, o.MemtableSize, to.FS = seerdb.Sync, 4<<10, fs
	change(&o, &to)
	db, err := seerdb.Open("db", dbtest.With(o, to))
	dbtest.Must(t, err)
	c.k = dbtest.Keyspace(t, db, "held")
	c.db.Store(db)
	k, err := db.Keyspace("dropped", nil)
	dbtest.Must(t, err)
	if o.Merger != nil { // its name is compared with the one written down
		for range 2 {
			_, err := db.Keyspace("merged", &seerdb.KeyspaceOptions{Merger: o.Merger})
			dbtest.Must(t, err)
		}
	}
	dbtest.Must(t, db.PutTTL([]byte("timed"), nil, time.Hour)) // from here on the clock is read
	x, err := db.Begin(nil)
	dbtest.Must(t, err)
	born, err := x.Keyspace("born", nil)
	dbtest.Must(t, err)
	dbtest.Must(t, born.Put([]byte("k"), nil))
	dbtest.Must(t, x.CommitContext(ctx))
	write := func(n int) {
		for i := range n {
			b := db.NewBatch()
			dbtest.Must(t, errors.Join(b.Put(fmt.Appendf(nil, "k%03d", i%70), make([]byte, 100+i%3*100)), b.In(k).Put([]byte("k"), nil)))
			if o.Merger != nil {
				dbtest.Must(t, b.Merge(fmt.Appendf(nil, "m%d", i%3), []byte("operand")))
			}
			_ = db.ApplyContext(ctx, b, seerdb.DefaultDurability)
		}
	}
	write(20) // before flushes are slow, for the calls of the context flush
	untilStopped(t, db, fs, func() { write(10) })
	_ = db.Flush(ctx)
	for i := range 3 {
		_, _ = db.Get(fmt.Appendf(nil, "m%d", i))
		_ = db.GetFunc([]byte("k001"), func([]byte) error { c.call("GetFunc"); return nil })
	}
	_ = db.Compact(ctx, nil, nil)
	_ = db.Update(ctx, func(x *seerdb.Txn) error { c.call("Update"); return x.Put([]byte("k"), nil) })
	_, _ = db.BulkLoad(ctx, func(yield func(k, v []byte) bool) { c.call("rows"); yield([]byte("row"), make([]byte, 300)) },
		&seerdb.BulkOptions{
			Expires:  func(_, _ []byte) time.Time { c.call("Expires"); return time.Time{} },
			Progress: func(seerdb.BulkProgress) { c.call("Progress") },
		})
	dbtest.Must(t, db.DropKeyspace("dropped"))
	k, err = db.Keyspace("dropped", nil)
	dbtest.Must(t, err)
	write(20)
	_ = db.Compact(ctx, nil, nil)
	mem.SetCapacity(mem.Used() + 1000)
	write(30) // the disk is full
	_ = db.Flush(ctx)
	mem.SetCapacity(0)
	dbtest.Eventually(t, 10*time.Second, "there is space again", func() bool { return db.Flush(ctx) == nil && db.Put([]byte("k"), nil) == nil })
	write(10)
	mem.FailSync("*.wal", memfs.SyncForgets, syscall.EIO)
	write(5) // read-only from here on
	if h := db.Health(); h.Status != observe.ReadOnly {
		t.Errorf("after a failed sync: %+v", h)
	}
	_ = db.Flush(ctx)
	_ = db.Close()
	_ = db.Close()
}

// untilStopped writes until the database has stopped its writers. A flush has to
// last longer than memtables take to be filled, which is long under the race
// detector.
func untilStopped(t *testing.T, db *seerdb.DB, fs *faultfs.FS, write func()) {
	slow := fs.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: dbtest.TableFiles, Delay: 200 * time.Millisecond})
	dbtest.Eventually(t, 30*time.Second, "writers are stopped", func() bool {
		write()
		return db.Metrics().Stalls.Stops > 0
	})
	slow.Remove()
}

// reached reports the places that were.
func (c *backCaller) reached(t *testing.T, want ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range want {
		if c.from[w] == 0 {
			t.Errorf("%s was never reached: %v", w, c.from)
		}
	}
}

// inTime runs f, and fails with all stacks if it does not end.
func inTime(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		panic(what + " hangs")
	}
}

// TestCallbacksCallEverything: see the head of the file.
func TestCallbacksCallEverything(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*backCaller, *seerdb.Options, *dbtest.TestOptions)
		want   []string
	}{
		"listener": {func(c *backCaller, o *seerdb.Options, _ *dbtest.TestOptions) { o.Listener = c.listener() }, []string{
			"FlushBegin", "FlushEnd", "CompactionBegin", "CompactionEnd", "TableCreated", "TableRemoved", "ValueFileCreated",
			"ValueFileRemoved", "StallBegin", "StallEnd", "BackgroundError",
		}},
		"logger": {func(c *backCaller, o *seerdb.Options, _ *dbtest.TestOptions) { o.Logger = slog.New(c) }, []string{
			"Enabled", "log: seerdb: writers are stopped", "log: seerdb is read-only from now on", "log: seerdb: rows were loaded",
		}},
		"merger": {func(c *backCaller, o *seerdb.Options, _ *dbtest.TestOptions) {
			o.Merger = callingMerger{merger.Append{}, c}
		}, []string{
			"Full", "Partial", "Name",
		}},
		"filter": {func(c *backCaller, o *seerdb.Options, _ *dbtest.TestOptions) {
			o.CompactionFilter = func(_, _ []byte) (seerdb.FilterVerdict, []byte, error) {
				c.call("filter")
				return seerdb.FilterKeep, nil, nil
			}
		}, []string{"filter"}},
		"clock": {func(c *backCaller, _ *seerdb.Options, to *dbtest.TestOptions) {
			to.Clock = func() time.Time { c.look("clock"); return time.Now() }
		}, []string{"clock"}},
		"others": {func(*backCaller, *seerdb.Options, *dbtest.TestOptions) {}, []string{
			"GetFunc", "Update", "rows", "Expires", "Progress", "Err", "AfterFunc", "stop of AfterFunc",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // stops and retries wait most of the time
			c := &backCaller{TB: t, from: map[string]int{}, sites: map[string]int{}}
			inTime(t, name, func() {
				c.life(t, func(o *seerdb.Options, to *dbtest.TestOptions) { test.change(c, o, to) })
			})
			c.reached(t, test.want...)
		})
	}
}

// TestCloseFromCallbacks: an event may call Close, which does all its work, also
// while another Close waits for the event. What Close would wait for, a job or
// the rows of a load, gets ErrInCallback from it, and the database stays open.
func TestCloseFromCallbacks(t *testing.T) {
	for _, event := range []string{"FlushBegin", "FlushEnd", "TableCreated", "CompactionEnd", "StallBegin"} {
		for _, alone := range []bool{true, false} {
			t.Run(fmt.Sprint(event, alone), func(t *testing.T) {
				closeFromEvent(t, event, alone)
			})
		}
	}
	for name, in := range map[string]func(db *seerdb.DB, f func()){
		"rows": func(db *seerdb.DB, f func()) {
			_, err := db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) { f(); yield([]byte("b"), nil) }, nil)
			dbtest.Must(t, err)
		},
		"unsorted rows": func(db *seerdb.DB, f func()) {
			_, err := db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) { f(); yield([]byte("b"), nil) },
				&seerdb.BulkOptions{Unsorted: true})
			dbtest.Must(t, err)
		},
		"expiry of rows": func(db *seerdb.DB, f func()) {
			_, err := db.BulkLoad(context.Background(), dbtest.BulkRows([]string{"b"}, func(int) string { return "" }),
				&seerdb.BulkOptions{Expires: func(_, _ []byte) time.Time { f(); return time.Time{} }})
			dbtest.Must(t, err)
		},
		"expiry of unsorted rows": func(db *seerdb.DB, f func()) {
			_, err := db.BulkLoad(context.Background(), dbtest.BulkRows([]string{"b"}, func(int) string { return "" }),
				&seerdb.BulkOptions{Unsorted: true, Expires: func(_, _ []byte) time.Time { f(); return time.Time{} }})
			dbtest.Must(t, err)
		},
		"merge operator of a flush": func(db *seerdb.DB, f func()) {
			*db.Metrics() = observe.Metrics{}
			hookOf = f
			dbtest.Must(t, db.Flush(context.Background()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			hook := func() {
				if f := hookOf; f != nil {
					hookOf = nil
					f()
				}
			}
			o := dbtest.SmallOn(memfs.New(), seerdb.Sync)
			o.Merger = hooked{hook: &hook}
			db := dbtest.Open(t, "db", o)
			dbtest.Must(t, errors.Join(db.Put([]byte("a"), nil), db.Merge([]byte("a"), []byte("x"))))
			inTime(t, name, func() {
				asked := false
				in(db, func() {
					asked = true
					if err := db.Close(); !errors.Is(err, seerdb.ErrInCallback) {
						t.Errorf("Close: %v", err)
					}
				})
				if !asked {
					t.Error("was not called")
				}
			})
			dbtest.Must(t, db.Put([]byte("a"), nil))
		})
	}
}

// closeFromEvent calls Close from an event: alone, while writes go on, or when
// another Close is at work.
func closeFromEvent(t *testing.T, event string, alone bool) {
	var p atomic.Pointer[seerdb.DB]
	o, to := dbtest.Tiny()
	o.MemtableSize, to.FS = 2<<10, memfs.New()
	called, closing := make(chan error, 1), make(chan struct{})
	v := reflect.ValueOf(&o.Listener).Elem().FieldByName(event)
	v.Set(reflect.MakeFunc(v.Type(), func([]reflect.Value) []reflect.Value {
		if db := p.Swap(nil); db != nil {
			if !alone { // until the other Close does its work
				<-closing
				for !errors.Is(db.Put([]byte("k"), nil), seerdb.ErrClosed) {
					time.Sleep(time.Millisecond)
				}
			}
			called <- db.Close()
		}
		return nil
	}))
	db, err := seerdb.Open("db", dbtest.With(o, to))
	dbtest.Must(t, err)
	p.Store(db)
	inTime(t, event, func() {
		for i := 0; alone || i < 200; i++ {
			if err := db.Put(fmt.Appendf(nil, "%05d", i%100), make([]byte, 150)); errors.Is(err, seerdb.ErrClosed) {
				break
			}
		}
		close(closing)
		dbtest.Must(t, db.Close())
		if p.Load() == nil {
			dbtest.Must(t, <-called)
		}
	})
}

// hookOf is what the merge operator of the test above calls next.
var hookOf func()

// TestListenerThatBlocks: a listener that does not return holds up nothing. What
// happened is delivered when it does, in order and in full, before Close returns.
func TestListenerThatBlocks(t *testing.T) {
	var mu sync.Mutex
	var got []string
	note := func(what string, job int) {
		mu.Lock()
		got = append(got, fmt.Sprint(what, " ", job))
		mu.Unlock()
	}
	in, out := make(chan struct{}), make(chan struct{})
	var once sync.Once
	o, to := dbtest.Tiny()
	o.MemtableSize, to.FS, to.ManualOnly = 4<<10, memfs.New(), true
	o.Listener = observe.EventListener{
		FlushBegin:      func(e observe.FlushEvent) { once.Do(func() { close(in); <-out }); note("begin", e.Job) },
		FlushEnd:        func(e observe.FlushEvent) { note("end", e.Job) },
		CompactionBegin: func(e observe.CompactionEvent) { note("begin", e.Job) },
		CompactionEnd:   func(e observe.CompactionEvent) { note("end", e.Job) },
	}
	db, err := seerdb.Open("db", dbtest.With(o, to))
	dbtest.Must(t, err)
	inTime(t, "writing beside a listener that blocks", func() {
		for i := range 60 { // a few flushes, and less than level 0 takes without compactions
			dbtest.Must(t, db.Put(fmt.Appendf(nil, "%05d", i), make([]byte, 150)))
		}
		<-in
		dbtest.Must(t, errors.Join(db.Flush(context.Background()), db.Compact(context.Background(), nil, nil)))
	})
	m := db.Metrics()
	closed := dbtest.Async(db.Close)
	select {
	case err := <-closed:
		t.Errorf("Close returned before its events were delivered: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(out)
	inTime(t, "Close", func() { dbtest.Must(t, <-closed) })
	mu.Lock()
	defer mu.Unlock()
	begun := 0
	for i, g := range got {
		job, isEnd := strings.CutPrefix(g, "end ")
		if !isEnd {
			begun++
		} else if !slices.Contains(got[:i], "begin "+job) {
			t.Errorf("job %s ended before it began: %q", job, got)
		}
	}
	if want := m.Flushes.Count + m.Compactions.Count; int64(begun) < want || 2*begun != len(got) {
		t.Errorf("%d events of %d jobs, %d begun: %q", len(got), want, begun, got)
	}
}
