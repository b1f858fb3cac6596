package crash

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// A crash sweep runs a scenario again and again, each time losing power at the
// next operation on the file system, until the scenario ends unharmed. After
// each crash the database is opened on several of the disks that the power
// cut may have left, and must be a prefix of the commits that holds all that
// was durable.

// life is one run of a scenario: a database on a disk, with what was promised.
type life struct {
	fs      *memfs.FS
	o       seerdb.Options
	t       dbtest.TestOptions
	db      *seerdb.DB
	m       *testkit.Model // every commit that was tried
	durable int            // commits up to here must survive
	g       *testkit.Gen
}

func newLife(fs *memfs.FS, d seerdb.Durability) *life {
	o, t := dbtest.Tiny()
	o.Durability, o.MemtableSize, o.ValueThreshold = d, 2<<10, 30 // some values lie apart
	if d == seerdb.Buffered {
		t.PackFrom, t.PackedMax = -1, 600 // most tables lie in packs
	}
	return &life{fs: fs, o: o, t: t, m: testkit.NewModel(), g: testkit.NewGen(7, 30, 60)}
}

func (l *life) open() (err error) {
	t := l.t
	t.FS = l.fs
	l.db, err = seerdb.Open("db", dbtest.With(l.o, t))
	return err
}

func (l *life) commits(n int) error {
	for range n {
		ops := l.g.Ops()
		c := l.m.Commits() + 1
		ops = append(ops, testkit.Op{Key: dbtest.CounterKey, Value: string(binary.BigEndian.AppendUint64(nil, uint64(c)))})
		b := l.db.NewBatch()
		for _, op := range ops {
			if op.Delete {
				_ = b.Delete([]byte(op.Key))
			} else {
				_ = b.Put([]byte(op.Key), []byte(op.Value))
			}
		}
		l.m.Commit(ops)
		if err := l.db.Apply(b, seerdb.DefaultDurability); err != nil {
			return err
		}
		if l.o.Durability == seerdb.Sync {
			l.durable = c
		}
	}
	return nil
}

func (l *life) flush() error {
	c := l.m.Commits()
	if err := l.db.Flush(context.Background()); err != nil {
		return err
	}
	l.durable = c
	return nil
}

func (l *life) sync() error {
	if err := l.db.Sync(); err != nil {
		return err
	}
	l.durable = l.m.Commits()
	return nil
}

func (l *life) compact() error {
	c := l.m.Commits()
	if err := l.db.Compact(context.Background(), nil, nil); err != nil {
		return err
	}
	l.durable = c
	return nil
}

func (l *life) close() error {
	err := l.db.Close()
	l.db = nil
	if err == nil {
		l.durable = l.m.Commits()
	}
	return err
}

// steps runs functions until one fails.
func steps(fs ...func() error) error {
	for _, f := range fs {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// scenarios are the protocols of the engine, each on a fresh directory.
var scenarios = []struct {
	name string
	d    seerdb.Durability
	run  func(l *life) error
}{
	{"create", seerdb.Sync, func(l *life) error { return steps(l.open, l.close) }},
	{"commit", seerdb.Sync, func(l *life) error {
		return steps(l.open, func() error { return l.commits(8) }, l.close)
	}},
	{"flush", seerdb.Sync, func(l *life) error {
		return steps(l.open, func() error { return l.commits(6) }, l.flush, func() error { return l.commits(3) }, l.flush)
	}},
	{"rotate", seerdb.Sync, func(l *life) error {
		return steps(l.open, func() error { return l.commits(40) }, l.close)
	}},
	{"compact", seerdb.Sync, func(l *life) error {
		more := func() error { return l.commits(5) }
		return steps(l.open, more, l.flush, more, l.flush, more, l.compact, more)
	}},
	{"reopen", seerdb.Sync, func(l *life) error {
		more := func() error { return l.commits(6) }
		return steps(l.open, more, l.close, l.open, more, l.close, l.open)
	}},
	{"buffered", seerdb.Buffered, func(l *life) error {
		more := func() error { return l.commits(15) }
		return steps(l.open, more, l.sync, more, l.flush, more, l.close)
	}},
	{"relaxed", seerdb.Relaxed, func(l *life) error {
		more := func() error { return l.commits(15) }
		return steps(l.open, more, l.sync, more, l.flush, more, l.close)
	}},
	{"no-wal", seerdb.NoWAL, func(l *life) error {
		more := func() error { return l.commits(10) }
		return steps(l.open, more, l.flush, more, l.close, l.open)
	}},
}

func TestCrashSweep(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			crashSweep(t, func(fs *memfs.FS) (victim, func() error) {
				l := newLife(fs, s.d)
				return l, func() error { return s.run(l) }
			})
		})
	}
}

// victim is a life that ends by a crash.
type victim interface {
	abandon()                                           // closes what is open, on the disk that is frozen
	survives(fs *memfs.FS) (err error)                  // opens another disk, and closes it
	recoverOne(t *testing.T, fs *memfs.FS, what string) // opens another disk and checks the contract
}

// crashSweep crashes a scenario at each of its operations on the file system.
func crashSweep(t *testing.T, begin func(*memfs.FS) (victim, func() error)) {
	crashes, recoveries := 0, 0
	for k := int64(1); ; k++ {
		fs := memfs.New()
		fs.FreezeAt(k)
		l, run := begin(fs)
		err := run()
		frozen := fs.Frozen()
		l.abandon()
		if !frozen {
			dbtest.Must(t, err)
			break
		}
		crashes++
		recoveries += recoverAll(t, l, fs, k)
	}
	if crashes == 0 {
		t.Fatal("the scenario never crashed: it tested nothing")
	}
	t.Logf("%d crash points, %d recoveries", crashes, recoveries)
}

// recoverAll opens several of the disks that the crash may have left.
func recoverAll(t *testing.T, l victim, fs *memfs.FS, k int64) (recoveries int) {
	seeds := 2
	if testing.Short() {
		seeds = 1
	}
	for i := range 2 + seeds {
		o := memfs.CrashOptions{Keep: 0.5, Rand: rand.New(rand.NewPCG(uint64(k), uint64(i)))}
		switch i {
		case 0:
			o.Keep = 0
		case 1:
			o.Keep = 1
		case 2:
			o.Fill = func(sector []byte) {
				for j := range sector {
					sector[j] = byte(o.Rand.Uint32())
				}
			}
		}
		what := fmt.Sprintf("crash at operation %d, disk %d", k, i)
		l.recoverOne(t, fs.CrashClone(o), what)
		recoveries++
		if i == 2 && k%5 == 0 { // a sample: the operations of recovery are the same at most k
			recoveries += crashInRecovery(t, l, fs, what)
		}
	}
	return recoveries
}

// crashInRecovery crashes again while the crash is being recovered from.
func crashInRecovery(t *testing.T, l victim, disk *memfs.FS, what string) (recoveries int) {
	for j := int64(1); ; j++ {
		fs := disk.CrashClone(memfs.CrashOptions{Keep: 1})
		fs.FreezeAt(fs.Ops() + j)
		_ = l.survives(fs)
		if !fs.Frozen() || j > 60 {
			return recoveries
		}
		l.recoverOne(t, fs.CrashClone(memfs.CrashOptions{Keep: float64(j%3) / 2, Rand: rand.New(rand.NewPCG(uint64(j), 3))}), fmt.Sprintf("%s, again at operation %d of the recovery", what, j))
		recoveries++
	}
}

func (l *life) abandon() {
	if l.db != nil {
		_ = l.db.Close()
	}
}

func (l *life) survives(fs *memfs.FS) error {
	second := *l
	second.fs = fs
	if err := second.open(); err != nil {
		return err
	}
	return second.db.Close()
}

// recoverOne opens a disk and checks the contract.
func (l *life) recoverOne(t *testing.T, fs *memfs.FS, what string) {
	t.Helper()
	after := *l
	after.fs = fs
	if err := after.open(); err != nil {
		t.Fatalf("%s: open: %v", what, err)
	}
	got := 0
	v, err := after.db.Get([]byte(dbtest.CounterKey))
	switch {
	case err == nil:
		got = int(binary.BigEndian.Uint64(v))
	case !errors.Is(err, seerdb.ErrNotFound):
		t.Fatalf("%s: %v", what, err)
	}
	if got < l.durable || got > l.m.Commits() {
		t.Fatalf("%s: commit %d is the newest; %d was durable, %d tried", what, got, l.durable, l.m.Commits())
	}
	it, err := after.db.NewIter(nil)
	dbtest.Must(t, err)
	rows := l.m.Rows(nil, nil, got)
	i := 0
	for ok := it.First(); ok; ok = it.Next() {
		if i >= len(rows) || string(it.Key()) != rows[i].Key || !bytes.Equal(it.Value(), []byte(rows[i].Value)) {
			t.Fatalf("%s: recovered commit %d, row %d is %q=%q", what, got, i, it.Key(), it.Value())
		}
		i++
	}
	if i != len(rows) || it.Err() != nil {
		t.Fatalf("%s: recovered commit %d, %d rows of %d (%v)", what, got, i, len(rows), it.Err())
	}
	dbtest.Must(t, it.Close())
	if err := after.db.Put([]byte("alive"), []byte("yes")); err != nil {
		t.Fatalf("%s: the recovered database takes no commit: %v", what, err)
	}
	report, err := after.db.Verify(context.Background())
	dbtest.Must(t, err)
	if !report.Clean() {
		t.Fatalf("%s: verify: %v", what, report.Damage)
	}
	dbtest.Must(t, after.db.Close())
}

// TestCrashSweepNoticesLyingDisk is the negative control: on a disk that
// answers syncs without doing them the sweep must find lost commits.
func TestCrashSweepNoticesLyingDisk(t *testing.T) {
	fs := memfs.New()
	l := newLife(fs, seerdb.Sync)
	dbtest.Must(t, l.open())
	fs.SetLyingSync(true)
	dbtest.Must(t, l.commits(5))
	disk := fs.CrashClone(memfs.CrashOptions{Keep: 0})
	fs.SetLyingSync(false)
	dbtest.Must(t, l.close())
	after := *l
	after.fs = disk
	dbtest.Must(t, after.open())
	if _, err := after.db.Get([]byte(dbtest.CounterKey)); !errors.Is(err, seerdb.ErrNotFound) {
		t.Fatalf("a lying disk lost nothing (%v): the crash tests test nothing", err)
	}
	dbtest.Must(t, after.db.Close())
}
