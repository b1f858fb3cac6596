package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// ledger remembers what was appended and what was promised.
type ledger struct {
	mu      sync.Mutex
	lsns    []int64          // in log order, since Append is called under mu
	payload map[int64]string // by LSN
	flushed map[int64]bool
	synced  map[int64]bool
}

func (l *ledger) append(w *Writer, p string) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lsn, err := w.Append([]byte(p))
	if err == nil {
		l.lsns = append(l.lsns, lsn)
		l.payload[lsn] = p
	}
	return lsn, err
}

func (l *ledger) promise(m map[int64]bool, lsn int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m[lsn] = true
}

// copyPromises returns the LSNs that are promised now.
func (l *ledger) copyPromises() (flushed, synced map[int64]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	flushed, synced = map[int64]bool{}, map[int64]bool{}
	for lsn := range l.flushed {
		flushed[lsn] = true
	}
	for lsn := range l.synced {
		flushed[lsn], synced[lsn] = true, true
	}
	return flushed, synced
}

// check replays fs, which must hold a prefix of the log with every promise.
func (l *ledger) check(fs vfs.FS, promised map[int64]bool) error {
	got, _, err := replayAll(fs)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, lsn := range l.lsns {
		if i < len(got) && got[i] != l.payload[lsn] {
			return fmt.Errorf("record %d is %q, want %q", i, got[i], l.payload[lsn])
		}
		if i >= len(got) && promised[lsn] {
			return fmt.Errorf("record %d of %d (%q) was promised and is not among the %d replayed", i, len(l.lsns), l.payload[lsn], len(got))
		}
	}
	return nil
}

// TestConcurrent has many goroutines append, flush and sync while the power
// fails, in clones, again and again.
func TestConcurrent(t *testing.T) {
	perWriter := 300
	if testing.Short() {
		perWriter = 60
	}
	fs := memfs.New()
	w := create(t, fs, Options{BufferMax: 1 << 12, FlushEvery: time.Millisecond, SyncEvery: time.Millisecond})
	syncDir(t, fs)
	l := &ledger{payload: map[int64]string{}, flushed: map[int64]bool{}, synced: map[int64]bool{}}
	var writers sync.WaitGroup
	for g := range 8 {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range perWriter {
				lsn, err := l.append(w, fmt.Sprintf("%d/%d%*s", g, i, rng.IntN(400), ""))
				if err == nil && i%2 == 0 {
					if err = w.Flush(lsn); err == nil {
						l.promise(l.flushed, lsn)
					}
				} else if err == nil && i%3 == 0 {
					if err = w.Sync(lsn); err == nil {
						l.promise(l.synced, lsn)
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var stop atomic.Bool
	var crasher sync.WaitGroup
	crasher.Go(func() {
		for n := uint64(0); !stop.Load(); n++ {
			flushed, synced := l.copyPromises()
			keep := float64(n%3) / 2
			clone := fs.CrashClone(memfs.CrashOptions{Keep: keep, Rand: rand.New(rand.NewPCG(n, 2))})
			if keep == 1 {
				synced = flushed // only the process died
			}
			if err := l.check(clone, synced); err != nil {
				t.Errorf("clone %d: %v", n, err)
				return
			}
		}
	})
	writers.Wait()
	stop.Store(true)
	crasher.Wait()
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	all := map[int64]bool{}
	for _, lsn := range l.lsns {
		all[lsn] = true
	}
	if err := l.check(fs.CrashClone(memfs.CrashOptions{}), all); err != nil {
		t.Fatal(err)
	}
}

// TestConcurrentFullDisk has many goroutines append while the disk is full now
// and then: exactly the records whose Flush answered nil are in the log.
func TestConcurrentFullDisk(t *testing.T) {
	perWriter := 400
	if testing.Short() {
		perWriter = 100
	}
	fs := memfs.New()
	w := create(t, fs, Options{BufferMax: 1 << 11})
	syncDir(t, fs)
	var mu sync.Mutex
	want := map[string]bool{} // guarded by mu
	var refused atomic.Int64
	done := make(chan struct{})
	fs.SetCapacity(fs.Used() + 100)
	go func() {
		defer close(done)
		for refused.Load() == 0 && !t.Failed() {
			time.Sleep(50 * time.Microsecond)
		}
		rng := rand.New(rand.NewPCG(9, 9))
		for range 200 {
			fs.SetCapacity(fs.Used() + rng.Int64N(300))
			time.Sleep(50 * time.Microsecond)
		}
		fs.SetCapacity(0)
	}()
	var writers sync.WaitGroup
	for g := range 6 {
		writers.Go(func() {
			for i := range perWriter {
				p := fmt.Sprintf("%d/%d", g, i)
				relaxed := i%5 == 0
				appendRecord := w.Append
				if relaxed {
					appendRecord = w.AppendRelaxed
				}
				lsn, err := appendRecord([]byte(p))
				if err == nil && !relaxed {
					err = w.Flush(lsn)
				}
				switch {
				case err == nil:
					mu.Lock()
					want[p] = true
					mu.Unlock()
				case errors.Is(err, base.ErrNoSpace):
					refused.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	<-done
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	got, _ := mustReplay(t, fs)
	seen := map[string]bool{}
	for _, p := range got {
		if seen[p] || !want[p] {
			t.Fatalf("%q is there: twice %v, acknowledged %v", p, seen[p], want[p])
		}
		seen[p] = true
	}
	if len(got) != len(want) {
		t.Fatalf("%d records of %d", len(got), len(want))
	}
}

// TestSyncsAreShared: committers that come while a sync runs share the next one.
func TestSyncsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &hookFS{FS: memfs.New(), sync: func() error { time.Sleep(time.Millisecond); return nil }}
		w := create(t, fs, Options{})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				lsn, err := w.Append([]byte("record"))
				if err == nil {
					err = w.Sync(lsn)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if s := w.Stats(); s.Syncs > 2 || s.Writes > 2 {
			t.Errorf("%+v for 50 commits that came together", s)
		}
	})
}

// TestFlushDuringSync: a sync does not hold up committers that only flush.
func TestFlushDuringSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &hookFS{FS: memfs.New(), sync: func() error { time.Sleep(time.Second); return nil }}
		w := create(t, fs, Options{})
		lsn := mustAppend(t, w, "synced")
		done := make(chan error)
		go func() { done <- w.Sync(lsn) }()
		synctest.Wait()
		start := time.Now()
		if err := w.Flush(mustAppend(t, w, "flushed")); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("Flush took %v", d)
		}
		if err := <-done; err != nil || w.Synced() != lsn {
			t.Errorf("synced to %d, want %d, %v", w.Synced(), lsn, err)
		}
	})
}

// TestCloseWaits: the file is not closed while another goroutine syncs it.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		syncing := false
		fs := &hookFS{FS: memfs.New()}
		fs.sync = func() error { syncing = true; time.Sleep(time.Second); syncing = false; return nil }
		fs.close = func() {
			if syncing {
				t.Error("closed while syncing")
			}
		}
		w := create(t, fs, Options{})
		lsn := mustAppend(t, w, "record")
		done := make(chan error)
		go func() { done <- w.Sync(lsn) }()
		synctest.Wait()
		if err := w.Close(false); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := memfs.New()
		w := create(t, fs, Options{FlushEvery: 5 * time.Millisecond, SyncEvery: time.Second})
		for range 3 {
			lsn, err := w.AppendRelaxed([]byte("relaxed"))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(6 * time.Millisecond)
			if w.Written() != lsn {
				t.Fatal("not written in time")
			}
			if w.Synced() == lsn {
				t.Fatal("synced too early")
			}
			time.Sleep(time.Second)
			if w.Synced() != lsn {
				t.Fatal("not synced in time")
			}
			idle := w.Stats()
			time.Sleep(time.Minute)
			if s := w.Stats(); s.Syncs > idle.Syncs+1 || s.Writes != idle.Writes {
				t.Fatalf("busy while idle: %+v, then %+v", idle, s)
			}
		}
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestBackgroundFullDisk: relaxed records reach the log when there is room
// again, without a request.
func TestBackgroundFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := memfs.New()
		w := create(t, fs, Options{FlushEvery: time.Millisecond})
		fs.SetCapacity(1)
		lsn, err := w.AppendRelaxed([]byte("relaxed"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if n := w.Stats().Writes; n > 4000 {
			t.Errorf("%d attempts in an hour", n)
		}
		fs.SetCapacity(0)
		time.Sleep(2 * time.Second)
		if w.Written() != lsn {
			t.Error("not written after space came back")
		}
		if err := w.Finish(); err != nil {
			t.Error(err)
		}
		got, _ := mustReplay(t, fs)
		same(t, got, []string{"relaxed"})
	})
}
