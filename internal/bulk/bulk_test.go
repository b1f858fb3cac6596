package bulk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/jobs/jobstest"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/observe"
)

// forms are the two ways to load rows.
var forms = []struct {
	name  string
	o     Options
	order func([]testRow) []testRow
}{
	{"sorted", Options{}, func(rows []testRow) []testRow { return rows }},
	{"unsorted", Options{Unsorted: true}, shuffled},
}

// TestLoad: rows in any order, of any number, replace what was there; the figures are those of
// the rows and the files; and no temporary file stays.
func TestLoad(t *testing.T) {
	for _, f := range forms {
		for _, c := range []struct {
			n, size int
			spills  bool
		}{{0, 0, false}, {1, 0, false}, {300, 20, false}, {3000, 60, true}, {600, 400, true}} {
			what := fmt.Sprintf("%s, %d of %d bytes", f.name, c.n, c.size)
			r := newRig(t, nil)
			k := r.Keyspaces.Root()
			rows := inOrder(c.n, c.size)
			r.Put(k, "k000000", "old")
			r.Put(k, "other", "old")
			st, err := r.loads.Load(t.Context(), k, each(f.order(rows), nil), f.o)
			r.Check(err)
			want := sum(rows)
			want["other"] = "old"
			if c.n == 0 {
				want["k000000"] = "old"
			}
			r.WantRows(what, k, want)
			r.WantFiles(what)
			wantStats(r, what, st, rows, c.spills && f.o.Unsorted)
			r.Close()
		}
	}
}

// wantStats compares what a load says with its rows, and with the files that it made.
func wantStats(r *rig, what string, st Stats, rows []testRow, spills bool) {
	r.Helper()
	var bytes, size uint64
	for _, row := range rows {
		bytes += uint64(len(row.key) + len(row.value))
	}
	tables, level, values := 0, 0, 0
	add := func(name string) {
		info, err := r.Disk.Stat("db/" + name)
		r.Check(err)
		size += uint64(info.Size())
	}
	var seq base.SeqNum
	v := r.Store.Current().Version()
	v.All(func(l int, f *manifest.FileMeta) bool {
		if f.OneSeq != 0 {
			tables, level, seq = tables+1, l, f.OneSeq
			add(f.FileName())
		}
		return true
	})
	for num := range v.Values {
		values++
		add(base.FileName(base.FileTypeValues, num))
	}
	if st.Rows != uint64(len(rows)) || st.Bytes != bytes || st.Tables != tables || st.ValueFiles != values || st.Level != level || st.Seq != uint64(seq) {
		r.Errorf("%s: %+v; there are %d rows of %d bytes, %d tables in level %d, %d value files, sequence %d", what, st, len(rows), bytes, tables, level, values, seq)
	}
	if st.FileBytes != size {
		r.Errorf("%s: %d bytes of files, there are %d", what, st.FileBytes, size)
	}
	if st.Duplicates != 0 || st.SpilledBytes > 0 != spills {
		r.Errorf("%s: %d bytes were spilled, expected some: %v; %d duplicates", what, st.SpilledBytes, spills, st.Duplicates)
	}
	var m observe.Metrics
	r.Commit.Metrics(&m)
	if m.UserBytes != int64(bytes)+int64(len("k000000old")+len("otherold")) {
		r.Errorf("%s: %d bytes came from users, with a load of %d", what, m.UserBytes, bytes)
	}
}

// TestLastOfAKeyWins: in an unsorted load, whether its rows lie apart by a spill or not.
func TestLastOfAKeyWins(t *testing.T) {
	r := newRig(t, nil)
	k := r.Keyspaces.Root()
	rows := append(inOrder(2000, 60), inOrder(500, 90)...)
	rows = append(rows, testRow{"k000007", "last"}, testRow{"k000007", "the very last"})
	st, err := r.loads.Load(t.Context(), k, each(rows, nil), Options{Unsorted: true})
	if err != nil || st.Duplicates != 502 || st.Rows != 2000 || st.SpilledBytes == 0 {
		t.Errorf("%+v, %v", st, err)
	}
	r.WantRows("duplicates", k, sum(rows))
	r.WantFiles("duplicates")
}

// TestBadRows: a row that cannot be loaded is named, and nothing of the load stays.
func TestBadRows(t *testing.T) {
	r := newRig(t, nil)
	k := r.Keyspaces.Root()
	never := func(_, _ []byte) uint64 { return 0 }
	long, huge := strings.Repeat("k", base.MaxKeySize+1), make([]byte, base.MaxValueSize+1)
	r.Put(k, "there", "before")
	for name, c := range map[string]struct {
		rows  []testRow
		value []byte // of a last row, or nil
		o     Options
		want  error
		says  string
	}{
		"twice":               {append(inOrder(500, 60), testRow{"k000499", ""}), nil, Options{}, base.ErrKeyOrder, `"k000499" comes twice`},
		"the empty key twice": {[]testRow{{"", "1"}, {"", "2"}}, nil, Options{}, base.ErrKeyOrder, `"" comes twice`},
		"order":               {append(inOrder(500, 60), testRow{"k0004", ""}), nil, Options{}, base.ErrKeyOrder, `"k0004" comes after "k000499"`},
		"key":                 {append(inOrder(500, 60), testRow{long, ""}), nil, Options{}, base.ErrKeyTooLarge, "65537 bytes"},
		"key, unsorted":       {append(inOrder(2000, 60), testRow{long, ""}), nil, Options{Unsorted: true}, base.ErrKeyTooLarge, "65537 bytes"},
		"value":               {inOrder(500, 60), huge, Options{}, base.ErrValueTooLarge, "1073741825 bytes"},
		"value, unsorted":     {inOrder(2000, 60), huge, Options{Unsorted: true}, base.ErrValueTooLarge, "1073741825 bytes"},
		"value with expiry":   {inOrder(500, 60), huge[:base.MaxValueSize], Options{Expires: never}, base.ErrValueTooLarge, "where rows may expire"},
	} {
		rows := func(yield func(k, v []byte) bool) {
			for k, v := range each(c.rows, nil) {
				if !yield(k, v) {
					return
				}
			}
			if c.value != nil {
				yield([]byte("l"), c.value)
			}
		}
		st, err := r.loads.Load(t.Context(), k, rows, c.o)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || st != (Stats{}) {
			t.Errorf("%s: %+v, %.300v", name, st, err)
		}
		r.WantRows(name, k, map[string]string{"there": "before"})
		r.WantFiles(name)
	}
}

// TestRowsThatExpire: Expires is asked once for each row, with the row, and what has expired is
// not seen; in both forms, with values in tables and in files of their own.
func TestRowsThatExpire(t *testing.T) {
	for _, f := range forms {
		var now atomic.Int64
		now.Store(1_000_000)
		r := newRig(t, func(o *jobstest.Options) { o.Now = func() time.Time { return time.UnixMilli(now.Load()) } })
		k := r.Keyspaces.Root()
		rows := append(inOrder(1500, 60), testRow{"l", strings.Repeat("x", 500)}, testRow{"m", strings.Repeat("y", 500)})
		expiry := map[string]uint64{"l": 1_000_100}
		for i, row := range rows[:1500] {
			expiry[row.key] = []uint64{0, 1, 1_000_000, 1_000_001, 1_000_100}[i%5]
		}
		asked := map[string]int{}
		f.o.Expires = func(key, value []byte) uint64 {
			if asked[string(key)]++; len(value) != 60 && len(value) != 500 {
				t.Errorf("%s: asked about %q with %d bytes", f.name, key, len(value))
			}
			return expiry[string(key)]
		}
		st, err := r.loads.Load(t.Context(), k, each(f.order(rows), nil), f.o)
		r.Check(err)
		for _, row := range rows {
			if asked[row.key] != 1 {
				t.Fatalf("%s: asked %d times about %q", f.name, asked[row.key], row.key)
			}
		}
		for _, ms := range []int64{1_000_000, 1_000_001, 1_000_100} {
			now.Store(ms)
			want := map[string]string{}
			for _, row := range rows {
				if e := expiry[row.key]; e == 0 || e > uint64(ms) {
					want[row.key] = row.value
				}
			}
			r.WantRows(fmt.Sprint(f.name, " at ", ms), k, want)
		}
		if st.Rows != 1502 || st.ValueFiles == 0 {
			t.Errorf("%s: %+v", f.name, st)
		}
		r.Close()
	}
}

// TestProgress: it grows, first while rows are sorted and then while they are written, comes
// once for a mebibyte, and ends with all.
func TestProgress(t *testing.T) {
	for _, f := range forms {
		r := newRig(t, nil)
		rows := inOrder(2500, 1000)
		var calls []Progress
		f.o.Progress = func(p Progress) { calls = append(calls, p) }
		_, err := r.loads.Load(t.Context(), r.Keyspaces.Root(), each(f.order(rows), nil), f.o)
		r.Check(err)
		all := Progress{Rows: 2500, Bytes: 2500 * 1007}
		phases := 1
		for i, p := range calls {
			if i > 0 && calls[i-1].Sorting && !p.Sorting {
				phases++
				if last := calls[i-1]; last.Rows != all.Rows || last.Bytes != all.Bytes {
					t.Errorf("%s: sorting ends with %+v", f.name, last)
				}
			} else if i > 0 && (p.Rows < calls[i-1].Rows || p.Bytes < calls[i-1].Bytes || p.Sorting != calls[i-1].Sorting) {
				t.Errorf("%s: %+v behind %+v", f.name, p, calls[i-1])
			}
		}
		want := 1
		if f.o.Unsorted {
			want = 2
		}
		if phases != want || len(calls) != 3*want || calls[len(calls)-1] != all || calls[0].Sorting != f.o.Unsorted {
			t.Errorf("%s: %+v", f.name, calls)
		}
		r.Close()
	}
}

// TestAllOrNothingIsSeen: a reader beside a load sees all of its rows or none.
func TestAllOrNothingIsSeen(t *testing.T) {
	r := newRig(t, nil)
	k := r.Keyspaces.Root()
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				values := map[string]int{}
				for _, v := range r.Rows(k, readstate.Newest) {
					values[v[:1]]++
				}
				if len(values) > 1 {
					t.Errorf("a scan sees rows of several loads: %v", values)
					return
				}
				for v, n := range values {
					if n != 400 {
						t.Errorf("a scan sees %d rows of load %s", n, v)
						return
					}
				}
			}
		})
	}
	for i := range 8 {
		rows := inOrder(400, 60)
		for j := range rows {
			rows[j].value = fmt.Sprint(i, rows[j].value)
		}
		_, err := r.loads.Load(t.Context(), k, each(rows, nil), Options{})
		r.Check(err)
	}
	stop.Store(true)
	wg.Wait()
}

// TestPanicsOfTheProgram: a panic of rows, of Expires or of Progress reaches the caller of Load;
// no file is left, and the next load goes on.
func TestPanicsOfTheProgram(t *testing.T) {
	for _, f := range forms {
		r := newRig(t, nil)
		k := r.Keyspaces.Root()
		rows := inOrder(2500, 450)
		for name, c := range map[string]func(o *Options) (at func(int)){
			"the first row": func(*Options) func(int) { return func(int) { panic("mine") } },
			"a row":         func(*Options) func(int) { return func(i int) { mine(i == 2000) } },
			"Expires": func(o *Options) func(int) {
				n := 0
				o.Expires = func(_, _ []byte) uint64 { n++; mine(n == 2000); return 0 }
				return nil
			},
			"Progress": func(o *Options) func(int) { o.Progress = func(p Progress) { mine(p.Rows < 2500) }; return nil },
			"the last Progress": func(o *Options) func(int) {
				o.Progress = func(p Progress) { mine(p.Rows == 2500 && !p.Sorting) }
				return nil
			},
		} {
			o := f.o
			at := c(&o)
			func() {
				defer func() {
					if p := recover(); p != "mine" {
						t.Errorf("%s: %s: the caller meets %v", f.name, name, p)
					}
				}()
				_, err := r.loads.Load(t.Context(), k, each(f.order(rows), at), o)
				t.Errorf("%s: %s: a load that panics ends with %v", f.name, name, err)
			}()
			r.WantRows(f.name+": "+name, k, nil)
			r.WantFiles(f.name + ": " + name)
			if err := r.Report.Callers.Refuse("a call", callback.CallingRows); err != nil {
				t.Errorf("%s: %s: the goroutine is still taken for one in a callback: %v", f.name, name, err)
			}
		}
		_, err := r.loads.Load(t.Context(), k, each(f.order(rows), nil), f.o)
		r.Check(err)
		r.WantRows("after panics", k, sum(rows))
		r.Close() // which waits for what entered
	}
}

func mine(now bool) {
	if now {
		panic("mine")
	}
}

// TestRowsCallTheDatabase: commits and flushes from the rows of a load go on, and a call that
// would wait for the load is refused.
func TestRowsCallTheDatabase(t *testing.T) {
	for _, f := range forms {
		r := newRig(t, nil)
		k := r.Keyspaces.Root()
		rows := inOrder(200, 60)
		_, err := r.loads.Load(t.Context(), k, each(f.order(rows), func(i int) {
			if i%50 != 0 {
				return
			}
			r.Put(k, fmt.Sprint("own", i), "v")
			r.Check(r.jobs.Flush(t.Context()))
			if err := r.Report.Callers.Refuse("Close", callback.CallingRows); !errors.Is(err, base.ErrInCallback) {
				t.Errorf("%s: Close would wait for itself: %v", f.name, err)
			}
		}), f.o)
		r.Check(err)
		want := sum(rows)
		for i := 0; i < 200; i += 50 {
			want[fmt.Sprint("own", i)] = "v"
		}
		r.WantRows(f.name, k, want)
		r.Close()
	}
}

// TestLoadsThatAreCutShort: a load ends with its context, for the context's cause, and with the
// database, whatever ends that; no file is left.
func TestLoadsThatAreCutShort(t *testing.T) {
	cause := errors.New("cause")
	for _, f := range forms {
		for name, c := range map[string]struct {
			end  func(r *rig, cancel context.CancelCauseFunc)
			want error
		}{
			"context": {func(_ *rig, cancel context.CancelCauseFunc) { cancel(cause) }, cause},
			"close":   {func(r *rig, _ context.CancelCauseFunc) { r.Stop() }, base.ErrClosed},
			"poison":  {func(r *rig, _ context.CancelCauseFunc) { r.Commit.Poison(cause) }, base.ErrReadOnly},
		} {
			for _, at := range []int{0, 2000, 2499} {
				r := newRig(t, nil)
				ctx, cancel := context.WithCancelCause(t.Context())
				rows := inOrder(2500, 60)
				asked := 0
				st, err := r.loads.Load(ctx, r.Keyspaces.Root(), each(f.order(rows), func(i int) {
					if asked = i; i == at {
						c.end(r, cancel)
						time.Sleep(2 * time.Millisecond) // AfterFunc has a goroutine of its own
					}
				}), f.o)
				if !errors.Is(err, c.want) || st != (Stats{}) {
					t.Errorf("%s: %s at %d: %+v, %v", f.name, name, at, st, err)
				}
				if name == "context" && asked > at+1 {
					t.Errorf("%s: row %d is asked for, the context ended at %d", f.name, asked, at)
				}
				r.WantRows(name, r.Keyspaces.Root(), nil)
				if r.Latch.Cause() == nil {
					r.WantFiles(f.name + ": " + name)
				}
				cancel(nil)
				r.Close()
			}
		}
	}
}

// TestLoadsThatAreRefused before a row is asked for.
func TestLoadsThatAreRefused(t *testing.T) {
	rows := func(yield func(k, v []byte) bool) { t.Error("a row is asked for"); yield(nil, nil) }
	for name, c := range map[string]struct {
		before func(r *rig, k *keyspace.Keyspace)
		want   error
	}{
		"dropped":  {func(r *rig, k *keyspace.Keyspace) { r.Drop(k) }, base.ErrNoKeyspace},
		"poisoned": {func(r *rig, _ *keyspace.Keyspace) { r.Commit.Poison(syscall.EIO) }, base.ErrReadOnly},
		"commits":  {func(r *rig, _ *keyspace.Keyspace) { r.Commit.Close() }, base.ErrClosed},
		"closing":  {func(r *rig, _ *keyspace.Keyspace) { r.Work.Stop() }, base.ErrClosed},
		"closed":   {func(r *rig, _ *keyspace.Keyspace) { r.Close() }, base.ErrClosed},
		"callback": {func(r *rig, _ *keyspace.Keyspace) { t.Cleanup(r.Report.Callers.Enter(callback.CallingJob)) }, base.ErrInCallback},
	} {
		r := newRig(t, nil)
		k := r.Keyspace("k", keyspace.Choice{})
		c.before(r, k)
		if st, err := r.loads.Load(context.Background(), k, rows, Options{}); !errors.Is(err, c.want) || st != (Stats{}) {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
}

// TestKeyspaceDroppedUnderALoad: the load fails and leaves nothing.
func TestKeyspaceDroppedUnderALoad(t *testing.T) {
	r := newRig(t, nil)
	k := r.Keyspace("k", keyspace.Choice{})
	_, err := r.loads.Load(t.Context(), k, each(inOrder(300, 60), func(i int) {
		if i == 200 {
			r.Drop(k)
		}
	}), Options{})
	if !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("a load into a keyspace that was dropped: %v", err)
	}
	r.WantFiles("dropped")
}

// TestLoadFaultSweep: whichever operation on a file fails, a load that fails leaves no file and
// no row, and, unless the database is poisoned, the next one goes on.
func TestLoadFaultSweep(t *testing.T) {
	for _, f := range forms {
		for _, c := range []struct {
			op   faultfs.OpKind
			path string
			err  error
		}{
			{faultfs.OpCreate, "*.sst", syscall.ENOSPC}, {faultfs.OpCreate, "*.val", syscall.EIO}, {faultfs.OpCreate, "*.tmp", syscall.EIO},
			{faultfs.OpWrite, "*.sst", syscall.EIO}, {faultfs.OpWrite, "*.val", syscall.ENOSPC}, {faultfs.OpWrite, "*.tmp", syscall.ENOSPC},
			{faultfs.OpSync, "*.sst", syscall.ENOSPC}, {faultfs.OpSync, "*.val", syscall.EIO}, {faultfs.OpRead, "*.tmp", syscall.EIO},
			{faultfs.OpOpen, "*.tmp", syscall.EIO}, {faultfs.OpWrite, "MANIFEST*", syscall.ENOSPC}, {faultfs.OpSync, "MANIFEST*", syscall.EIO},
		} {
			if c.path == "*.tmp" && !f.o.Unsorted {
				continue
			}
			rows := inOrder(800, 90)
			for i := range 40 {
				rows[i*20].value = strings.Repeat("v", 500)
			}
			for skip, step := 0, 1; ; skip += step {
				if testing.Short() && skip > 3 {
					step = 9
				}
				if !sweepLoad(t, f.o, f.order(rows), faultfs.Rule{Op: c.op, Path: c.path, Err: c.err, Skip: skip, Count: 1}) {
					if skip == 0 {
						t.Errorf("%s: no operation %b of %s", f.name, c.op, c.path)
					}
					break
				}
			}
		}
	}
}

// sweepLoad makes one load that meets a fault, and reports whether it did.
func sweepLoad(t *testing.T, o Options, rows []testRow, fault faultfs.Rule) bool {
	r := newRig(t, nil)
	defer r.Close()
	k := r.Keyspaces.Root()
	what := fmt.Sprintf("unsorted: %v; operation %b of %s, the %dth, %v", o.Unsorted, fault.Op, fault.Path, fault.Skip, fault.Err)
	fired := r.FS.Inject(fault)
	st, err := r.loads.Load(t.Context(), k, each(rows, nil), o)
	r.FS.Clear()
	if err == nil {
		if r.WantRows(what, k, sum(rows)); fired.Count() > 0 && fault.Path != "MANIFEST*" { // a mark behind an edit
			t.Errorf("%s: it succeeds", what)
		}
		return fired.Count() > 0
	}
	if !errors.Is(err, fault.Err) || st != (Stats{}) {
		t.Errorf("%s: %+v, %v", what, st, err)
	}
	r.WantRows(what, k, nil)
	if r.Latch.Cause() != nil {
		if fault.Err != syscall.EIO || fault.Path != "MANIFEST*" {
			t.Errorf("%s: the database is poisoned", what)
		}
		return true
	}
	r.WantFiles(what)
	if _, err := r.loads.Load(t.Context(), k, each(rows, nil), o); err != nil {
		t.Errorf("%s: the next one: %v", what, err)
	}
	r.WantRows(what, k, sum(rows))
	return true
}

// TestSortMemory is a part of the budget, within bounds.
func TestSortMemory(t *testing.T) {
	for budget, want := range map[int64]int64{0: 64 << 10, 1 << 20: 128 << 10, 1 << 40: 1 << 30} {
		if got := (&Env{MemoryBudget: budget}).sortMemory(); got != want {
			t.Errorf("of %d bytes a load sorts in %d, expected %d", budget, got, want)
		}
	}
}

// TestTablesEndWhereOthersBegin: where a table of the last level begins one of the load ends, so
// that a compaction takes few at a time.
func TestTablesEndWhereOthersBegin(t *testing.T) {
	r := newRig(t, nil)
	k := r.Keyspaces.Root()
	_, err := r.loads.Load(t.Context(), k, each(inOrder(800, 90), nil), Options{})
	r.Check(err)
	guards := compaction.FlushGuards(r.Store.Current().Version(), k.ID(), 1<<62, r.loads.Config)
	rows := inOrder(800, 70)
	for i := range rows {
		rows[i].key += "x"
	}
	_, err = r.loads.Load(t.Context(), k, each(rows, nil), Options{})
	r.Check(err)
	begins := map[string]bool{}
	for _, files := range r.Tables(k) {
		for _, f := range files {
			begins[string(f.Smallest)] = true
		}
	}
	n := 0
	for _, g := range guards {
		if begins[string(g)+"x"] {
			n++
		}
	}
	if len(guards) < 3 || n <= len(guards)/2 { // but where that would make a tiny one
		t.Errorf("tables of the load begin at %d of %d places where others do", n, len(guards))
	}
}
