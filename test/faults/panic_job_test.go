package faults

// Code of the program that panics where the program cannot recover: in background
// jobs, in Open, in deliveries. The process lives, the data stays, and Health, the
// listener and the logger say what happened.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
	"github.com/seerdb-go/seerdb/observe"
)

// jumpy is a merge operator that panics on demand.
type jumpy struct {
	merger.Counter
	bad *atomic.Bool
}

func (m jumpy) Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	if m.bad.Load() {
		panic("no value today")
	}
	return m.Counter.Full(dst, key, existing, exists, operands)
}

func (m jumpy) Partial(dst, key, older, newer []byte) ([]byte, bool, error) {
	if m.bad.Load() {
		panic("no operand today")
	}
	return m.Counter.Partial(dst, key, older, newer)
}

// complaints collects the errors that the listener and the logger get.
type complaints struct {
	mu     sync.Mutex
	panics []*seerdb.PanicError // guarded by mu; of BackgroundError
	logged []string             // guarded by mu
}

func (c *complaints) options(o *seerdb.Options) {
	o.Listener.BackgroundError = func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		var p *seerdb.PanicError
		if errors.As(err, &p) {
			c.panics = append(c.panics, p)
		}
	}
	o.Logger = slog.New(slog.NewTextHandler(c, nil))
}

func (c *complaints) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logged = append(c.logged, string(b))
	return len(b), nil
}

// heard checks that a panic with a word was reported everywhere.
func (c *complaints) heard(t *testing.T, db *seerdb.DB, word string) {
	t.Helper()
	dbtest.Eventually(t, 10*time.Second, "the panic is reported to listener and logger", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		all := strings.Join(c.logged, "")
		return len(c.panics) > 0 && strings.Contains(c.panics[0].Error(), word) && strings.Contains(string(c.panics[0].Stack), "panic_job_test.go") &&
			strings.Contains(all, word) && strings.Contains(all, "panic_job_test.go")
	})
	if h := db.Health(); h.Status != observe.Degraded || !strings.Contains(fmt.Sprint(h.Reasons), word) {
		t.Errorf("health: %+v", h)
	}
}

// oneVersion checks that nothing is pinned: compaction leaves one entry a key.
func oneVersion(t *testing.T, db *seerdb.DB, keys int) {
	t.Helper()
	dbtest.Must(t, db.Put([]byte("pinned"), []byte("1")))
	dbtest.Must(t, db.Flush(context.Background()))
	dbtest.Must(t, db.Put([]byte("pinned"), []byte("2")))
	dbtest.Must(t, db.Compact(context.Background(), nil, nil))
	m := db.Metrics()
	n := int64(0)
	for _, l := range m.Levels {
		n += l.Entries
	}
	if m.Iterators != 0 || m.Snapshots != 0 || m.Transactions != 0 || m.OldestSnapshotSeq != 0 || n != int64(keys+1) {
		t.Errorf("%d iterators, %d snapshots, %d transactions are open, the oldest at %d; %d entries for %d keys",
			m.Iterators, m.Snapshots, m.Transactions, m.OldestSnapshotSeq, n, keys+1)
	}
}

// TestMergerPanicsInJobs: in a flush, a compaction, Close, Open and a load, with
// the operands in the log, in tables, under a value. They stay, and merge once
// the operator does its work.
func TestMergerPanicsInJobs(t *testing.T) {
	ctx := context.Background()
	var bad atomic.Bool
	var c complaints
	mem := memfs.New()
	o, to := dbtest.Tiny()
	o.Merger, to.FS, o.Durability = jumpy{bad: &bad}, mem, seerdb.Sync
	c.options(&o)
	opened := func() *seerdb.DB {
		db, err := seerdb.Open("db", dbtest.With(o, to))
		dbtest.Must(t, err)
		return db
	}
	sum := map[string]int64{}
	add := func(db *seerdb.DB, n int) {
		for i := range n {
			k := fmt.Sprintf("k%02d", i%20)
			dbtest.Must(t, db.Merge([]byte(k), merger.AppendInt64(nil, int64(i))))
			sum[k] += int64(i)
		}
	}
	check := func(db *seerdb.DB, when string) {
		t.Helper()
		was := bad.Swap(false)
		defer bad.Store(was)
		for k, want := range sum {
			v, err := db.Get([]byte(k))
			if n, nerr := merger.Int64(v); err != nil || nerr != nil || n != want {
				t.Fatalf("%s: %s is %d (%v, %v), want %d", when, k, n, err, nerr, want)
			}
		}
	}
	db := opened()
	dbtest.Must(t, db.Put([]byte("k00"), merger.AppendInt64(nil, 1000)))
	sum["k00"] = 1000
	bad.Store(true)
	add(db, 200)
	dbtest.Must(t, db.Flush(ctx))
	c.heard(t, db, "no operand today")
	check(db, "flushed")
	add(db, 200)
	dbtest.Must(t, db.Compact(ctx, nil, nil))
	check(db, "compacted")
	add(db, 100)
	_, err := db.BulkLoad(ctx, func(yield func(k, v []byte) bool) { yield([]byte("z"), nil) }, nil)
	dbtest.Must(t, err)
	check(db, "with rows loaded over operands in memory")
	add(db, 100)
	dbtest.Must(t, db.Close())
	for range 3 { // with the operands in the log
		db = opened()
		check(db, "reopened")
		add(db, 100)
		lost := mem.CrashClone(memfs.CrashOptions{})
		dbtest.Must(t, db.Close())
		mem, to.FS = lost, lost
	}
	db = opened()
	bad.Store(false)
	check(db, "after a power cut")
	oneVersion(t, db, 21)
	check(db, "compacted again")
	dbtest.Must(t, db.Close())
}

// TestFilterPanicsInJobs: a compaction whose filter panics fails, and the data
// stays; it works again when the filter does.
func TestFilterPanicsInJobs(t *testing.T) {
	var bad atomic.Bool
	bad.Store(true)
	var c complaints
	o, to := dbtest.Tiny()
	to.FS = memfs.New()
	o.CompactionFilter = func(key, _ []byte) (seerdb.FilterVerdict, []byte, error) {
		if bad.Load() && string(key) == "k07" {
			panic(fmt.Errorf("no verdict today: %w", dbtest.ErrDisk))
		}
		return seerdb.FilterKeep, nil, nil
	}
	c.options(&o)
	db, err := seerdb.Open("db", dbtest.With(o, to))
	dbtest.Must(t, err)
	for i := range 400 {
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "k%02d", i%20), fmt.Append(nil, i)))
	}
	err = db.Compact(context.Background(), nil, nil)
	var p *seerdb.PanicError
	if !errors.As(err, &p) || !errors.Is(err, dbtest.ErrDisk) || string(p.Key) != "k07" || !strings.Contains(p.Code, "filter") {
		t.Fatalf("Compact: %v", err)
	}
	c.heard(t, db, "no verdict today")
	bad.Store(false)
	oneVersion(t, db, 20)
	for i := 380; i < 400; i++ {
		if v, err := db.Get(fmt.Appendf(nil, "k%02d", i%20)); err != nil || string(v) != fmt.Sprint(i) {
			t.Errorf("%q, %v, want %d", v, err, i)
		}
	}
	dbtest.Must(t, db.Close())
}

// TestListenerPanics: an event or a log record that panics is reported, and the
// next ones come.
func TestListenerPanics(t *testing.T) {
	var events atomic.Int64
	var c complaints
	o, to := dbtest.Tiny()
	to.FS = memfs.New()
	c.options(&o)
	o.Listener.FlushBegin = func(observe.FlushEvent) { panic("no event today") }
	o.Listener.FlushEnd = func(observe.FlushEvent) { events.Add(1) }
	o.Listener.BackgroundError = func(error) { panic("nor an error") }
	db, err := seerdb.Open("db", dbtest.With(o, to))
	dbtest.Must(t, err)
	for i := range 3 {
		dbtest.Must(t, db.Put([]byte("k"), fmt.Append(nil, i)))
		dbtest.Must(t, db.Flush(context.Background()))
	}
	dbtest.Eventually(t, 10*time.Second, "the events come", func() bool { return events.Load() == 3 })
	if h := db.Health(); h.Status != observe.Degraded || !strings.Contains(fmt.Sprint(h.Reasons), "no event today") {
		t.Errorf("health: %+v", h)
	}
	oneVersion(t, db, 1)
	dbtest.Must(t, db.Close())
	c.mu.Lock()
	defer c.mu.Unlock()
	if all := strings.Join(c.logged, ""); !strings.Contains(all, "no event today") || !strings.Contains(all, "panic_job_test.go") {
		t.Errorf("logged: %s", all)
	}
}

// badHandler is a handler of a logger that panics.
type badHandler struct{ slog.Handler }

func (badHandler) Handle(context.Context, slog.Record) error { panic("no record today") }

// TestLoggerPanics: as TestListenerPanics.
func TestLoggerPanics(t *testing.T) {
	o, to := dbtest.Tiny()
	to.FS = memfs.New()
	o.Logger = slog.New(badHandler{slog.NewTextHandler(new(complaints), nil)})
	db, err := seerdb.Open("db", dbtest.With(o, to))
	dbtest.Must(t, err)
	_, err = db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) { yield([]byte("k"), nil) }, nil) // logs that
	dbtest.Must(t, err)
	dbtest.Eventually(t, 10*time.Second, "Health says so", func() bool {
		return strings.Contains(fmt.Sprint(db.Health().Reasons), "no record today")
	})
	dbtest.Must(t, db.Close())
}

// TestListenerAndLoggerPanic: where both always panic they do not report each
// other's panics for ever, for which Close would wait.
func TestListenerAndLoggerPanic(t *testing.T) {
	o, to := dbtest.Tiny()
	to.FS = memfs.New()
	o.Logger = slog.New(badHandler{slog.NewTextHandler(new(complaints), nil)})
	o.Listener.FlushEnd = func(observe.FlushEvent) { panic("no event today") }
	o.Listener.BackgroundError = func(error) { panic("nor an error") }
	db, err := seerdb.Open("db", dbtest.With(o, to))
	dbtest.Must(t, err)
	dbtest.Must(t, db.Put([]byte("k"), nil))
	dbtest.Must(t, db.Flush(context.Background()))
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	select {
	case err := <-closed:
		dbtest.Must(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("Close waits for reports of panics without an end")
	}
}

// TestLoadPanicsLeaveNoFile: rows and Progress that panic at any call leave
// neither a file nor a lock behind, and the panic goes to the caller.
func TestLoadPanicsLeaveNoFile(t *testing.T) {
	fs := memfs.New()
	db := dbtest.Open(t, "db", dbtest.SmallOn(fs, seerdb.Sync))
	dbtest.Must(t, db.Put([]byte("k"), nil))
	load := func(at int, unsorted bool) (panicked bool) {
		defer func() { panicked = recover() != nil }()
		step := func() {
			if at--; at == 0 {
				panic("mine")
			}
		}
		_, err := db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
			for i := range 8 {
				if step(); !yield(fmt.Appendf(nil, "k%05d", i), make([]byte, 150<<10)) {
					return
				}
			}
		}, &seerdb.BulkOptions{
			Unsorted: unsorted,
			Expires: func(_, _ []byte) time.Time {
				step()
				return time.Now().Add(time.Hour)
			},
			Progress: func(seerdb.BulkProgress) { step() },
		})
		dbtest.Must(t, err)
		return false
	}
	for _, unsorted := range []bool{false, true} {
		at := 1
		for ; load(at, unsorted); at++ {
			dbtest.LiveFiles(t, db, fs)
			dbtest.Must(t, db.Put([]byte("k"), nil))
		}
		if at < 18 {
			t.Errorf("only %d calls", at)
		}
	}
	oneVersion(t, db, 9)
}
