package txn

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// world is an engine as far as the tracker can tell: commits get sequences,
// become visible later and in order, and the tree shows what is visible.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	tr      *Tracker
	history writes
	pending []*batch.Batch
	last    base.SeqNum // given
	visible base.SeqNum
	open    []*testTxn
	counts  map[string]int
}

// testTxn is an open transaction and the model of its set.
type testTxn struct {
	Txn
	model writes // what it depends on, as if written
}

func (w *world) queue() iter.Seq[*batch.Batch] { return slices.Values(w.pending) }

// commit gives a batch its sequences.
func (w *world) commit(b *batch.Batch) {
	b.SetSeq(w.last + 1)
	for r := b.Reader(); ; {
		seq := r.Seq()
		op, ok := next(&r)
		if !ok {
			break
		}
		w.history = append(w.history, write{op.Keyspace, string(op.Key), string(op.Value), op.Kind == base.KindRangeDelete, seq})
		w.last = seq
	}
	w.tr.Record(b)
	w.pending = append(w.pending, b)
}

// drop takes a sequence for the dropping of a keyspace.
func (w *world) drop() {
	ks := w.rng.Uint32N(3)
	w.last++
	w.history = append(w.history, write{ks, "", "", true, w.last})
	w.tr.RecordRange(ks, nil, nil, w.last)
	w.publish(len(w.pending))
	w.visible = w.last
}

func (w *world) publish(n int) {
	for ; n > 0 && len(w.pending) > 0; n-- {
		b := w.pending[0]
		w.pending = w.pending[1:]
		w.visible = b.Seq() + base.SeqNum(b.Count()) - 1
	}
}

// batch draws what a commit writes.
func (w *world) batch() *batch.Batch {
	b := new(batch.Batch)
	n := 1 + w.rng.IntN(3)
	if w.rng.IntN(60) == 0 {
		n = 100
	}
	for range n {
		ks := w.rng.Uint32N(3)
		if lo, hi := testRange(w.rng); w.rng.IntN(8) == 0 {
			_ = b.DeleteRange(ks, []byte(lo), []byte(hi))
		} else {
			_ = b.Add([]base.Kind{base.KindPut, base.KindDelete, base.KindMerge, base.KindSingleDelete}[w.rng.IntN(4)], ks, []byte(testKey(w.rng)), []byte("v"))
		}
	}
	return b
}

// read adds to what a transaction depends on.
func (w *world) read(x *testTxn) {
	ks := w.rng.Uint32N(3)
	lo, hi := testRange(w.rng)
	switch {
	case w.rng.IntN(4) > 0:
		x.model = append(x.model, write{ks, lo, "", false, 1})
		must(w.t, x.Key(ks, []byte(lo)))
	case hi == "" || lo < hi:
		x.model = append(x.model, write{ks, lo, hi, true, 1})
		must(w.t, x.Range(ks, []byte(lo), upperOf(hi)))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// NewestSeq and AnyNewer make world a Tree.
func (w *world) NewestSeq(keyspace uint32, key []byte) (base.SeqNum, error) {
	for i := len(w.history) - 1; i >= 0; i-- {
		if h := &w.history[i]; h.seq <= w.visible && h.touches(keyspace, string(key), string(key)+"\x00") {
			return h.seq, nil
		}
	}
	return 0, nil
}

func (w *world) AnyNewer(keyspace uint32, lo, hi []byte, after base.SeqNum) (bool, error) {
	return w.history.newer(keyspace, string(lo), string(hi), after, w.visible), nil
}

// finish validates a transaction as the engine does and compares with the
// whole history. While the tree is asked, commits go on.
func (w *world) finish(x *testTxn) {
	must(w.t, x.Seal())
	a := w.tr.Validate(&x.Txn, w.last)
	newer := false
	for rounds := 0; a.Verdict == NeedTree; rounds++ {
		w.counts["tree"]++
		if rounds > 0 {
			w.t.Fatal("the tree was needed twice")
		}
		for range w.rng.IntN(4) {
			w.commit(w.batch())
		}
		for w.visible < a.Upto {
			w.publish(1)
		}
		var err error
		if newer, err = x.CheckTree(w); err != nil || newer {
			break
		}
		for range w.rng.IntN(4) {
			w.commit(w.batch())
			w.publish(w.rng.IntN(3))
		}
		if w.rng.IntN(10) == 0 {
			w.drop()
		}
		a = w.tr.Validate(&x.Txn, w.last)
	}
	got := newer || a.Verdict == Conflict
	want := slices.ContainsFunc(x.model, func(m write) bool {
		lo, hi := m.key, m.hi
		if !m.span {
			hi = lo + "\x00"
		}
		return w.history.newer(m.keyspace, lo, hi, x.Snapshot(), w.last)
	})
	if got != want {
		w.t.Fatalf("conflict %v, want %v: snapshot %d, last %d, %+v", got, want, x.Snapshot(), w.last, w.tr.Stats())
	}
	w.counts[fmt.Sprint("conflict ", got)]++
	w.tr.End(&x.Txn)
	if !got {
		w.commit(w.batch())
	}
}

func (w *world) step() {
	switch n := w.rng.IntN(10); {
	case n == 0:
		x := new(testTxn)
		w.tr.Begin(&x.Txn, w.visible, 1<<20, w.queue())
		w.open = append(w.open, x)
	case n < 4:
		w.commit(w.batch())
	case n < 6:
		w.publish(1 + w.rng.IntN(4))
	case n == 6 && w.rng.IntN(8) == 0: // a keyspace is dropped
		w.drop()
	case len(w.open) > 0:
		i := w.rng.IntN(len(w.open))
		x := w.open[i]
		switch {
		case w.rng.IntN(3) > 0:
			w.read(x)
			return
		case w.rng.IntN(4) == 0:
			w.tr.End(&x.Txn)
		default:
			w.finish(x)
		}
		w.open = slices.Delete(w.open, i, i+1)
	}
}

// TestTracker holds every verdict against the whole history, with limits under
// which little, some and nearly everything is forgotten.
func TestTracker(t *testing.T) {
	counts := map[string]int{}
	seeds := uint64(300)
	if testing.Short() {
		seeds = 60
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 4))
		limit := []int{0, 1000, 4000, 20_000, 1 << 20}[seed%5]
		w := &world{t: t, rng: rng, tr: New(limit), counts: counts}
		for i := range 600 {
			w.step()
			if w.tr.rs.bytes > limit {
				t.Fatalf("%d bytes, over %d", w.tr.rs.bytes, limit)
			}
			if i%50 == 0 {
				w.tr.rs.check(t)
			}
		}
		for _, x := range w.open {
			w.tr.End(&x.Txn)
			w.tr.End(&x.Txn)
		}
		if s := w.tr.Stats(); s != (Stats{}) {
			t.Fatalf("seed %d: nothing is open, and %+v", seed, s)
		}
	}
	t.Logf("%v", counts)
	for _, what := range []string{"tree", "conflict true", "conflict false"} {
		if counts[what] < 100 {
			t.Errorf("%s: only %d times", what, counts[what])
		}
	}
}

func put(ks uint32, keys ...string) *batch.Batch {
	b := new(batch.Batch)
	for _, k := range keys {
		_ = b.Put(ks, []byte(k), nil)
	}
	return b
}

// TestPendingCommits begins a transaction while a commit has its sequence and
// is not visible.
func TestPendingCommits(t *testing.T) {
	w := &world{t: t, tr: New(1 << 20)}
	w.commit(put(0, "a"))
	var x Txn
	w.tr.Begin(&x, w.visible, 1<<20, w.queue())
	_ = x.Key(0, []byte("a"))
	must(t, x.Seal())
	if a := w.tr.Validate(&x, w.last); a.Verdict != Conflict {
		t.Errorf("a commit that was on its way is not seen: %+v", a)
	}
}

// TestLongTransaction leaves one open until its history is lost: it costs the
// others nothing from then on, and is validated by the tree.
func TestLongTransaction(t *testing.T) {
	w := &world{t: t, tr: New(10_000)}
	var long Txn
	w.tr.Begin(&long, 0, 1<<20, nil)
	_ = long.Key(0, []byte("mine"))
	for i := range 1000 {
		var x Txn
		w.tr.Begin(&x, w.visible, 1<<20, w.queue())
		_ = x.Key(0, []byte("other"))
		w.commit(put(0, fmt.Sprint("key", i)))
		must(t, x.Seal())
		if a := w.tr.Validate(&x, w.last); a.Verdict != Valid {
			t.Fatalf("a short transaction beside a long one: %+v", a)
		}
		w.tr.End(&x)
		w.publish(1)
	}
	if s := w.tr.Stats(); s.Lost != 1 || s.Records != 0 {
		t.Errorf("%+v", s)
	}
	must(t, long.Seal())
	if a := w.tr.Validate(&long, w.last); a != (Answer{NeedTree, w.last}) {
		t.Fatalf("%+v", a)
	}
	if newer, err := long.CheckTree(w); newer || err != nil {
		t.Fatal(newer, err)
	}
	w.commit(put(0, "yours"))
	if a := w.tr.Validate(&long, w.last); a.Verdict != Valid {
		t.Errorf("%+v", a)
	}
	w.commit(put(0, "mine"))
	if a := w.tr.Validate(&long, w.last); a.Verdict != Conflict {
		t.Errorf("a commit after the tree was asked is not seen: %+v", a)
	}
	w.tr.End(&long)
}

// TestManyKeysAndARange has more keys to order than one validation may.
func TestManyKeysAndARange(t *testing.T) {
	w := &world{t: t, tr: New(64 << 20)}
	var x, y Txn
	w.tr.Begin(&x, 0, 1<<20, nil)
	w.tr.Begin(&y, 0, 1<<20, nil)
	for i := range orderMax + 10 {
		w.commit(put(0, fmt.Sprintf("key%06d", i)))
	}
	for i, z := range []*Txn{&x, &y} {
		must(t, z.Range(0, []byte("kex"), []byte("key")))
		must(t, z.Seal())
		a := w.tr.Validate(z, w.last)
		if want := []Verdict{NeedTree, Valid}[i]; a.Verdict != want {
			t.Errorf("validation %d: %+v, want %v", i, a, want)
		}
	}
	w.tr.End(&y)
	if s := w.tr.Stats(); s != (Stats{Watched: 1}) {
		t.Errorf("only a watched one is open: %+v", s)
	}
	w = &world{t: t, tr: New(64 << 20)}
	var alone Txn
	w.tr.Begin(&alone, 0, 1<<20, nil)
	for i := range orderMax + 10 {
		w.commit(put(0, fmt.Sprintf("key%06d", i)))
	}
	must(t, alone.Range(0, []byte("kex"), []byte("key")))
	must(t, alone.Seal())
	if a, s := w.tr.Validate(&alone, w.last), w.tr.Stats(); a.Verdict != NeedTree || s != (Stats{Watched: 1}) {
		t.Errorf("%+v, and records that are not needed: %+v", a, s)
	}
}

// TestHugeBatch is not recorded key by key under the mutex.
func TestHugeBatch(t *testing.T) {
	w := &world{t: t, tr: New(1 << 20)}
	var x Txn
	w.tr.Begin(&x, 0, 1<<20, nil)
	var b batch.Batch
	for i := range 100_000 {
		_ = b.Put(0, fmt.Append(nil, i), nil)
	}
	w.commit(&b)
	if s := w.tr.Stats(); s.Records != 0 || s.Lost != 1 {
		t.Errorf("%+v", s)
	}
	_ = x.Key(0, []byte("absent"))
	must(t, x.Seal())
	if a := w.tr.Validate(&x, w.last); a.Verdict != NeedTree {
		t.Errorf("who lost his history: %+v", a)
	}
	w.tr.End(&x)
	w.publish(1)
	w.tr.Begin(&x, w.visible, 1<<20, w.queue())
	w.commit(&b)
	must(t, x.Seal())
	if a := w.tr.Validate(&x, w.last); a.Verdict != Valid {
		t.Errorf("who read nothing: %+v", a)
	}
	w.tr.End(&x)
}

type brokenTree struct{ err error }

func (b brokenTree) NewestSeq(uint32, []byte) (base.SeqNum, error) { return 9, b.err }
func (b brokenTree) AnyNewer(uint32, []byte, []byte, base.SeqNum) (bool, error) {
	return false, b.err
}

func TestTreeFails(t *testing.T) {
	damage := errors.New("damage")
	for _, point := range []bool{true, false} {
		var x Txn
		New(0).Begin(&x, 1, 1<<20, nil)
		if point {
			_ = x.Key(0, nil)
		}
		_ = x.Range(0, nil, nil)
		must(t, x.Seal())
		if newer, err := x.CheckTree(brokenTree{damage}); newer || err != damage {
			t.Errorf("%v, %v", newer, err)
		}
	}
}

// TestTreeIsAskedBesideCommits: commits are checked against a transaction while it
// asks the tree, which it does without the mutex; the race detector watches.
func TestTreeIsAskedBesideCommits(t *testing.T) {
	var mu sync.Mutex
	var x Txn
	tr := New(0)
	tr.Begin(&x, 1, 1<<20, nil)
	must(t, x.Key(0, []byte("k")))
	other := put(0, "k")
	other.SetSeq(2)
	tr.Record(other) // more than is remembered
	must(t, x.Seal())
	if a := tr.Validate(&x, 2); a.Verdict != NeedTree {
		t.Fatalf("%+v", a)
	}
	again := put(0, "k")
	again.SetSeq(3)
	var wg sync.WaitGroup
	wg.Go(func() {
		mu.Lock()
		tr.Record(again)
		mu.Unlock()
	})
	if newer, err := x.CheckTree(brokenTree{}); !newer || err != nil {
		t.Errorf("%v, %v", newer, err)
	}
	wg.Wait()
	mu.Lock()
	tr.End(&x)
	mu.Unlock()
	if x.Over() == 0 {
		t.Error("what the conflict was over is not known")
	}
}

func TestMisuse(t *testing.T) {
	for name, f := range map[string]func(*Tracker, *Txn){
		"begins twice": func(tr *Tracker, x *Txn) { tr.Begin(x, 1, 0, nil); tr.Begin(x, 1, 0, nil) },
		"not open":     func(tr *Tracker, x *Txn) { _ = x.Seal(); tr.Validate(x, 1) },
		"not sealed":   func(tr *Tracker, x *Txn) { tr.Begin(x, 1, 0, nil); tr.Validate(x, 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f(New(0), new(Txn))
		}()
	}
}
