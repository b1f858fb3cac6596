package commit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/observe"
)

// logs lists the logs in the directory.
func (r *rig) logs() (out []string) {
	names, err := r.disk.List("db")
	r.check(err)
	for _, name := range names {
		if strings.HasSuffix(name, ".wal") {
			out = append(out, name)
		}
	}
	return out
}

// fillTo writes rows of 1 KB until f holds, which is asked under mu.
func (r *rig) fillTo(f func() bool) {
	for i := 0; ; i++ {
		r.mu.Lock()
		done := f()
		r.mu.Unlock()
		if done {
			return
		}
		_, err := r.put(fmt.Sprintf("row %d", i), strings.Repeat("v", 1000))
		r.check(err)
	}
}

// TestLogMadeAhead: once a memtable is half full the next log is there, and replacing the
// memtable makes none.
func TestLogMadeAhead(t *testing.T) {
	for d := NoWAL; d <= Sync; d++ {
		r := newRig(t, func(e *Env) { e.Durability = d })
		first := r.gen
		r.check(r.write(t.Context(), "k", d))
		if n := len(r.logs()); n != 1 {
			t.Errorf("%v: %d logs with an empty memtable", d, n)
		}
		r.fillTo(func() bool { return r.gen.Mem.Bytes() > r.gen.Charge/2 })
		r.until("the next log", func() bool { return r.turning.made.Load() == 1 })
		var m observe.Metrics
		r.Metrics(&m)
		if n := len(r.logs()); n != 2 || m.Log.Segments != 1 {
			t.Errorf("%v: %d logs with a memtable that is half full; made ahead are %d", d, n, m.Log.Segments)
		}
		creates := r.fs.Inject(faultfs.Rule{Op: faultfs.OpCreate | faultfs.OpDirSync})
		r.check(r.Retire(t.Context(), neverFails))
		if r.gen == first || creates.Matched() > 0 || r.turning.made.Load() != 0 {
			t.Errorf("%v: the log made ahead was not taken: %d creations", d, creates.Matched())
		}
		r.fs.Clear()
	}
}

// TestLogMadeAheadGoes: a log made ahead that is not used is removed at the end.
func TestLogMadeAheadGoes(t *testing.T) {
	r := newRig(t, nil)
	r.fillTo(func() bool { return r.gen.Mem.Bytes() > r.gen.Charge/2 })
	r.until("the next log", func() bool { return r.turning.made.Load() == 1 })
	r.close()
	if l := r.logs(); len(l) != 1 {
		t.Errorf("left are %v", l)
	}
}

// TestCommitsWaitForTheTurner: while the successor of a generation is being made no record
// enters its log, whose end the next log names, and no lock is held over the disk.
func TestCommitsWaitForTheTurner(t *testing.T) {
	r := newRig(t, buffered)
	r.check(r.write(t.Context(), "before", Buffered))
	first := r.gen
	creates := r.hold(faultfs.OpCreate, "*.wal")
	retired := begun(func() error { return r.Retire(t.Context(), neverFails) })
	r.held(creates)
	ctx, cancel := context.WithCancel(t.Context())
	given := begun(func() error { return r.write(ctx, "given up", Buffered) })
	out := begun(func() error { return r.write(t.Context(), "after", Buffered) })
	time.Sleep(5 * time.Millisecond)
	r.sees("before", true) // reads go on
	cancel()
	if err := r.ended("a commit whose context ended", given); !errors.Is(err, context.Canceled) {
		t.Errorf("a commit whose context ended: %v", err)
	}
	if last := r.LastSeq(); !still(out) || last != first.After+1 {
		t.Errorf("a commit did not wait for the turner: the last sequence is %d", last)
	}
	creates.Remove()
	r.check(r.ended("Retire", retired))
	r.check(r.ended("the commit", out))
	if first.LastSeq != r.gen.After || first.LastSeq != r.store.Visible()-1 {
		t.Errorf("the first generation ends with %d, the second follows %d", first.LastSeq, r.gen.After)
	}
	r.sees("after", true)
	r.sees("given up", false)
}

// TestOldLogIsWrittenFirst: a memtable is not replaced before all of its log was handed to
// the system, so that a kill does not lose what comes before later records.
func TestOldLogIsWrittenFirst(t *testing.T) {
	r := newRig(t, relaxed)
	writes := r.hold(faultfs.OpWrite, "*.wal")
	r.check(r.write(t.Context(), "k", Relaxed))
	first := r.gen
	retired := begun(func() error { return r.Retire(t.Context(), neverFails) })
	r.until("the turner", func() bool { return r.turning.running })
	r.held(writes)
	time.Sleep(2 * time.Millisecond)
	if r.mu.Lock(); r.gen != first || !still(retired) {
		t.Error("the memtable is replaced, and its log is not written")
	}
	r.mu.Unlock()
	writes.Remove()
	r.check(r.ended("Retire", retired))
	if first.Log.Size() < first.Log.Appended() {
		t.Errorf("of %d bytes of the log %d are written", first.Log.Appended(), first.Log.Size())
	}
}

// TestTurnerAnswers: those that wait for the next memtable get the error of an attempt that
// began after they came, and it is a definite one. The next attempt may succeed.
func TestTurnerAnswers(t *testing.T) {
	r := newRig(t, nil)
	for _, rule := range []faultfs.Rule{
		{Op: faultfs.OpCreate, Path: "*.wal", Err: syscall.EMFILE},
		{Op: faultfs.OpCreate, Path: "*.wal", Err: syscall.ENOSPC},
		{Op: faultfs.OpWrite, Path: "*.wal", Err: syscall.ENOSPC},
	} {
		r.check(r.write(t.Context(), "k", Sync))
		fault := r.fs.Inject(rule)
		last := r.LastSeq()
		want := rule.Err
		if want == syscall.ENOSPC {
			want = base.ErrNoSpace
		}
		for range 2 {
			if err := r.Retire(t.Context(), neverFails); !errors.Is(err, want) || errors.Is(err, base.ErrCommitUnknown) {
				t.Errorf("%v: Retire: %v", rule.Err, err)
			}
		}
		var b batch.Batch
		r.check(b.Put(0, []byte("large"), make([]byte, r.gen.Charge)))
		if _, err := r.Commit(t.Context(), &b, DefaultDurability, nil); !errors.Is(err, want) || errors.Is(err, base.ErrCommitUnknown) {
			t.Errorf("%v: a commit that needs the next memtable: %v", rule.Err, err)
		}
		if err := r.Refusing(); !errors.Is(err, want) {
			t.Errorf("%v: a commit would meet %v", rule.Err, err)
		}
		if r.LastSeq() != last || fault.Count() < 3 {
			t.Errorf("%v: %d attempts; the last sequence is %d, and %d was before", rule.Err, fault.Count(), r.LastSeq(), last)
		}
		fault.Remove()
		_, err := r.Commit(t.Context(), &b, DefaultDurability, nil)
		r.check(err)
		if err := r.Refusing(); err != nil || len(r.turning.large) != 0 {
			t.Errorf("%v: afterwards a commit would meet %v; %d large batches wait", rule.Err, err, len(r.turning.large))
		}
		r.until("the next log", func() bool { return r.turning.made.Load() == 1 })
		r.check(r.Retire(t.Context(), neverFails)) // takes it
		r.flush()
	}
}

// TestContextEndsForTheTurner: a context ends the wait for a memtable, and takes nothing from
// those that go on waiting.
func TestContextEndsForTheTurner(t *testing.T) {
	r := newRig(t, nil)
	creates := r.hold(faultfs.OpCreate, "*.wal")
	r.check(r.write(t.Context(), "k", Sync))
	ctx, cancel := context.WithCancel(t.Context())
	ended := begun(func() error { return r.Retire(ctx, neverFails) })
	waits := begun(func() error { return r.Retire(t.Context(), neverFails) })
	r.held(creates)
	cancel()
	if err := r.ended("Retire whose context ended", ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Retire whose context ended: %v", err)
	}
	creates.Remove()
	r.check(r.ended("Retire", waits))
}

// TestPowerCutAfterRotations: in every mode, what Sync has said to be durable is so, over
// several logs.
func TestPowerCutAfterRotations(t *testing.T) {
	for d := Relaxed; d <= Sync; d++ {
		r := newRig(t, func(e *Env) { e.Durability = d })
		h := newHistory(r)
		want := 0
		for i := range 3 {
			for range 2 {
				want++
				var b batch.Batch
				r.check(b.Put(0, fmt.Append(nil, "k", want), fmt.Appendf(nil, "%d value", want)))
				_, err := r.Commit(t.Context(), &b, DefaultDurability, nil)
				r.check(err)
			}
			if i < 2 {
				r.check(r.Retire(t.Context(), neverFails))
			}
		}
		r.check(r.Sync())
		h.crash(0)
		if c := h.crashes[0]; len(c.logged) != want || c.durable != r.LastSeq() {
			t.Errorf("%v: a power cut leaves %d commits of %d; %d is durable", d, len(c.logged), want, c.durable)
		}
	}
}

// TestRetireLast: when no worker is left the active generation is replaced by one that
// follows it, and a failure leaves everything as it was.
func TestRetireLast(t *testing.T) {
	r := newRig(t, buffered)
	r.check(r.write(t.Context(), "k", Buffered))
	r.Close()
	r.work.Stop()
	r.work.Wait()
	old := r.gen
	fault := r.fs.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.wal"})
	if err := r.RetireLast(); err == nil || r.gen != old || r.store.Current().Active != old {
		t.Errorf("a log that cannot be made: %v", err)
	}
	fault.Remove()
	for range maxImmutable + 10 { // more than the sealer's queue takes
		r.check(r.RetireLast())
	}
	s := r.store.Current()
	if s.Oldest() != old || old.LastSeq != r.LastSeq() || s.Active != r.gen || s.Active.Charge != closingMemtable {
		t.Errorf("the generation before ends with %d", old.LastSeq)
	}
	r.sees("k", true)
}

// TestFailuresOfBegin: each operation on files fails in turn while a database begins. Then
// Begin says so, and leaves no log open; or the database works.
func TestFailuresOfBegin(t *testing.T) {
	for k := 0; ; k++ {
		r := makeRig(t, memfs.New(), buffered)
		never := 1 << 30
		creates := r.fs.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.wal", Skip: never})
		closes := r.fs.Inject(faultfs.Rule{Op: faultfs.OpClose, Path: "*.wal", Skip: never})
		fault := r.fs.Inject(faultfs.Rule{Op: faultfs.OpMutations, Skip: k, Count: 1})
		err := r.begin()
		if fault.Count() == 0 {
			r.check(err)
			if k < 8 {
				t.Errorf("only %d operations", k)
			}
			break
		}
		if err == nil {
			err = r.write(t.Context(), "k", Sync)
			if err == nil {
				r.sees("k", true)
			}
		}
		if err != nil && !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d: %v", k, err)
		}
		made := len(r.logs())
		r.close()
		if n := min(creates.Matched(), made) - closes.Matched(); n > 0 {
			t.Errorf("operation %d: %d logs are left open", k, n)
		}
	}
}

// TestBeginWithGeneration: a pipeline goes on with the memtable and the log that it is given,
// behind the sequences that there are.
func TestBeginWithGeneration(t *testing.T) {
	r := makeRig(t, memfs.New(), buffered)
	v, err := r.env.Versions.Create(r.env.FS)
	r.check(err)
	r.Follow(100)
	r.Follow(50) // is behind that
	seg, err := r.MakeLog()
	r.check(err)
	g := newMemtable(r)
	g.Num, g.After = seg.Num(), r.LastSeq()
	r.check(r.BeginLog(g, nil, seg))
	got, err := r.Begin(v, g)
	r.check(err)
	if got != g || r.store.Current().Active != g || r.store.Visible() != 100 {
		t.Errorf("it begins with another generation, or at %d", r.store.Visible())
	}
	r.Start()
	r.check(r.write(t.Context(), "k", Buffered))
	r.sees("k", true)
	if r.LastSeq() != 101 {
		t.Errorf("the first sequence is %d", r.LastSeq())
	}
}

// newMemtable makes a generation without a log.
func newMemtable(r *rig) *generation.Generation {
	mem, err := memtable.New(memtable.Options{Capacity: 16 << 10, Partitions: 1})
	r.check(err)
	r.store.ChargeMemtables(16 << 10)
	return &generation.Generation{Mem: mem, Charge: 16 << 10}
}
