package txn

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// bank is a store of versions with a pipeline: a mutex, and commits that become
// visible some time after they got their sequences, by goroutines of their own.
type bank struct {
	mu       sync.Mutex
	cond     *sync.Cond
	tr       *Tracker
	versions map[string][]version // ascending by seq
	last     base.SeqNum
	visible  base.SeqNum
	pending  []*batch.Batch
	trees    int
}

type version struct {
	seq   base.SeqNum
	value uint64
}

func (b *bank) read(key string, at base.SeqNum) uint64 {
	runtime.Gosched() // so that transactions overlap
	b.mu.Lock()
	defer b.mu.Unlock()
	vs := b.versions[key]
	for i := len(vs) - 1; i >= 0; i-- {
		if vs[i].seq <= at {
			return vs[i].value
		}
	}
	return 0
}

// NewestSeq and AnyNewer make bank a Tree.
func (b *bank) NewestSeq(_ uint32, key []byte) (base.SeqNum, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if vs := b.versions[string(key)]; len(vs) > 0 {
		return vs[len(vs)-1].seq, nil
	}
	return 0, nil
}

func (b *bank) AnyNewer(_ uint32, lo, hi []byte, after base.SeqNum) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, vs := range b.versions {
		if k >= string(lo) && (hi == nil || k < string(hi)) && vs[len(vs)-1].seq > after {
			return true, nil
		}
	}
	return false, nil
}

func (b *bank) begin(x *Txn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tr.Begin(x, b.visible, 1<<20, func(yield func(*batch.Batch) bool) {
		for _, p := range b.pending {
			if !yield(p) {
				return
			}
		}
	})
}

// commit runs the protocol of the package comment.
func (b *bank) commit(t *testing.T, x *Txn, w *batch.Batch) bool {
	if err := x.Seal(); err != nil {
		t.Error(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.tr.Validate(x, b.last)
	for a.Verdict == NeedTree {
		b.trees++
		for b.visible < a.Upto {
			b.cond.Wait()
		}
		b.mu.Unlock()
		newer, _ := x.CheckTree(b)
		b.mu.Lock()
		if newer {
			a.Verdict = Conflict
			break
		}
		a = b.tr.Validate(x, b.last)
	}
	b.tr.End(x)
	if a.Verdict != Valid {
		return false
	}
	w.SetSeq(b.last + 1)
	b.last += base.SeqNum(w.Count())
	b.tr.Record(w)
	b.pending = append(b.pending, w)
	b.cond.Broadcast()
	for end := b.last; b.visible < end; {
		b.cond.Wait()
	}
	return true
}

// apply makes commits visible until there are no more to come.
func (b *bank) apply(done *bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for len(b.pending) == 0 {
			if *done {
				return
			}
			b.cond.Wait()
		}
		w := b.pending[0]
		for r := w.Reader(); ; {
			seq := r.Seq()
			op, ok := next(&r)
			if !ok {
				break
			}
			b.versions[string(op.Key)] = append(b.versions[string(op.Key)], version{seq, binary.LittleEndian.Uint64(op.Value)})
			b.visible = seq
		}
		b.pending = b.pending[1:]
		b.cond.Broadcast()
		b.mu.Unlock() // let others in
		b.mu.Lock()
	}
}

// TestBank moves money between accounts in many concurrent goroutines, some of which read
// all accounts as a range. A transaction may only move what the rule allows: the sum of all
// accounts stays the same, and that of every pair stays at 100 or more, which write skew
// would break.
func TestBank(t *testing.T) {
	for _, limit := range []int{0, 700, 1 << 20} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) { runBank(t, limit) })
	}
}

func runBank(t *testing.T, limit int) {
	const accounts, start = 6, 100
	b := &bank{tr: New(limit), versions: map[string][]version{}, last: 1, visible: 1}
	b.cond = sync.NewCond(&b.mu)
	for i := range accounts {
		b.versions[fmt.Sprint("a", i)] = []version{{1, start}}
	}
	var done bool
	var applier, clients sync.WaitGroup
	applier.Go(func() { b.apply(&done) })
	var committed, conflicts [4]int
	for c := range 4 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(c), 5))
			var x Txn
			for range 400 {
				b.begin(&x)
				var w batch.Batch
				b.move(t, rng, &x, &w)
				if b.commit(t, &x, &w) {
					committed[c]++
				} else {
					conflicts[c]++
				}
			}
		})
	}
	clients.Wait()
	b.mu.Lock()
	done = true
	b.cond.Broadcast()
	b.mu.Unlock()
	applier.Wait()
	t.Logf("committed %v, conflicts %v, %d asked the tree", committed, conflicts, b.trees)
	if (b.trees > 0) != (limit < 1<<20) {
		t.Errorf("with limit %d the tree was asked %d times", limit, b.trees)
	}
	b.audit(t, accounts)
}

// move withdraws from one account of a pair what the pair has above 100, or
// pays in; a client that looks at all accounts writes down their sum.
func (b *bank) move(t *testing.T, rng *rand.Rand, x *Txn, w *batch.Batch) {
	number := func(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
	if rng.IntN(4) == 0 {
		sum := uint64(0)
		must(t, x.Range(0, []byte("a"), []byte("b")))
		for i := range 6 {
			sum += b.read(fmt.Sprint("a", i), x.Snapshot())
		}
		_ = w.Put(0, []byte("sum"), number(sum))
		return
	}
	pair := 2 * rng.IntN(3)
	k1, k2 := fmt.Sprint("a", pair), fmt.Sprint("a", pair+1)
	must(t, x.Key(0, []byte(k1)))
	must(t, x.Key(0, []byte(k2)))
	v1, v2 := b.read(k1, x.Snapshot()), b.read(k2, x.Snapshot())
	key, v := k1, v1
	if rng.IntN(2) == 0 {
		key, v = k2, v2
	}
	if over := min(v, max(v1+v2, 100)-100); over > 0 && rng.IntN(3) > 0 {
		_ = w.Put(0, []byte(key), number(v-over))
	} else {
		_ = w.Put(0, []byte(key), number(v+30))
	}
}

// audit replays the history in the order of sequences: at each moment every
// pair holds, and each sum that was written down is the true one.
func (b *bank) audit(t *testing.T, accounts int) {
	sums := 0
	for seq := base.SeqNum(1); seq <= b.last; seq++ {
		var total uint64
		for i := 0; i < accounts; i += 2 {
			pair := b.read(fmt.Sprint("a", i), seq) + b.read(fmt.Sprint("a", i+1), seq)
			if pair < 100 {
				t.Fatalf("at %d the pair of account %d holds %d", seq, i, pair)
			}
			total += pair
		}
		for _, v := range b.versions["sum"] {
			if v.seq == seq {
				if sums++; v.value != total {
					t.Fatalf("at %d the sum is %d, and was written down as %d", seq, total, v.value)
				}
			}
		}
	}
	if sums == 0 {
		t.Error("no sum was ever written down")
	}
}
