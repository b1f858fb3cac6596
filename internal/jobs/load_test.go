package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// sorted is rows for compaction.Run.
type sorted struct {
	base.Iterator
	keys []string
	kv   base.KV
}

func (s *sorted) First() *base.KV { return s.Next() }

func (s *sorted) Next() *base.KV {
	if len(s.keys) == 0 {
		return nil
	}
	key := s.keys[0]
	s.keys = s.keys[1:]
	s.kv = base.KV{Key: []byte(key), Trailer: base.MakeTrailer(0, base.KindPut), Value: []byte("loaded " + key)}
	if key[0] == 't' {
		s.kv.Trailer = base.MakeTrailer(0, base.KindPutTTL)
		s.kv.Value = append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, s.kv.Value...)
	}
	return &s.kv
}

func (s *sorted) Err() error { return nil }

// tables writes keys, ascending, as a load does.
func (r *rig) tables(keys ...string) compaction.Result {
	r.Helper()
	out := r.Jobs.Outputs(false)
	out.Next(lastLevel, 0, 0)
	res, err := compaction.Run(r.Context(), compaction.RunOptions{
		Input: &sorted{keys: keys}, MaxTableSize: 8 << 10, Values: out.ValueOptions(nil, nil), NewTable: out.NewTable, NewValues: out.NewValues,
	})
	r.Check(err)
	res, err = out.Finish(res, nil)
	r.Check(err)
	return res
}

// TestLoadGoesAsDeepAsItMay: tables go to the deepest level above which nothing overlaps them,
// are newer than all before and older than all after, whatever is in memory, and all of their
// entries have the one sequence.
func TestLoadGoesAsDeepAsItMay(t *testing.T) {
	r := newRig(t, memfs.New(), func(o *rigOptions) { o.env.ManualOnly = true })
	k := r.Keyspace("k", keyspace.Choice{})
	want := map[string]string{}
	load := func(level int, keys ...string) {
		t.Helper()
		res := r.tables(keys...)
		before := r.Commit.LastSeq()
		seq, at, err := r.Load(t.Context(), k, res)
		if err != nil || seq != before+1 || at != level {
			t.Fatalf("load of %q: sequence %d after %d, level %d of %d, %v", keys, seq, before, at, level, err)
		}
		for _, f := range res.Tables {
			if f.OneSeq != seq || f.SmallestSeq != seq || f.LargestSeq != seq || f.Keyspace != k.ID() {
				t.Errorf("load of %q: a table has sequences %d, %d to %d", keys, f.OneSeq, f.SmallestSeq, f.LargestSeq)
			}
		}
		for _, key := range keys {
			want[key] = "loaded " + key
		}
		if r.WantRows("after a load", k, want); r.Commit.DurableSeq() < seq {
			t.Errorf("durable up to %d, the load has %d", r.Commit.DurableSeq(), seq)
		}
	}
	put := func(key string) {
		r.Put(k, key, "put")
		want[key] = "put"
	}
	load(lastLevel, "a", "b", "c")
	load(lastLevel, "x", "y")
	put("b")
	load(0, "b", "d") // over what was in memory
	put("b")
	r.WantRows("a commit behind it", k, want)
	load(lastLevel, "m", "n")
	load(0, "c")
	if runs := len(r.Store.Current().Version().Tree(k.ID()).Levels[0]); runs != 4 {
		t.Errorf("level 0 has %d runs: two flushes and two loads", runs)
	}
	r.Check(r.Compact(t.Context(), k, nil, nil))
	r.WantRows("compacted", k, want)
	load(lastLevel, "z")
	r.Clock.Now()
	if r.Clock.Used() {
		t.Error("nothing expires yet")
	}
	if _, _, err := r.Load(t.Context(), k, r.tables("ta")); err != nil || !r.Clock.Used() {
		t.Errorf("rows that expire: %v, and the clock is not in use", err)
	}
	wantRest(r, "at the end")
}

// TestLoadBesideAJob: a load does not go below tables that a running job is about to write
// across, and while it takes its place its own tables are busy.
func TestLoadBesideAJob(t *testing.T) {
	r := newRig(t, memfs.New(), func(o *rigOptions) { o.env.ManualOnly = true })
	k := r.Keyspaces.Root()
	for _, key := range []string{"a", "a", "z", "z"} { // small neighbours, which are joined
		r.Put(k, key, "1")
		r.Check(r.Flush(t.Context()))
	}
	hung := r.FS.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: "*.sst", Delay: time.Hour, Count: 1})
	compacted := make(chan error)
	go func() { compacted <- r.Compact(context.Background(), k, nil, nil) }()
	r.Soon("a job writes across", func() bool { return hung.Count() == 1 }, func() any { return hung.Count() })
	res := r.tables("m")
	if _, level, err := r.Load(t.Context(), k, res); err != nil || level == lastLevel {
		t.Errorf("a load below a job that writes across it: level %d, %v", level, err)
	}
	hung.Remove()
	r.Check(<-compacted)
	want := map[string]string{"a": "1", "z": "1", "m": "loaded m"}
	r.WantRows("beside a job", k, want)

	res = r.tables("q")
	hung = r.FS.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: "MANIFEST*", Delay: time.Hour, Skip: 1})
	loaded := make(chan error)
	go func() {
		_, _, err := r.Load(context.Background(), k, res)
		loaded <- err
	}()
	r.Soon("the edit of the load", func() bool { return hung.Count() == 1 }, func() any { return hung.Count() })
	r.mu.Lock()
	if r.busy[res.Tables[0].Num] == nil {
		t.Error("the tables of a load are not known to the picker")
	}
	r.mu.Unlock()
	hung.Remove()
	r.Check(<-loaded)
	want["q"] = "loaded q"
	r.WantRows("at the end", k, want)
	wantRest(r, "at the end")
}

// TestLoadThatFails: whichever write or sync of its edits fails, a load is there or not as its
// error says, commits go on behind it unless the database is poisoned, and nothing stays busy.
func TestLoadThatFails(t *testing.T) {
	for _, c := range []struct {
		op  faultfs.OpKind
		err error
	}{{faultfs.OpWrite, syscall.ENOSPC}, {faultfs.OpWrite, syscall.EIO}, {faultfs.OpSync, syscall.EIO}} {
		unknown, definite := 0, 0
		for skip := 0; ; skip++ {
			r := newRig(t, memfs.New(), func(o *rigOptions) { o.env.ManualOnly = true })
			k := r.Keyspaces.Root()
			r.Put(k, "a", "1")
			r.Check(r.Flush(t.Context()))
			res := r.tables("m")
			fired := r.FS.Inject(faultfs.Rule{Op: c.op, Path: "MANIFEST*", Err: c.err, Skip: skip, Count: 1})
			_, _, err := r.Load(t.Context(), k, res)
			r.FS.Clear()
			what := fmt.Sprintf("operation %b, %v, the %dth: %v", c.op, c.err, skip, err)
			if err != nil {
				r.Discard(res)
			}
			poisoned := r.Latch.Cause() != nil
			value, there := r.Get(k, "m")
			switch {
			case err == nil && (!there || value != "loaded m"), err != nil && there,
				errors.Is(err, base.ErrCommitUnknown) && !poisoned, err != nil && !errors.Is(err, c.err):
				t.Errorf("%s: %q, %v; poisoned: %v", what, value, there, poisoned)
			case errors.Is(err, base.ErrCommitUnknown):
				unknown++
			case err != nil:
				definite++
			}
			if err := r.Write(func(b *batch.Batch) error { return b.Put(0, []byte("b"), []byte("2")) }); (err != nil) != poisoned {
				t.Errorf("%s: a commit behind it: %v", what, err)
			}
			r.mu.Lock()
			if len(r.busy) > 0 {
				t.Errorf("%s: %d tables stay busy", what, len(r.busy))
			}
			r.mu.Unlock()
			if err := r.Flush(t.Context()); err == nil {
				wantRest(r, what)
			} else if r.Latch.Cause() == nil { // a mark behind an edit may have failed
				t.Errorf("%s: a flush behind it: %v", what, err)
			}
			r.Close()
			if fired.Count() == 0 {
				break
			}
		}
		if definite == 0 || (unknown > 0) != (c.err == syscall.EIO) {
			t.Errorf("%v: %d definite failures, %d others", c.err, definite, unknown)
		}
	}
}

// TestLoadIsRefused: a load waits for nothing it cannot have.
func TestLoadIsRefused(t *testing.T) {
	r := newRig(t, memfs.New(), func(o *rigOptions) { o.env.ManualOnly = true; o.L0Stop = 6 })
	k, other := r.Keyspace("k", keyspace.Choice{}), r.Keyspace("other", keyspace.Choice{})
	for range 6 {
		r.Put(k, "a", "1")
		r.Check(r.Flush(t.Context()))
	}
	res := r.tables("m")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, _, err := r.Load(ctx, k, res); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a load while writers are stopped: %v", err)
	}
	if _, _, err := r.Load(t.Context(), other, r.tables("m")); err != nil {
		t.Errorf("a load into another keyspace: %v", err)
	}
	if v, ok := r.Get(other, "m"); !ok || v != "loaded m" {
		t.Errorf("it is %q, %v", v, ok)
	}
	r.Drop(k)
	if _, _, err := r.Load(t.Context(), k, res); !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("a load into a keyspace that was dropped: %v", err)
	}
	_, total, err := r.Disk.Usage("")
	r.Check(err)
	free, _, err := r.Disk.Usage("")
	r.Check(err)
	r.Disk.SetCapacity(int64(total - free + 1))
	if _, err := r.Room.Keep(1<<20, 2<<20); !errors.Is(err, base.ErrNoSpace) {
		t.Fatalf("a reserve on a full disk: %v", err)
	}
	if _, _, err := r.Load(t.Context(), other, res); !errors.Is(err, base.ErrNoSpace) {
		t.Errorf("a load while the reserve is lacking: %v", err)
	}
	r.Disk.SetCapacity(0)
	if _, err := r.Room.Keep(0, 0); err != nil {
		t.Fatal(err)
	}
	r.Put(other, "z", "1")
	fired := r.FS.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Err: syscall.EIO})
	if _, _, err := r.Load(t.Context(), other, res); !errors.Is(err, syscall.EIO) || fired.Count() == 0 {
		t.Errorf("a load behind a flush that fails: %v", err)
	}
	r.FS.Clear()
	r.Discard(res)
	r.Check(r.Flush(t.Context()))
	wantRest(r, "after refusals")
	r.Commit.Poison(errors.New("poison"))
	if _, err := r.Ingest(t.Context(), &Ingestion{Ingestion: commit.Ingestion{Batch: new(batch.Batch)}}); !errors.Is(err, base.ErrReadOnly) {
		t.Errorf("an ingestion of what is read-only: %v", err)
	}
}

// TestIngestionEnds: however an ingestion ends, what it locked is let go, its sequences are
// passed over, and commits behind it are seen.
func TestIngestionEnds(t *testing.T) {
	mine := errors.New("mine")
	for name, c := range map[string]struct {
		enter func(*Loading) error
		fault faultfs.Rule
		want  error
	}{
		"it succeeds":    {func(*Loading) error { return nil }, faultfs.Rule{}, nil},
		"it fails":       {func(*Loading) error { return mine }, faultfs.Rule{}, mine},
		"it panics":      {func(*Loading) error { panic("enter") }, faultfs.Rule{}, nil},
		"a flush fails":  {func(*Loading) error { panic("not called") }, faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Err: syscall.EIO, Count: 1}, syscall.EIO},
		"it is not sure": {func(*Loading) error { return base.ErrCommitUnknown }, faultfs.Rule{}, base.ErrCommitUnknown},
	} {
		r := newRig(t, memfs.New(), func(o *rigOptions) { o.env.ManualOnly = true })
		k := r.Keyspaces.Root()
		r.Put(k, "a", "1")
		var fired *faultfs.Fired
		if c.fault.Op != 0 {
			fired = r.FS.Inject(c.fault)
		}
		var span batch.Batch
		r.Check(span.DeleteRange(0, []byte("a"), []byte("z")))
		first, left := r.Commit.LastSeq()+1, false
		seq, err := func() (seq base.SeqNum, err error) {
			defer func() {
				if p := recover(); (p != nil) != (name == "it panics") || p != nil && p != "enter" {
					t.Errorf("%s: it panics with %v", name, p)
				}
			}()
			return r.Ingest(t.Context(), &Ingestion{
				Ingestion: commit.Ingestion{Batch: &span},
				Enter: func(at *Loading) error {
					if at.Seq != first || len(r.Store.Current().Imm) > 0 {
						t.Errorf("%s: it has sequence %d of %d, and %d memtables before it wait", name, at.Seq, first, len(r.Store.Current().Imm))
					}
					return c.enter(at)
				},
				Leave: func() { left = true },
			})
		}()
		if !errors.Is(err, c.want) || err != nil && c.want == nil || err == nil && name != "it panics" && seq != first || !left {
			t.Errorf("%s: sequence %d of %d, %v; it left: %v", name, seq, first, err, left)
		}
		if durable := r.Commit.DurableSeq(); (durable >= first) != (name == "it succeeds") {
			t.Errorf("%s: durable up to %d, it had %d", name, durable, first)
		}
		if fired != nil && fired.Count() != 1 {
			t.Errorf("%s: the fault came %d times", name, fired.Count())
		}
		r.Put(k, "b", "2")
		r.Check(r.Flush(t.Context()))
		r.WantRows(name, k, map[string]string{"a": "1", "b": "2"})
		wantRest(r, name)
		r.Close()
	}
}

// TestOutcome: a step is uncertain if and only if it poisoned the database.
func TestOutcome(t *testing.T) {
	mine := errors.New("mine")
	for name, c := range map[string]struct {
		before, during bool
		err            error
		unknown        bool
	}{
		"well":           {false, false, nil, false},
		"definite":       {false, false, mine, false},
		"it poisoned":    {false, true, mine, true},
		"poisoned":       {true, false, mine, false},
		"well, poisoned": {false, true, nil, false},
	} {
		r := newRig(t, memfs.New(), func(o *rigOptions) { o.idle = true })
		if c.before {
			r.Commit.Poison(syscall.EIO)
		}
		err := r.Outcome(func() error {
			if c.during {
				r.Commit.Poison(syscall.EIO)
			}
			return c.err
		})
		if errors.Is(err, base.ErrCommitUnknown) != c.unknown || (err == nil) != (c.err == nil) || c.unknown && !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", name, err)
		}
		r.Close()
	}
}

// TestRightAfter: the end holds the key and as little behind it as a key can say.
func TestRightAfter(t *testing.T) {
	long := bytes.Repeat([]byte{0xff}, base.MaxKeySize)
	mixed := append(bytes.Repeat([]byte{'a'}, base.MaxKeySize-2), 0xff, 0xff)
	next := append(bytes.Repeat([]byte{'a'}, base.MaxKeySize-3), 'b')
	for _, c := range []struct{ key, want []byte }{
		{[]byte(""), []byte("\x00")}, {[]byte("k"), []byte("k\x00")}, {[]byte("\xff"), []byte("\xff\x00")},
		{long, nil}, {mixed, next}, {long[1:], append(bytes.Clone(long[1:]), 0)},
	} {
		before := bytes.Clone(c.key)
		if got := rightAfter(c.key); !bytes.Equal(got, c.want) || (got == nil) != (c.want == nil) || !bytes.Equal(c.key, before) {
			t.Errorf("right after %.20q of %d bytes is %.20q of %d", c.key, len(c.key), got, len(got))
		}
	}
}
