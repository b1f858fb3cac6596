package pins

import (
	"fmt"
	"math/rand/v2"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

func newList(t testing.TB) *List {
	c := cache.New(cache.Options{Budget: 16 << 20})
	t.Cleanup(c.Close)
	l := new(List)
	l.Init(c)
	return l
}

// here returns the place of the call to here, as Leaked names it.
func here() string {
	_, file, line, _ := runtime.Caller(1)
	return fmt.Sprintf("%s:%d", file, line)
}

// lineBefore returns the place of the line before the call to lineBefore.
func lineBefore() string {
	_, file, line, _ := runtime.Caller(1)
	return fmt.Sprintf("%s:%d", file, line-1)
}

// noted notes a place.
func noted(at *string, place string, w CallSite) CallSite {
	*at = place
	return w
}

// site is where its caller calls it, as an iterator keeps it.
//
//go:noinline
func site() CallSite { return Caller(0, 2) }

// inlined is the same, in a function that the compiler makes part of its caller.
func inlined() CallSite { return Caller(0, 2) }

// deep calls site and inlined from a function that is to be passed over.
//
//go:noinline
func deep(n int) CallSite {
	if n > 0 {
		return deep(n - 1)
	}
	return Caller(2, 2)
}

// TestCallSites: a place is the caller of the function that asks, or one further up,
// whether the compiler inlines what is between or not.
func TestCallSites(t *testing.T) {
	for name, c := range map[string][2]func() (CallSite, string){
		"a function":         {func() (CallSite, string) { return site(), here() }},
		"an inlined one":     {func() (CallSite, string) { return inlined(), here() }},
		"two calls up":       {func() (CallSite, string) { return deep(2), here() }},
		"a deferred closure": {func() (w CallSite, at string) { func() { w, at = site(), here() }(); return w, at }},
	} {
		w, at := c[0]()
		if w.Zero() {
			t.Errorf("%s: no place", name)
		}
		got := (&Pin{where: w}).location()
		if !strings.HasPrefix(got, "iterator made at "+at+" (") || !strings.Contains(got, "TestCallSites") {
			t.Errorf("%s at %s: %s", name, at, got)
		}
	}
	if w := new(CallSite); !w.Zero() {
		t.Error("a CallSite that was never set is a place")
	}
	if w := Caller(0, 1); w.n != 1 {
		t.Errorf("%d callers are kept of 1", w.n)
	}
}

// TestOwnCallersArePassedOver: the place is the first one outside the engine, as far as
// callers were kept.
func TestOwnCallersArePassedOver(t *testing.T) {
	l := newList(t)
	var it Pin
	l.AddIter(&it, new(readstate.State), 1, 0, false, CallSite{})
	for n := 1; n <= 3; n++ {
		// The caller of the function that asks is List.States.
		var w CallSite
		l.States(func(*readstate.State) { w = Caller(0, n) })
		at := lineBefore()
		got := (&Pin{where: w}).location()
		if inside := strings.Contains(got, "internal/pins/iters.go"); inside != (n == 1) {
			t.Errorf("%d callers: %s", n, got)
		}
		if n > 1 && !strings.Contains(got, at) {
			t.Errorf("%d callers: %s, want %s", n, got, at)
		}
	}
}

// TestOwnFiles: the root, typed, and what is below internal are the engine's; tests
// and commands, and whatever looks alike, are the program's.
func TestOwnFiles(t *testing.T) {
	for file, own := range map[string]bool{
		"db.go": true, "typed/view.go": true, "internal/engine/engine.go": true, "internal/sstable/block/block.go": true,
		"db_test.go": false, "typed/view_test.go": false, "internal/engine/open_test.go": false,
		"cmd/seerdb/main.go": false, "sequence/sequence.go": false, "typed/deeper/x.go": false, "internals/x.go": false, "internal": false,
	} {
		name := path.Join(ownRoot, file)
		if file == "internal" {
			name = path.Join(path.Dir(ownRoot), "other", "db.go")
		}
		if ownFile(name) != own {
			t.Errorf("%s is the engine's: %v", name, !own)
		}
	}
	if _, file, _, _ := runtime.Caller(0); path.Dir(file) != path.Join(ownRoot, "internal", "pins") {
		t.Errorf("the root is %s, and this file %s", ownRoot, file)
	}
}

// TestLeaked: Leaked names the places of open objects, with the number opened at each; it
// omits closed ones, and those that the engine opened for itself.
func TestLeaked(t *testing.T) {
	l := newList(t)
	if n, places := l.Leaked(); n != 0 || len(places) != 0 {
		t.Errorf("of nothing %d are open: %q", n, places)
	}
	state := new(readstate.State)
	var its, snaps, txns [3]Pin
	var own [2]Pin
	var iters, snapsAt, txnsAt string
	for i := range its {
		l.AddIter(&its[i], state, 1, 0, false, noted(&iters, here(), site()))
	}
	for i := range snaps {
		l.AddSnapshot(&snaps[i], noted(&snapsAt, here(), site()))
	}
	for i := range txns {
		l.AddTxn(&txns[i], false, noted(&txnsAt, here(), site()))
	}
	l.AddIter(&own[0], state, 1, 0, true, site())
	l.AddTxn(&own[1], true, site())
	l.Remove(&snaps[1])
	l.Remove(&txns[0])
	l.Remove(&txns[2])
	if w := txns[1].Site(); w != txns[1].where || w.Zero() {
		t.Error("Site is not where it was made")
	}
	n, places := l.Leaked()
	want := []string{
		"iterator made at " + iters + " (" + function() + ") (3 times)",
		"snapshot made at " + snapsAt + " (" + function() + ") (2 times)",
		"transaction made at " + txnsAt + " (" + function() + ")",
	}
	if slices.Sort(places); n != 6 || !slices.Equal(places, want) {
		t.Errorf("%d are open:\n%s\nwant\n%s", n, strings.Join(places, "\n"), strings.Join(want, "\n"))
	}
	if l.Iterators() != 4 || l.Transactions() != 2 {
		t.Errorf("%d iterators and %d transactions", l.Iterators(), l.Transactions())
	}
}

// function is the name of the function that calls it.
func function() string {
	pc, _, _, _ := runtime.Caller(1)
	return runtime.FuncForPC(pc).Name()
}

// TestOld: snapshots and transactions are old after ten minutes; iterators never are.
func TestOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l List
		c := cache.New(cache.Options{Budget: 1 << 20})
		defer c.Close()
		l.Init(c)
		var it, snap, txn, own, late Pin
		l.AddIter(&it, new(readstate.State), 1, 0, false, site())
		l.AddSnapshot(&snap, site())
		time.Sleep(90*time.Second + 400*time.Millisecond)
		l.AddTxn(&txn, false, site())
		l.AddTxn(&own, true, site())
		time.Sleep(5 * time.Minute)
		l.AddSnapshot(&late, site())
		time.Sleep(5 * time.Minute)
		check := func(want ...string) {
			t.Helper()
			old := l.Old()
			slices.Sort(old)
			for i := range old {
				_, old[i], _ = strings.Cut(old[i], " made at ")
				_, old[i], _ = strings.Cut(old[i], ", open for ")
			}
			for i := range want {
				want[i] += ", keeps old versions from being dropped"
			}
			if !slices.Equal(old, want) {
				t.Errorf("old are %q, want %q", old, want)
			}
		}
		check("11m30s") // txn is ten minutes old, and no more
		time.Sleep(time.Second)
		check("11m31s", "10m1s", "10m1s") // sorted by what they are
		l.Remove(&snap)
		check("10m1s", "10m1s")
		l.Remove(&txn)
		l.Remove(&own)
		check()
	})
}

// TestHolders: Holders names the places of iterators over memtables that s does not have:
// at most five places, those with most iterators first.
func TestHolders(t *testing.T) {
	l := newList(t)
	gens := make([]*generation.Generation, 4)
	for i := range gens {
		gens[i] = new(generation.Generation)
	}
	s := &readstate.State{Active: gens[3], Imm: []*generation.Generation{gens[2], gens[1]}}
	var snap, txn Pin
	l.AddSnapshot(&snap, site())
	l.AddTxn(&txn, false, site())
	sites := []CallSite{
		site(),
		site(),
		site(),
		site(),
		site(),
		site(),
		site(),
	}
	var open []*Pin
	add := func(w CallSite, gen, n int) {
		for range n {
			open = append(open, new(Pin))
			l.AddIter(open[len(open)-1], &readstate.State{Active: gens[gen]}, 1, 0, n == 1, w)
		}
	}
	place := func(i int) string { return (&Pin{where: sites[i]}).location() }
	add(sites[0], 3, 4)
	add(sites[1], 2, 4)
	add(sites[2], 1, 4)
	if h := l.Holders(s); len(h) != 0 {
		t.Errorf("of those over what s has %q", h)
	}
	if h := l.Holders(&readstate.State{Active: gens[3]}); len(h) != 2 {
		t.Errorf("without its immutable memtables: %q", h)
	}
	for i, n := range []int{1, 3, 2, 3, 1} {
		add(sites[i], 0, n)
	}
	want := []string{
		place(1) + " (3 times)", place(3) + " (3 times)", place(2) + " (2 times)", place(0), place(4),
	}
	if h := l.Holders(s); !slices.Equal(h, want) {
		t.Errorf("holders\n%s\nwant\n%s", strings.Join(h, "\n"), strings.Join(want, "\n"))
	}
	add(sites[5], 0, 1)
	if h := l.Holders(s); !slices.Equal(h, append(slices.Clone(want), "and at 1 other places")) {
		t.Errorf("holders at six places:\n%s", strings.Join(h, "\n"))
	}
	add(sites[6], 0, 5)
	want = append([]string{place(6) + " (5 times)"}, want[:4]...)
	if h := l.Holders(s); !slices.Equal(h, append(want, "and at 2 other places")) {
		t.Errorf("holders at seven places:\n%s", strings.Join(h, "\n"))
	}
	for _, o := range open {
		l.Remove(o)
	}
	if h := l.Holders(s); len(h) != 0 {
		t.Errorf("of closed ones: %q", h)
	}
}

// TestListModel: after any sequence of additions and removals, the list has what a set has.
func TestListModel(t *testing.T) {
	l := newList(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	states := []*readstate.State{new(readstate.State), new(readstate.State), new(readstate.State)}
	type pin struct {
		*Pin
		kind  int
		state *readstate.State
		bytes int64
	}
	var open []pin
	for range 3000 {
		if grow := rnd.IntN(300) - len(open); grow > 0 {
			p := pin{Pin: new(Pin), kind: rnd.IntN(3)}
			switch p.kind {
			case 0:
				p.state = states[rnd.IntN(len(states))]
				sources, buffers := rnd.IntN(9), rnd.IntN(1000)
				p.bytes = iterBytes + int64(sources)*sourceBytes + int64(buffers)
				l.AddIter(p.Pin, p.state, sources, buffers, rnd.IntN(2) == 0, CallSite{})
				for _, n := range []int64{0, chargeIters - 1, chargeIters, 3 * chargeIters}[:rnd.IntN(5)] {
					if l.Grown(p.Pin, n); n >= chargeIters {
						p.bytes += n
					}
				}
			case 1:
				l.AddSnapshot(p.Pin, CallSite{})
			case 2:
				l.AddTxn(p.Pin, rnd.IntN(2) == 0, CallSite{})
			}
			open = append(open, p)
		} else if len(open) > 0 {
			i := rnd.IntN(len(open))
			l.Remove(open[i].Pin)
			open = slices.Delete(open, i, i+1)
		}
		var iters, txns, bytes int64
		want, got := map[*readstate.State]int{}, map[*readstate.State]int{}
		for _, p := range open {
			switch bytes += p.bytes; p.kind {
			case 0:
				iters++
				want[p.state]++
			case 2:
				txns++
			}
		}
		l.States(func(s *readstate.State) { got[s]++ })
		if l.Iterators() != iters || l.Transactions() != txns || l.IterBytes() != bytes || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%d iterators, %d transactions, %d bytes, states %v; want %d, %d, %d, %v",
				l.Iterators(), l.Transactions(), l.IterBytes(), got, iters, txns, bytes, want)
		}
	}
}

// TestListBesideItself: pins come and go while others are counted and named.
func TestListBesideItself(t *testing.T) {
	l := newList(t)
	s := &readstate.State{Active: new(generation.Generation)}
	other := &readstate.State{Active: new(generation.Generation)}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				var it, snap, txn Pin
				l.AddIter(&it, s, 2, 10, false, site())
				l.AddSnapshot(&snap, site())
				l.AddTxn(&txn, false, site())
				l.Grown(&it, 2*chargeIters)
				// A count is not of one moment: objects that come and go may be counted
				// twice or not at all.
				if n := l.Iterators(); n < 1 {
					t.Errorf("%d iterators, and one is open", n)
				}
				if n, places := l.Leaked(); n < 3 || len(places) != 3 {
					t.Errorf("%d are open, at %q", n, places)
				}
				if h := l.Holders(other); len(h) != 1 {
					t.Errorf("holders: %q", h)
				}
				if l.Old() != nil || l.Transactions() < 1 || l.IterBytes() < iterBytes {
					t.Error("what is open is not counted")
				}
				l.States(func(got *readstate.State) {
					if got != s {
						t.Error("another state")
					}
				})
				l.Remove(&snap)
				l.Remove(&it)
				l.Remove(&txn)
			}
		})
	}
	wg.Wait()
	if n, places := l.Leaked(); n != 0 || l.Iterators() != 0 || l.IterBytes() != 0 {
		t.Errorf("%d are left, at %q; %d bytes", n, places, l.IterBytes())
	}
}
