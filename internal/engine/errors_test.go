package engine

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/observe"
)

// troubled is a database on a disk that fails, and what each commit to it came to.
type troubled struct {
	t        *testing.T
	e        *Engine
	outcomes map[string]error // by key
	poisoned error            // the first outcome that is not known
	cut      *memfs.FS        // the disk, had the power been cut before Close
}

// put commits a row.
func (d *troubled) put(k *Keyspace, key string) {
	b := new(batch.Batch)
	if err := b.Put(k.ID(), []byte(key), make([]byte, 200)); err != nil {
		d.t.Fatal(err)
	}
	_, err := d.e.Commit(b, DefaultDurability)
	d.outcomes[key] = err
	switch {
	case d.poisoned != nil && !errors.Is(err, base.ErrReadOnly):
		d.t.Errorf("a commit after %v: %v", d.poisoned, err)
	case errors.Is(err, base.ErrCommitUnknown):
		d.poisoned = err
		if h := d.e.Health(); h.Err == nil || h.Status != observe.ReadOnly {
			d.t.Errorf("after %v health is %v", err, h)
		}
	}
}

// run does some of everything, whatever fails.
func (d *troubled) run(fs vfs.FS, disk *memfs.FS) {
	ctx := context.Background()
	d.outcomes = map[string]error{}
	defer func() {
		d.cut = disk.CrashClone(memfs.CrashOptions{})
		if d.e != nil {
			_ = d.e.Close()
		}
	}()
	e, err := Open("db", troubledOptions(fs))
	if err != nil {
		return
	}
	d.e = e
	for i := range 4 {
		d.put(e.Root(), fmt.Sprint("a", i))
	}
	if k, err := e.Keyspace("other", KeyspaceChoice{}, true); err == nil {
		d.put(k, "other")
	}
	_ = e.Flush(ctx)
	d.put(e.Root(), "b")
	var x Txn
	if err := e.Begin(&x, TxnOptions{}); err == nil {
		if k, err := x.Keyspace("third", KeyspaceChoice{}, true); err == nil {
			_ = x.Write(k, func(b *batch.Batch) error { return b.Put(k.ID(), []byte("c"), nil) })
		}
		_, err := x.Commit(ctx)
		d.outcomes["third"] = err
		x.Rollback()
	}
	_, err = e.Root().Load(ctx, func(yield func(k, v []byte) bool) { yield([]byte("loaded"), nil) }, LoadOptions{})
	d.outcomes["loaded"] = err
	_ = e.Root().Compact(ctx, nil, nil)
	_ = e.DropKeyspace("other")
	d.put(e.Root(), "d")
	_, _ = e.Verify(ctx)
	_ = e.Health()
}

// check opens the database on a disk that works, and looks for what was promised.
func (d *troubled) check(fs vfs.FS, what string) {
	d.t.Helper()
	e, err := Open("db", troubledOptions(fs))
	if err != nil {
		d.t.Fatalf("%s: the next opening fails: %v", what, err)
	}
	for key, outcome := range d.outcomes {
		k := e.Root()
		switch key {
		case "other": // it may have been dropped
			continue
		case "third":
			_, err := e.Keyspace("third", KeyspaceChoice{}, false)
			d.want(what, key, err == nil, outcome)
			continue
		}
		ok, err := k.Has([]byte(key), readstate.Newest)
		if err != nil {
			d.t.Fatalf("%s: %v", what, err)
		}
		d.want(what, key, ok, outcome)
	}
	r, err := e.Verify(context.Background())
	if err != nil || !r.Clean() {
		d.t.Errorf("%s: verify: %v, %v", what, err, r.Damage)
	}
	if err := e.Close(); err != nil {
		d.t.Errorf("%s: close: %v", what, err)
	}
}

// want compares what is there with what the commit of it said.
func (d *troubled) want(what, key string, there bool, outcome error) {
	d.t.Helper()
	switch {
	case errors.Is(outcome, base.ErrCommitUnknown):
	case outcome == nil && !there:
		d.t.Errorf("%s: %s was committed, and is lost", what, key)
	case outcome != nil && there:
		d.t.Errorf("%s: %s is there, and its commit said %v", what, key, outcome)
	}
}

func troubledOptions(fs vfs.FS) Options {
	return Options{
		FS: fs, MemoryBudget: 1 << 20, MemtableSize: 8 << 10, PageSize: 512, TableSize: 4 << 10, ValueThreshold: 100, ManualOnly: true, PackFrom: 1,
	}.WithDefaults()
}

// TestErrorAtEachOperation has each operation of the disk fail once, in each way that a
// disk fails: what was committed is there at the next opening, and what was refused is
// not.
func TestErrorAtEachOperation(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 4
	}
	for name, rule := range map[string]faultfs.Rule{ // by what happens
		"an error":  {Op: faultfs.OpAll, Err: syscall.EIO, Count: 1},
		"full":      {Op: faultfs.OpWrite | faultfs.OpCreate | faultfs.OpPreallocate | faultfs.OpRename, Err: syscall.ENOSPC, Count: 1},
		"full from": {Err: syscall.ENOSPC, Op: faultfs.OpWrite | faultfs.OpCreate | faultfs.OpPreallocate, Short: true},
		"after":     {Err: syscall.EIO, Count: 1, After: true, Op: faultfs.OpMutations},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step := step
			if rule.Count == 0 {
				step *= 5 // what goes on failing is tried again for a while
			}
			for n := 0; ; n += step {
				disk := memfs.New()
				fs := faultfs.New(disk)
				rule.Skip = n
				fault := fs.Inject(rule)
				d := &troubled{t: t}
				d.run(fs, disk)
				if fault.Count() == 0 {
					if n < 40 {
						t.Fatalf("the disk did only %d operations", n)
					}
					return
				}
				fs.Clear()
				what := fmt.Sprintf("%s at operation %d", name, n)
				d.check(disk, what)
				d.check(d.cut, what+", and the power cut")
				if t.Failed() {
					return
				}
			}
		})
	}
}
