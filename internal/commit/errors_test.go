package commit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/writeset"
	"github.com/seerdb-go/seerdb/observe"
)

// space makes a keyspace.
func (r *rig) space(name string) *keyspace.Keyspace {
	r.Helper()
	asked, err := keyspace.Choice{}.Ask(name)
	r.check(err)
	k, err := r.env.Keyspaces.Open(asked, true)
	r.check(err)
	return k
}

// drop drops a keyspace, as the engine does once that is durable.
func (r *rig) drop(k *keyspace.Keyspace) (newest base.SeqNum, asked bool) {
	r.env.Versions.Lock()
	defer r.env.Versions.Unlock()
	return r.Drop(k)
}

// TestDefiniteErrors: these refuse a commit before it has a sequence, and nothing of it is in
// the log.
func TestDefiniteErrors(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	own := errors.New("own error of a batch")
	row := func(b *batch.Batch) error { return b.Put(0, []byte("k"), nil) }
	tests := map[string]struct {
		change func(*Env)
		ctx    context.Context
		before func(*rig)
		fill   func(*batch.Batch) error
		d      Durability
		want   error
	}{
		"context":            {ctx: ended, want: context.Canceled},
		"error of the batch": {fill: func(b *batch.Batch) error { b.Refuse(own); return nil }, want: own},
		"unknown durability": {d: Sync + 1, want: base.ErrInvalidOptions},
		"less durability":    {d: Buffered, want: base.ErrInvalidOptions},
		"log without logs":   {change: nowal, d: Sync, want: base.ErrInvalidOptions},
		"no keyspace":        {fill: func(b *batch.Batch) error { return b.Put(7, []byte("k"), nil) }, want: base.ErrNoKeyspace},
		"no merge operator":  {fill: func(b *batch.Batch) error { return b.Merge(0, []byte("k"), nil) }, want: base.ErrInvalidOptions},
		"no sequences left": {
			before: func(r *rig) { r.Follow(writeset.FirstSeq - 2) },
			fill:   func(b *batch.Batch) error { return errors.Join(row(b), row(b)) },
			want:   base.ErrReadOnly,
		},
		"dropped keyspace": {
			before: func(r *rig) { r.drop(r.space("gone")) },
			fill:   func(b *batch.Batch) error { return b.Put(1, []byte("k"), nil) },
			want:   base.ErrNoKeyspace,
		},
		"closed":    {before: func(r *rig) { r.Close() }, want: base.ErrClosed},
		"read-only": {before: func(r *rig) { r.Poison(own) }, want: base.ErrReadOnly},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, test.change)
			if test.before != nil {
				test.before(r)
			}
			if test.fill == nil {
				test.fill = row
			}
			if test.ctx == nil {
				test.ctx = t.Context()
			}
			var b batch.Batch
			r.check(test.fill(&b))
			last, log, logged := r.LastSeq(), r.gen.Log, int64(0)
			if log != nil {
				logged = log.Appended()
			}
			_, err := r.Commit(test.ctx, &b, test.d, nil)
			if !errors.Is(err, test.want) || errors.Is(err, base.ErrCommitUnknown) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if now := r.LastSeq(); now != last {
				t.Errorf("the refused commit has sequences up to %d, and %d was the last before", now, last)
			}
			if log != nil && log.Appended() != logged {
				t.Error("something of the refused commit is in the log")
			}
		})
	}
}

// TestLastSequence: the last sequence that there is can still be used.
func TestLastSequence(t *testing.T) {
	r := newRig(t, nil)
	r.Follow(writeset.FirstSeq - 2)
	r.check(r.write(t.Context(), "k", Sync))
	r.sees("k", true)
	if err := r.write(t.Context(), "late", Sync); !errors.Is(err, base.ErrReadOnly) {
		t.Errorf("a commit without a sequence: %v", err)
	}
}

// TestEmptyBatch: a batch without operations is durable and visible as it is.
func TestEmptyBatch(t *testing.T) {
	r := newRig(t, nil)
	r.check(r.write(t.Context(), "k", Sync))
	seq, err := r.Commit(t.Context(), new(batch.Batch), DefaultDurability, nil)
	if err != nil || seq != r.store.Visible() || r.LastSeq() != seq {
		t.Errorf("an empty batch has the sequence %d, error %v; %d is visible", seq, err, r.store.Visible())
	}
	r.store.MarkClosed()
	if _, err := r.Commit(t.Context(), new(batch.Batch), DefaultDurability, nil); !errors.Is(err, base.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestDurabilities: a commit may ask for more than the database gives, never for less.
func TestDurabilities(t *testing.T) {
	for own := NoWAL; own <= Sync; own++ {
		for d := DefaultDurability; d <= Sync+1; d++ {
			got, err := d.over(own)
			want := d
			if d == DefaultDurability {
				want = own
			}
			may := d == DefaultDurability || d == own || own != NoWAL && d > own && d <= Sync
			if may && (err != nil || got != want) || !may && !errors.Is(err, base.ErrInvalidOptions) {
				t.Errorf("%v over %v is %v, %v", d, own, got, err)
			}
		}
	}
}

// events are what a listener got.
type events struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

func (e *events) add(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, fmt.Sprintf(format, args...))
}

func (e *events) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}

// TestFailedLog: an error of a log that is not a full disk makes the database read-only for
// good. The outcome of the commit that met it is unknown, those behind it are refused, the
// first cause is kept and reported once, and the workers end.
func TestFailedLog(t *testing.T) {
	commit := func(d Durability) func(*rig) error {
		return func(r *rig) error { return r.write(r.Context(), "k", d) }
	}
	rotate := func(r *rig) error { return r.Retire(r.Context(), neverFails) }
	sync := func(r *rig) error { return r.Sync() }
	soon := func(r *rig) error { r.RetireSoon(); return nil }
	tests := map[string]struct {
		own     Durability
		op      faultfs.OpKind
		path    string
		do      func(*rig) error
		unknown bool
		fine    bool // do itself does not fail
	}{
		"write of a Sync commit":     {Sync, faultfs.OpWrite, "*.wal", commit(Sync), true, false},
		"sync of a Sync commit":      {Sync, faultfs.OpSync, "*.wal", commit(Sync), true, false},
		"write of a Buffered commit": {Buffered, faultfs.OpWrite, "*.wal", commit(Buffered), true, false},
		"sync by Sync":               {Buffered, faultfs.OpSync, "*.wal", sync, false, false},
		"name of the next log":       {Sync, faultfs.OpDirSync, "", rotate, false, false},
		"sync of a full log":         {Buffered, faultfs.OpSync, "*.wal", soon, false, true},
		"end of a Relaxed log":       {Relaxed, faultfs.OpWrite, "*.wal", rotate, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(e *Env) { e.Durability = test.own })
			var got events
			r.events = observe.EventListener{BackgroundError: func(err error) { got.add("%v", err) }}
			if test.own == Relaxed { // its row waits in memory
				r.fs.Inject(faultfs.Rule{Op: test.op, Path: test.path})
			}
			r.check(r.write(t.Context(), "before", DefaultDurability))
			r.fs.Inject(faultfs.Rule{Op: test.op, Path: test.path})
			err := test.do(r)
			if errors.Is(err, base.ErrCommitUnknown) != test.unknown || (err == nil) != test.fine {
				t.Errorf("the call that met it: %v", err)
			}
			if !test.unknown && !test.fine && !errors.Is(err, base.ErrReadOnly) {
				t.Errorf("the call that met it: %v, want ErrReadOnly", err)
			}
			r.until("a refusal", func() bool { return r.refused != nil })
			r.fs.Clear()
			r.Poison(errors.New("a later cause"))
			err = r.write(t.Context(), "late", DefaultDurability)
			if !errors.Is(err, base.ErrReadOnly) || errors.Is(err, base.ErrCommitUnknown) || !errors.Is(err, syscall.EIO) {
				t.Errorf("a commit behind it: %v", err)
			}
			if cause := r.env.Latch.Cause(); !errors.Is(cause, syscall.EIO) || r.Refused() == nil {
				t.Errorf("the first cause is %v, and commits are refused for %v", cause, r.Refused())
			}
			if !r.work.Stopped() {
				t.Error("the workers go on")
			}
			r.sees("before", true)
			r.sees("k", false)
			r.env.Report.Drain()
			if l := got.all(); len(l) != 1 || !strings.Contains(l[0], "input/output") {
				t.Errorf("reported: %q", l)
			}
		})
	}
}

// TestUnknownOfOneCommitOnly: of two commits in one log, the one that was handed to the file
// has an unknown outcome, the one behind it is refused.
func TestUnknownOfOneCommitOnly(t *testing.T) {
	r := newRig(t, buffered)
	writes := r.fs.Inject(faultfs.Rule{Op: faultfs.OpWrite, Path: "*.wal", Err: syscall.EIO, Delay: time.Hour})
	first := begun(func() error { return r.write(t.Context(), "first", Buffered) })
	r.held(writes)
	second := begun(func() error { return r.write(t.Context(), "second", Buffered) })
	r.until("the second commit", func() bool { return r.head.next != nil })
	writes.Remove()
	if err := r.ended("the first commit", first); !errors.Is(err, base.ErrCommitUnknown) {
		t.Errorf("the first commit: %v", err)
	}
	if err := r.ended("the second commit", second); !errors.Is(err, base.ErrReadOnly) || errors.Is(err, base.ErrCommitUnknown) {
		t.Errorf("the second commit: %v", err)
	}
	r.sees("first", false)
	r.sees("second", false)
}

// TestUnsyncedKeyspace: a commit is refused as long as the keyspace that it writes to cannot
// be made durable.
func TestUnsyncedKeyspace(t *testing.T) {
	r := newRig(t, buffered)
	k := r.space("new")
	var b batch.Batch
	r.check(b.Put(k.ID(), []byte("k"), nil))
	r.fs.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: "MANIFEST*"})
	last := r.LastSeq()
	if _, err := r.Commit(t.Context(), &b, DefaultDurability, nil); !errors.Is(err, base.ErrReadOnly) {
		t.Errorf("the commit: %v", err)
	}
	if r.LastSeq() != last {
		t.Error("the log names a keyspace that the manifest may not have")
	}
}
