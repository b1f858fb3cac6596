package keyspace_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// fullOnce is a disk that has no room for the next write.
var fullOnce = faultfs.Rule{Op: faultfs.OpWrite, Err: syscall.ENOSPC, Count: 1}

// TestNames: names lead to keyspaces, in order, while these are there.
func TestNames(t *testing.T) {
	r := newRig(t, options{})
	if _, err := r.ask("b", keyspace.Choice{}, false); !errors.Is(err, base.ErrNoKeyspace) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("one that is not there: %v", err)
	}
	for _, name := range []string{"b", "f", "c", "a", "e", "d"} {
		r.must(name, keyspace.Choice{})
	}
	a := r.Named("a")
	if k, err := r.ask("a", keyspace.Choice{}, false); k != a || err != nil || a.Name() != "a" || r.Get(a.ID()) != a {
		t.Errorf("a: %v, %v", k, err)
	}
	r.drop(a)
	if names, err := r.Names(); !slices.Equal(names, []string{"b", "c", "d", "e", "f"}) || err != nil || r.Named("a") != nil {
		t.Errorf("without a: %q, %v", names, err)
	}
	if again := r.must("a", keyspace.Choice{}); again == a || again.ID() == a.ID() || again.Dropped() || !a.Dropped() {
		t.Errorf("another a is number %d, the one before was %d", again.ID(), a.ID())
	}
	// The name of one that is dropped late is another's by then.
	now := r.Named("a")
	r.vs.Lock()
	r.Remove(a)
	r.vs.Unlock()
	if r.Named("a") != now {
		t.Error("the name went with a keyspace that had it before")
	}
}

// TestNumbers: every number leads to its keyspace, that of one that is not there to one that
// was dropped.
func TestNumbers(t *testing.T) {
	r := newRig(t, options{})
	k := r.must("space", keyspace.Choice{})
	root := r.Root()
	if r.Get(0) != root || r.Of(0) != root || root.ID() != 0 || root.Name() != "" || root.Describe() != "the database" || r.Missing(0) {
		t.Error("the default keyspace is not number 0")
	}
	if r.Get(k.ID()) != k || r.Of(k.ID()) != k || r.Missing(k.ID()) || k.Describe() != `keyspace "space"` {
		t.Error("a keyspace is not under its number")
	}
	if x := r.Of(99); r.Get(99) != nil || !r.Missing(99) || !x.Dropped() || x.ID() != 99 || r.Get(99) != nil {
		t.Error("a number of none is one of some")
	}
	var others []*keyspace.Keyspace
	r.Others(func(k *keyspace.Keyspace) { others = append(others, k) })
	if len(others) != 1 || others[0] != k {
		t.Errorf("Others: %d", len(others))
	}
	k.Wrote(7)
	if k.Newest() != 7 {
		t.Errorf("Newest: %d", k.Newest())
	}
}

// TestNumbersAreNotUsedAgain: whatever happens to keyspaces, to transactions that create some,
// and on full disks, a number is one keyspace's; and none that a manifest had is used by a
// later opening.
func TestNumbersAreNotUsedAgain(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r := newRig(t, options{syncNew: seed%2 == 0})
		seen := map[uint32]string{} // of this opening, or durable before it
		note := func(k *keyspace.Keyspace, how string) {
			if was := seen[k.ID()]; was != "" || k.ID() == 0 {
				t.Fatalf("seed %d: %d is %s, and was %s", seed, k.ID(), how, was)
			}
			seen[k.ID()] = how
		}
		for i := range 60 {
			name := fmt.Sprint("k", i)
			asked, err := keyspace.Choice{}.Ask(name)
			r.check(err)
			switch rng.IntN(7) {
			case 0, 1:
				note(r.must(name, keyspace.Choice{}), "created")
			case 2:
				r.disk.Inject(fullOnce)
				if _, err := r.Open(asked, true); !errors.Is(err, base.ErrNoSpace) || r.Named(name) != nil {
					t.Fatalf("seed %d: on a full disk %v", seed, err)
				}
				note(r.must(name, keyspace.Choice{}), "created at the second attempt")
			case 3: // rolled back
				k, err := r.Tentative(asked)
				r.check(err)
				note(k, "rolled back")
				if r.Get(k.ID()) != nil || r.Named(name) != nil {
					t.Fatalf("seed %d: the database has it", seed)
				}
			case 4:
				k, err := r.Tentative(asked)
				r.check(err)
				note(k, "committed")
				note(r.must(name+"beside", keyspace.Choice{}), "created beside it")
				r.commit(k)
				if r.Get(k.ID()) != k || r.Named(name) != k {
					t.Fatalf("seed %d: the database does not have it", seed)
				}
			case 5:
				r.Others(func(k *keyspace.Keyspace) {
					if rng.IntN(3) == 0 {
						r.drop(k)
					}
				})
			case 6:
				st, err := manifest.Recover(r.crash(), "")
				r.check(err)
				for id := range seen {
					if id >= st.NextKeyspace {
						delete(seen, id) // no log and no table has anything of it
					}
				}
				r = newRig(t, options{mem: r.crash(), syncNew: seed%2 == 0})
			}
		}
	}
}

// TestSyncNew: a keyspace is durable when it is created, or costs no sync before a batch
// needs it.
func TestSyncNew(t *testing.T) {
	r := newRig(t, options{syncNew: true})
	if k := r.must("space", keyspace.Choice{}); r.record(k.ID()) == nil {
		t.Error("it is lost")
	}
	r = newRig(t, options{})
	syncs := r.disk.Inject(faultfs.Rule{Op: faultfs.OpSync | faultfs.OpDirSync})
	for i := range 100 {
		r.must(fmt.Sprint(i), keyspace.Choice{})
	}
	if syncs.Count() > 0 {
		t.Errorf("%d syncs", syncs.Count())
	}
}

// TestFailedEdits: a keyspace that cannot be written down is not there, and can be tried
// again unless the database is poisoned.
func TestFailedEdits(t *testing.T) {
	for _, syncNew := range []bool{false, true} {
		r := newRig(t, options{syncNew: syncNew})
		r.disk.Inject(fullOnce)
		k, err := r.ask("space", keyspace.Choice{}, true)
		if !errors.Is(err, base.ErrNoSpace) || k != nil || r.Named("space") != nil || r.latch.Cause() != nil {
			t.Errorf("full: %v, %v", k, err)
		}
		k = r.must("space", keyspace.Choice{})
		r.disk.Inject(faultfs.Rule{Op: faultfs.OpWrite, Err: syscall.EIO, Count: 1})
		for range 2 {
			other, err := r.ask("other", keyspace.Choice{}, true)
			if !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, syscall.EIO) || other != nil || r.Named("other") != nil {
				t.Errorf("broken: %v, %v", other, err)
			}
		}
		if _, err := r.ask("space", keyspace.Choice{Merger: &operator{name: "m"}}, true); !errors.Is(err, base.ErrReadOnly) || k.Merger() != nil {
			t.Errorf("poisoned, with a merge operator: %v", err)
		}
		if again := r.must("space", keyspace.Choice{}); again != k {
			t.Error("a poisoned database opens another one")
		}
	}
}

// TestPoisonedByOthers: what poisoned the database elsewhere keeps keyspaces from being
// created, and is named.
func TestPoisonedByOthers(t *testing.T) {
	r := newRig(t, options{})
	r.must("space", keyspace.Choice{})
	ops, cause := r.mem.Ops(), errors.New("a log failed")
	r.latch.Set(cause)
	for _, c := range []keyspace.Choice{{}, {Merger: &operator{name: "m"}}} {
		name := "new"
		if c.Merger != nil {
			name = "space"
		}
		if _, err := r.ask(name, c, true); !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, cause) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r.mem.Ops() != ops {
		t.Error("something was written")
	}
}

// TestReadOnly: where nothing can be recorded keyspaces open that are there, the first call
// decides, and none is created.
func TestReadOnly(t *testing.T) {
	r := newRig(t, options{syncNew: true})
	r.must("space", keyspace.Choice{})
	r = newRig(t, options{mem: r.crash(), readOnly: true})
	ops, threshold, other := r.mem.Ops(), 7, 8
	k, err := r.ask("space", keyspace.Choice{ValueThreshold: &threshold}, true)
	r.check(err)
	if k.Options().ValueThreshold != 7 {
		t.Errorf("it has %+v", k.Options())
	}
	if _, err := r.ask("space", keyspace.Choice{ValueThreshold: &other}, true); !errors.Is(err, base.ErrInvalidOptions) || k.Options().ValueThreshold != 7 {
		t.Errorf("other options: %v", err)
	}
	asked, err := keyspace.Choice{}.Ask("new")
	r.check(err)
	_, created := r.Open(asked, true)
	_, tentative := r.Tentative(asked)
	for _, err := range []error{created, tentative} {
		if !errors.Is(err, base.ErrReadOnly) || !strings.Contains(err.Error(), `keyspace "new" cannot be created`) {
			t.Errorf("a new one: %v", err)
		}
	}
	if _, err := r.Open(asked, false); !errors.Is(err, base.ErrNoKeyspace) {
		t.Errorf("one that is not there: %v", err)
	}
	r.check(r.Settle([]uint32{k.ID(), 9}))
	if r.mem.Ops() != ops {
		t.Error("something was written")
	}
}

// TestClosed: what asks a closed database answers ErrClosed, whatever else is wrong.
func TestClosed(t *testing.T) {
	r := newRig(t, options{})
	r.must("space", keyspace.Choice{})
	r.closed = true
	ops := r.mem.Ops()
	for _, name := range []string{"space", "new"} {
		asked, err := keyspace.Choice{TTL: -1}.Ask(name)
		r.check(err)
		_, opened := r.Open(asked, true)
		_, looked := r.Open(asked, false)
		_, tentative := r.Tentative(asked)
		_, listed := r.Names()
		for _, err := range []error{opened, looked, tentative, listed} {
			if !errors.Is(err, base.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if r.mem.Ops() != ops {
		t.Error("something was written")
	}
}

// TestOpenBesideItself: calls for one name at the same time give one keyspace, which the
// manifest has once; those that ask for other options are refused.
func TestOpenBesideItself(t *testing.T) {
	r := newRig(t, options{})
	for i := range 200 {
		var wg sync.WaitGroup
		start := make(chan struct{})
		got := make([]*keyspace.Keyspace, 6)
		for g := range got {
			wg.Go(func() {
				threshold := 100 * (1 + g%2)
				<-start
				k, err := r.ask(fmt.Sprint(i), keyspace.Choice{ValueThreshold: &threshold}, true)
				if err != nil && !errors.Is(err, base.ErrInvalidOptions) {
					t.Error(err)
				}
				if err == nil && k.Options().ValueThreshold != threshold {
					t.Errorf("asked for %d, it is %d", threshold, k.Options().ValueThreshold)
				}
				got[g] = k
			})
		}
		close(start)
		wg.Wait()
		want := r.Named(fmt.Sprint(i))
		n := 0
		for _, k := range got {
			if k != nil && k != want {
				t.Fatal("there are two")
			}
			if k != nil {
				n++
			}
		}
		if n != 3 {
			t.Fatalf("%d of 3 calls that agree got it", n)
		}
	}
	if n := len(r.vs.Manifest().State().Keyspaces); n != 200 {
		t.Errorf("the manifest has %d", n)
	}
}
