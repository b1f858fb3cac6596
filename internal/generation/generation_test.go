package generation

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/internal/wal"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func logID(num base.FileNum) base.Identity {
	return base.Identity{DB: 0x1234, Type: base.FileTypeLog, Num: num}
}

// begin makes generation num. If prev is not nil, num follows it, and the log of prev has
// been written to the system, as in the engine.
func begin(fs vfs.FS, num base.FileNum, prev *Generation) (*Generation, error) {
	var link wal.Prev
	if prev != nil {
		if err := prev.Log.FlushAll(); err != nil {
			return nil, err
		}
		link = wal.Prev{Num: prev.Num, Size: prev.Log.Size()}
	}
	seg, err := wal.NewSegment(fs, "", logID(num))
	if err != nil {
		return nil, err
	}
	if err := vfs.SyncDir(fs, ""); err != nil {
		return nil, err
	}
	g := &Generation{Num: num}
	if g.Log, err = seg.Begin(link, wal.Options{}); err != nil {
		return nil, err
	}
	if prev != nil {
		g.Follow(prev)
	}
	return g, nil
}

// counts counts what was done to the log of a generation.
type counts struct{ writes, syncs, closes *faultfs.Fired }

// chain is generations that follow one another, with a commit each.
type chain struct {
	fs   *faultfs.FS
	gens []*Generation
	lsns []int64
	done []counts // since the chain was made
}

func newChain(t testing.TB, n int) *chain {
	t.Helper()
	c := &chain{fs: faultfs.New(memfs.New())}
	var prev *Generation
	for i := range n {
		g, err := begin(c.fs, base.FileNum(i+1), prev)
		must(t, err)
		lsn, err := g.Log.Append(fmt.Appendf(nil, "commit %d", i))
		must(t, err)
		c.gens, c.lsns, prev = append(c.gens, g), append(c.lsns, lsn), g
	}
	for i := range n {
		count := func(op faultfs.OpKind) *faultfs.Fired {
			return c.fs.Inject(faultfs.Rule{Op: op, Path: logID(base.FileNum(i + 1)).Name(), Skip: 1 << 30})
		}
		c.done = append(c.done, counts{count(faultfs.OpWrite), count(faultfs.OpSync), count(faultfs.OpClose)})
	}
	return c
}

// durable checks which commits are synced.
func (c *chain) durable(t testing.TB, want ...bool) {
	t.Helper()
	for i, g := range c.gens {
		if got := g.Log.Synced() >= c.lsns[i]; got != want[i] {
			t.Errorf("the commit of generation %d is durable: %v", i+1, got)
		}
	}
}

// did checks how often each log was synced and closed.
func (c *chain) did(t testing.TB, syncs, closes []int) {
	t.Helper()
	for i, d := range c.done {
		if d.syncs.Matched() != syncs[i] || d.closes.Matched() != closes[i] {
			t.Errorf("log %d was synced %d times and closed %d times; want %d and %d", i+1, d.syncs.Matched(), d.closes.Matched(), syncs[i], closes[i])
		}
	}
}

// ways are how the log of the third generation becomes durable.
var ways = map[string]func(c *chain) error{
	"Sync":    func(c *chain) error { return c.gens[2].Sync(c.lsns[2]) },
	"SyncAll": func(c *chain) error { return c.gens[2].SyncAll() },
	"Seal":    func(c *chain) error { return c.gens[2].Seal() },
}

// TestLogsBecomeDurableInOrder: what makes a commit durable waits for all logs before
// its own, oldest first, and then for its own. They are sealed for good: the next one
// waits for none of them.
func TestLogsBecomeDurableInOrder(t *testing.T) {
	for name, way := range ways {
		c := newChain(t, 3)
		for slow := range 2 { // the first log to sync slowly, then the second
			rule := c.fs.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: logID(base.FileNum(slow + 1)).Name(), Delay: time.Hour, Count: 1})
			if slow > 0 {
				rule.Remove()
				c = newChain(t, 3)
				rule = c.fs.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: logID(2).Name(), Delay: time.Hour, Count: 1})
			}
			returned := make(chan error, 1)
			go func() { returned <- way(c) }()
			for rule.Matched() == 0 {
				select {
				case err := <-returned:
					t.Fatalf("%s returned %v without a sync of log %d", name, err, slow+1)
				case <-time.After(time.Millisecond):
				}
			}
			c.durable(t, slow > 0, false, false)
			rule.Remove()
			must(t, <-returned)
			c.durable(t, true, true, true)
		}
		closed := 0
		if name == "Seal" {
			closed = 1
		}
		c.did(t, []int{1, 1, 1}, []int{1, 1, closed})
		if name != "Seal" {
			lsn, err := c.gens[2].Log.Append([]byte("another"))
			must(t, err)
			must(t, c.gens[2].Sync(lsn))
			c.did(t, []int{1, 1, 2}, []int{1, 1, 0})
		}
		if c.gens[2].prev.Load() != nil || c.gens[1].prev.Load() != nil {
			t.Errorf("%s: generations that are durable are still kept", name)
		}
	}
}

// faults are what may happen to an earlier log: which one, and how.
var faults = map[string]faultfs.Rule{
	"first sync":   {Op: faultfs.OpSync, Path: logID(1).Name(), Count: 1, Err: syscall.EIO},
	"second sync":  {Op: faultfs.OpSync, Path: logID(2).Name(), Count: 1, Err: syscall.EIO},
	"second write": {Op: faultfs.OpWrite, Path: logID(2).Name(), Count: 1, Err: syscall.EIO},
}

// TestFailedLogFailsWhatFollows: once a log has failed, no commit in a later log becomes
// durable, however often its caller asks: its outcome is unknown. The later log is not
// synced, since recovery would take that for proof. Seal closes all logs nevertheless. The
// error names the log that failed.
func TestFailedLogFailsWhatFollows(t *testing.T) {
	for name, rule := range faults {
		c := newChain(t, 3)
		if rule.Op == faultfs.OpWrite {
			lsn, err := c.gens[1].Log.Append([]byte("unwritten"))
			must(t, err)
			c.lsns[1] = lsn
		}
		fired := c.fs.Inject(rule)
		for range 3 {
			err := c.gens[2].Sync(c.lsns[2])
			if !errors.Is(err, base.ErrCommitUnknown) || !errors.Is(err, syscall.EIO) {
				t.Errorf("%s: Sync returns %v", name, err)
			}
			said := c.gens[2].LogError(err).Error()
			if !strings.HasPrefix(said, "write-ahead log "+rule.Path+" ") || strings.Contains(said, base.ErrCommitUnknown.Error()) {
				t.Errorf("%s: of the log it says %q", name, said)
			}
			if err := c.gens[2].SyncAll(); !errors.Is(err, syscall.EIO) || errors.Is(err, base.ErrCommitUnknown) {
				t.Errorf("%s: SyncAll returns %v", name, err)
			}
		}
		if fired.Count() != 1 {
			t.Fatalf("%s: the fault fired %d times", name, fired.Count())
		}
		first := rule.Path == logID(1).Name()
		c.durable(t, !first, false, false)
		for i, g := range c.gens {
			if err := g.Seal(); errors.Is(err, syscall.EIO) != (i > 0 || first) {
				t.Errorf("%s: Seal of generation %d returns %v", name, i+1, err)
			}
		}
		for i, d := range c.done {
			if d.closes.Matched() != 1 {
				t.Errorf("%s: log %d was closed %d times", name, i+1, d.closes.Matched())
			}
		}
		if n := c.done[2].syncs.Matched(); n != 0 {
			t.Errorf("%s: the log behind the failed one was synced %d times", name, n)
		}
		if n := c.done[1].syncs.Matched(); first && n != 0 {
			t.Errorf("%s: the second log was synced %d times", name, n)
		}
	}
}

// TestFullDiskOfAnEarlierLog: if acknowledged records of an earlier log find no room, the
// outcome of later commits is unknown too.
func TestFullDiskOfAnEarlierLog(t *testing.T) {
	disk := memfs.New()
	g, err := begin(disk, 1, nil)
	must(t, err)
	next, err := begin(disk, 2, g)
	must(t, err)
	_, err = g.Log.AppendRelaxed([]byte("acknowledged"))
	must(t, err)
	lsn, err := next.Log.Append([]byte("commit"))
	must(t, err)
	disk.SetCapacity(disk.Used())
	if err := next.Sync(lsn); !errors.Is(err, base.ErrCommitUnknown) || !errors.Is(err, base.ErrNoSpace) {
		t.Errorf("Sync returns %v", err)
	}
	said := next.LogError(base.ErrNoSpace)
	if !errors.Is(said, base.ErrNoSpace) || !strings.HasPrefix(said.Error(), "write-ahead log "+logID(2).Name()+": ") {
		t.Errorf("of the log it says %q", said)
	}
}

// TestOwnLogFails: an error of the generation's own log is returned unchanged, also for
// commits that will certainly not survive.
func TestOwnLogFails(t *testing.T) {
	c := newChain(t, 2)
	fired := c.fs.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: logID(2).Name(), Count: 1, Err: syscall.EIO})
	err := c.gens[1].Sync(c.lsns[1])
	if !errors.Is(err, base.ErrCommitUnknown) || !errors.Is(err, syscall.EIO) || fired.Count() != 1 {
		t.Errorf("Sync returns %v", err)
	}
	c.durable(t, true, false)
	if err := c.gens[1].SyncAll(); !errors.Is(err, base.ErrReadOnly) {
		t.Errorf("SyncAll returns %v", err)
	}
	if err := c.gens[1].Seal(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Seal returns %v", err)
	}

	disk := memfs.New()
	g, err := begin(disk, 1, nil)
	must(t, err)
	lsn, err := g.Log.Append([]byte("commit"))
	must(t, err)
	disk.SetCapacity(disk.Used())
	if err := g.Sync(lsn); !errors.Is(err, base.ErrNoSpace) || errors.Is(err, base.ErrCommitUnknown) {
		t.Errorf("without room Sync returns %v", err)
	}
}

// TestCallersShareASeal: of many concurrent callers, one seals each log, and none returns
// before the commits it asked for are durable.
func TestCallersShareASeal(t *testing.T) {
	c := newChain(t, 3)
	slow := c.fs.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: logID(1).Name(), Delay: time.Hour, Count: 1})
	var wg sync.WaitGroup
	ask := func(i int, what string, call func() error) {
		wg.Go(func() {
			if err := call(); err != nil || c.gens[i].Log.Synced() < c.lsns[i] {
				t.Errorf("%s of generation %d: %v, synced up to %d of %d", what, i+1, err, c.gens[i].Log.Synced(), c.lsns[i])
			}
		})
	}
	for i, g := range c.gens {
		for range 3 {
			ask(i, "Sync", func() error { return g.Sync(c.lsns[i]) })
			ask(i, "SyncAll", g.SyncAll)
			if i < 2 {
				ask(i, "Seal", g.Seal)
			}
		}
	}
	for begun := time.Now(); slow.Count() == 0; time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("the first log is not synced")
		}
	}
	time.Sleep(10 * time.Millisecond) // for the others
	c.durable(t, false, false, false)
	slow.Remove()
	wg.Wait()
	if n := []int{c.done[0].closes.Matched(), c.done[1].closes.Matched(), c.done[2].closes.Matched()}; n[0] != 1 || n[1] != 1 || n[2] != 0 {
		t.Errorf("the logs were closed %d times", n)
	}
}

// TestAbandonLog: an abandoned log is closed once and not synced, and later generations
// wait neither for it nor for those before it.
func TestAbandonLog(t *testing.T) {
	c := newChain(t, 3)
	fired := c.fs.Inject(faultfs.Rule{Op: faultfs.OpSync, Path: logID(1).Name(), Err: syscall.EIO})
	for range 2 {
		c.gens[1].AbandonLog()
		must(t, c.gens[1].Seal())
	}
	must(t, c.gens[2].Sync(c.lsns[2]))
	must(t, c.gens[2].SyncAll())
	c.did(t, []int{0, 0, 1}, []int{0, 1, 0})
	c.durable(t, false, false, true)
	if fired.Matched() != 0 || c.gens[1].prev.Load() != nil {
		t.Error("the generation before the abandoned one is still kept")
	}
	c.gens[0].AbandonLog()
	c.did(t, []int{0, 0, 1}, []int{1, 1, 0})

	// After a Seal AbandonLog does nothing; a generation without a log has nothing to wait
	// for.
	c = newChain(t, 2)
	must(t, c.gens[1].Seal())
	c.gens[1].AbandonLog()
	c.gens[0].AbandonLog()
	c.did(t, []int{1, 1}, []int{1, 1})
	var none Generation
	must(t, none.Seal())
	none.AbandonLog()
	c = newChain(t, 1)
	c.gens[0].Follow(&none)
	must(t, c.gens[0].Sync(c.lsns[0]))
	c.durable(t, true)
}
