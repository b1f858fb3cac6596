package crash

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// The crash sweep over the rest of the data model: merges, range deletes,
// single deletes, expiry, and keyspaces that come and go.

// wideLife is one run of such a scenario.
type wideLife struct {
	dbtest.ModelDB
	fs      *memfs.FS
	clock   *dbtest.Clock
	g       *testkit.Gen
	d       seerdb.Durability
	durable int // commits up to here must survive

	// creating and dropping are what was begun and may or may not have happened.
	creating, dropping string
	// unsettled are the keyspaces that a power cut may take back, with the first
	// commit that wrote to them; 0 is none.
	unsettled map[string]int
}

// wideLifeMerger is the operator of every keyspace of a wideLife.
var wideLifeMerger = testkit.Counter

func newWideLife(fs *memfs.FS, d seerdb.Durability, w testkit.Weights) *wideLife {
	l := &wideLife{ModelDB: dbtest.ModelDB{Model: testkit.NewModel()}, unsettled: map[string]int{}, fs: fs, clock: dbtest.NewClock(), g: testkit.NewGen(7, 30, 60), d: d}
	l.Model.UseMerger(testkit.Default, wideLifeMerger)
	l.g.Weights, l.g.Odd = w, 20
	return l
}

func (l *wideLife) open() (err error) {
	o, t := dbtest.Tiny()
	o.Durability, o.MemtableSize, o.ValueThreshold, o.Merger = l.d, 2<<10, 30, wideLifeMerger.Operator()
	t.FS, t.Clock = l.fs, l.clock.Now
	l.Trees = map[int]dbtest.FullTree{}
	l.DB, err = seerdb.Open("db", dbtest.With(o, t))
	return err
}

func (l *wideLife) commits(n int) error {
	for range n {
		c := l.Model.Commits() + 1
		ops := append(l.g.Commit(l.Model), dbtest.CounterOp(c))
		b, err := l.Batch(ops)
		if err != nil {
			return err
		}
		for i := range ops {
			if name := l.Model.KeyspaceName(ops[i].Keyspace); ops[i].Keyspace != testkit.Default {
				if first, there := l.unsettled[name]; there && first == 0 {
					l.unsettled[name] = c
				}
			}
		}
		l.Model.Commit(ops)
		if err := l.DB.Apply(b, seerdb.DefaultDurability); err != nil {
			return err
		}
		if l.d == seerdb.Sync {
			l.durable = c
		}
		l.Model.Advance(l.g.Tick(l.Model))
		l.clock.Set(l.Model.Now())
	}
	return nil
}

func (l *wideLife) create(name string) error {
	l.creating = name
	k, err := l.DB.Keyspace(name, l.OptionsOf(l.Model.NextKeyspace(), wideLifeMerger))
	if err == nil {
		l.creating = ""
		if l.d != seerdb.Sync {
			l.unsettled[name] = 0
		}
		l.Trees[l.Model.CreateKeyspace(name, wideLifeMerger)] = k
	}
	return err
}

func (l *wideLife) drop(name string) error {
	l.dropping = name
	err := l.DB.DropKeyspace(name)
	if err == nil {
		l.dropping = ""
		clear(l.unsettled) // what is dropped durably was created so
		id, _ := l.Model.Find(name)
		l.Model.DropKeyspace(id)
		delete(l.Trees, id)
	}
	return err
}

func (l *wideLife) flush() error {
	c := l.Model.Commits()
	if err := l.DB.Flush(context.Background()); err != nil {
		return err
	}
	l.durable = c
	clear(l.unsettled)
	return nil
}

func (l *wideLife) compact() error {
	c := l.Model.Commits()
	for _, id := range l.Model.Keyspaces() {
		t, err := l.Tree(id)
		if err != nil {
			return err
		}
		if err := t.Compact(context.Background(), nil, nil); err != nil {
			return err
		}
	}
	l.durable = c
	return nil
}

func (l *wideLife) close() error {
	err := l.DB.Close()
	l.DB = nil
	if err == nil {
		clear(l.unsettled)
		l.durable = l.Model.Commits()
	}
	return err
}

// wideScenarios are protocols with operations drawn by weight.
var wideScenarios = []struct {
	name string
	d    seerdb.Durability
	w    testkit.Weights
	run  func(l *wideLife, more func() error) error
}{
	{"merges", seerdb.Sync, testkit.Weights{testkit.Merge: 80, testkit.Put: 10, testkit.Delete: 10}, func(l *wideLife, more func() error) error {
		return steps(l.open, more, l.flush, more, l.compact, more, l.close, l.open)
	}},
	{"ranges", seerdb.Sync, testkit.Weights{testkit.DeleteRange: 40, testkit.Put: 60}, func(l *wideLife, more func() error) error {
		return steps(l.open, more, l.flush, more, l.compact, more, l.close, l.open)
	}},
	{"expiry", seerdb.Sync, testkit.Weights{testkit.PutTTL: 70, testkit.Put: 10, testkit.Merge: 20}, func(l *wideLife, more func() error) error {
		return steps(l.open, more, l.flush, more, l.compact, more, l.close, l.open)
	}},
	{"singles", seerdb.Sync, testkit.Weights{testkit.Put: 60, testkit.SingleDelete: 40}, func(l *wideLife, more func() error) error {
		return steps(l.open, more, l.flush, more, l.compact, more, l.close, l.open)
	}},
	{"keyspaces", seerdb.Sync, testkit.DefaultWeights, wideLifeKeyspaces},
	{"keyspaces-buffered", seerdb.Buffered, testkit.DefaultWeights, wideLifeKeyspaces},
	{"keyspaces-no-wal", seerdb.NoWAL, testkit.DefaultWeights, wideLifeKeyspaces},
	{"namesake", seerdb.Sync, testkit.DefaultWeights, func(l *wideLife, more func() error) error {
		create, drop := func() error { return l.create("a") }, func() error { return l.drop("a") }
		return steps(l.open, create, more, drop, create, more, l.flush, drop, create, l.close, l.open, more)
	}},
	{"everything", seerdb.Relaxed, testkit.DefaultWeights, func(l *wideLife, more func() error) error {
		return steps(l.open, func() error { return l.create("a") }, more, l.flush, more, more, l.compact, more, l.close, l.open, more)
	}},
}

func wideLifeKeyspaces(l *wideLife, more func() error) error {
	return steps(l.open, func() error { return l.create("a") }, more, func() error { return l.create("b") }, more, l.flush,
		more, func() error { return l.drop("a") }, more, l.compact, l.close, l.open, func() error { return l.drop("b") })
}

// TestCrashSweepDataModel is TestCrashSweep for the wider data model.
func TestCrashSweepDataModel(t *testing.T) {
	for _, s := range wideScenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			crashSweep(t, func(fs *memfs.FS) (victim, func() error) {
				l := newWideLife(fs, s.d, s.w)
				return l, func() error { return s.run(l, func() error { return l.commits(3) }) }
			})
		})
	}
}

func (l *wideLife) abandon() {
	if l.DB != nil {
		_ = l.DB.Close()
	}
}

func (l *wideLife) survives(fs *memfs.FS) error {
	second := *l
	second.fs = fs
	if err := second.open(); err != nil {
		return err
	}
	return second.DB.Close()
}

func (l *wideLife) recoverOne(t *testing.T, fs *memfs.FS, what string) {
	t.Helper()
	after := *l
	after.fs = fs
	if err := after.open(); err != nil {
		t.Fatalf("%s: open: %v", what, err)
	}
	got, err := after.Counter()
	if err != nil || got < l.durable || got > l.Model.Commits() {
		t.Fatalf("%s: commit %d is the newest (%v); %d was durable, %d tried", what, got, err, l.durable, l.Model.Commits())
	}
	if err := after.recovered(got); err != nil {
		t.Fatalf("%s: recovered commit %d: %v", what, got, err)
	}
	report, err := after.DB.Verify(context.Background())
	dbtest.Must(t, err)
	if !report.Clean() {
		t.Fatalf("%s: verify: %v", what, report.Damage)
	}
	dbtest.Must(t, after.DB.Close())
}

// recovered compares a database with the model after a commit, and writes to
// it.
func (l *wideLife) recovered(commit int) error {
	names, err := l.DB.Keyspaces()
	if err != nil {
		return err
	}
	for _, id := range l.Model.Keyspaces() {
		name := l.Model.KeyspaceName(id)
		if id != testkit.Default && !slices.Contains(names, name) {
			if name == l.dropping {
				continue
			}
			if first, there := l.unsettled[name]; there && (first == 0 || commit < first) {
				continue
			}
			return fmt.Errorf("keyspace %q is gone", name)
		}
		if err := l.Check(nil, testkit.View{Commit: commit, Now: l.Model.Now()}, id); err != nil {
			return err
		}
		to, err := l.Tree(id)
		if err != nil {
			return err
		}
		if err := errors.Join(to.Put([]byte("alive"), []byte("yes")), to.DeleteRange([]byte("alive"), nil)); err != nil {
			return fmt.Errorf("the recovered database takes no commit: %w", err)
		}
	}
	for _, name := range names {
		if _, known := l.Model.Find(name); known {
			continue
		}
		if name != l.creating {
			return fmt.Errorf("keyspace %q is there", name)
		}
		k, err := l.DB.Keyspace(name, l.OptionsOf(l.Model.NextKeyspace(), wideLifeMerger))
		if err != nil {
			return err
		}
		it, err := k.NewIter(nil)
		if err != nil {
			return err
		}
		if it.First() {
			return fmt.Errorf("the new keyspace %q has %q", name, it.Key())
		}
		_ = it.Close()
	}
	return nil
}
