package txn

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

// check walks everything and fails where it does not fit together.
func (rs *records) check(t *testing.T) {
	t.Helper()
	size, n, keys, spans := 0, 0, 0, 0
	var before *record
	passed := false
	for r := rs.oldest; r != nil; before, r = r, r.newer {
		passed = passed || r == rs.unordered
		switch {
		case r.older != before:
			t.Fatal("the list is not linked back")
		case before != nil && before.seq > r.seq:
			t.Fatalf("sequence %d is listed behind %d", r.seq, before.seq)
		case !r.span && !r.ordered && !passed:
			t.Fatal("a key that is not in the tree lies before the mark")
		case !r.span && rs.find(r.hash, r.keyspace, r.key) != r:
			t.Fatalf("%q is not found by its hash", r.key)
		}
		size += r.size()
		n++
		if r.span {
			spans++
		} else if r.ordered {
			keys++
		}
	}
	if before != rs.newest || size != rs.bytes || n != rs.n {
		t.Fatalf("%d records of %d bytes, counted %d of %d", n, size, rs.n, rs.bytes)
	}
	if k, s := rs.keys.check(t), rs.spans.check(t); k != keys || s != spans {
		t.Fatalf("%d keys and %d spans in the trees, %d and %d in the list", k, s, keys, spans)
	}
}

// check checks a treap and returns its size.
func (tr *tree) check(t *testing.T) (n int) {
	var last *record
	var walk func(r, up *record)
	walk = func(r, up *record) {
		if r == nil {
			return
		}
		if r.up != up || up != nil && up.prio < r.prio || r.max != r.newestBelow() {
			t.Fatalf("the tree is bent at %q: max %d, should be %d", r.key, r.max, r.newestBelow())
		}
		walk(r.left, r)
		n++
		if last != nil {
			if last.compare(r.keyspace, base.Head(r.key), r.key) >= 0 {
				t.Fatalf("%q before %q", last.key, r.key)
			}
			if last.span && last.keyspace == r.keyspace && (last.endless || bytes.Compare(last.hi, r.key) > 0) {
				t.Fatalf("spans overlap: [%q, %q) and %q", last.key, last.hi, r.key)
			}
		}
		last = r
		walk(r.right, r)
	}
	walk(tr.root, nil)
	return n
}

// writes is the model: everything that was ever written, in order.
type writes []write

type write struct {
	keyspace uint32
	key, hi  string
	span     bool // [key, hi), hi "" being no end
	seq      base.SeqNum
}

func (w *write) touches(keyspace uint32, lo, hi string) bool { // [lo, hi), hi "" no end
	if w.keyspace != keyspace || lo >= hi && hi != "" {
		return false
	}
	if w.span {
		return (w.hi == "" || w.hi > lo) && (hi == "" || w.key < hi) && (w.hi == "" || w.key < w.hi)
	}
	return w.key >= lo && (hi == "" || w.key < hi)
}

// newer reports whether a write in (after, upto] touches [lo, hi).
func (ws writes) newer(keyspace uint32, lo, hi string, after, upto base.SeqNum) bool {
	for i := len(ws) - 1; i >= 0 && ws[i].seq > after; i-- {
		if ws[i].seq <= upto && ws[i].touches(keyspace, lo, hi) {
			return true
		}
	}
	return false
}

// testKey draws a key of a small space, some of which share their first eight
// bytes or are prefixes of one another.
func testKey(rng *rand.Rand) string {
	n := rng.IntN(30)
	switch rng.IntN(8) {
	case 0:
		return ""
	case 1:
		return "\x00"
	case 2:
		return "sameprefix" + fmt.Sprint(n)
	case 3:
		return "k\x00\x00"[:1+n%3]
	}
	return fmt.Sprintf("k%02d", n)
}

func testRange(rng *rand.Rand) (lo, hi string) {
	lo, hi = testKey(rng), testKey(rng)
	if rng.IntN(3) == 0 {
		hi = lo + string(rune('a'+rng.IntN(3)))
	}
	return lo, hi
}

func upperOf(hi string) []byte { return upper([]byte(hi)) }

// TestRecords writes and forgets at random and compares every answer with a
// list of all writes.
func TestRecords(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var rs records
		var model writes
		floor := base.SeqNum(0)
		for seq := base.SeqNum(1); seq < 300; seq++ {
			ks := rng.Uint32N(3)
			switch rng.IntN(12) {
			case 0, 1, 2:
				lo, hi := testRange(rng)
				if hi == "" || lo < hi {
					rs.putSpan(ks, []byte(lo), upperOf(hi), seq)
					model = append(model, write{ks, lo, hi, true, seq})
				}
			case 3:
				rs.order(rng.IntN(20))
			case 4:
				for floor = max(floor, seq-min(seq, base.SeqNum(rng.IntN(60)))); rs.oldest != nil && rs.oldest.seq <= floor; {
					rs.drop(rs.oldest)
				}
			case 5:
				if rng.IntN(20) == 0 {
					rs.reset()
					floor = seq
				}
			default:
				k := testKey(rng)
				rs.put(ks, []byte(k), seq)
				model = append(model, write{ks, k, "", false, seq})
			}
			if seq%5 == 0 {
				rs.check(t)
				compareRecords(t, rng, &rs, model, floor, seq)
			}
		}
	}
}

func compareRecords(t *testing.T, rng *rand.Rand, rs *records, model writes, floor, last base.SeqNum) {
	t.Helper()
	all := rng.IntN(2) == 0 && rs.order(1<<30)
	for range 10 {
		ks, k := rng.Uint32N(3), testKey(rng)
		after := floor + base.SeqNum(rng.IntN(int(last-floor)+1))
		r := rs.find(keyHash(ks, []byte(k)), ks, []byte(k))
		got := r != nil && r.seq > after || rs.spanNewer(ks, []byte(k), after) > after
		if want := model.newer(ks, k, k+"\x00", after, last); got != want {
			t.Fatalf("key %d/%q after %d: %v, want %v", ks, k, after, got, want)
		}
		lo, hi := testRange(rng)
		if !all || hi != "" && lo >= hi {
			continue
		}
		g := Range{ks, []byte(lo), upperOf(hi)}
		got = rs.keys.anyNewer(&g, after) > after || rs.spanOverlaps(&g, after) > after
		if want := model.newer(ks, lo, hi, after, last); got != want {
			t.Fatalf("range %d/[%q, %q) after %d: %v, want %v", ks, lo, hi, after, got, want)
		}
	}
}

// TestQueueLeavesFewSpans deletes from the front of a queue again and again.
func TestQueueLeavesFewSpans(t *testing.T) {
	var rs records
	for i := range 10_000 {
		rs.putSpan(0, []byte("q"), fmt.Appendf(nil, "q%06d", i), base.SeqNum(i+1))
	}
	if rs.check(t); rs.n > 2 {
		t.Errorf("%d spans", rs.n)
	}
}

// TestRecordsStayShallow puts keys in ascending order.
func TestRecordsStayShallow(t *testing.T) {
	var rs records
	for i := range 1 << 14 {
		rs.put(0, fmt.Appendf(nil, "key%08d", i), base.SeqNum(i+1))
	}
	rs.order(1 << 20)
	var depth func(*record) int
	depth = func(r *record) int {
		if r == nil {
			return 0
		}
		return 1 + max(depth(r.left), depth(r.right))
	}
	if d := depth(rs.keys.root); d > 50 {
		t.Errorf("the tree of %d keys is %d deep", rs.n, d)
	}
	rs.check(t)
}

// TestTree puts in and takes out what no order of sequences would.
func TestTree(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 6))
		var tr tree
		var in []*record
		for range 300 {
			if i := rng.IntN(60); i < len(in) {
				tr.remove(in[i])
				in[i] = in[len(in)-1]
				in = in[:len(in)-1]
			} else {
				r := &record{seq: base.SeqNum(rng.IntN(1000)), prio: rng.Uint32()}
				r.setKey(rng.Uint32N(3), fmt.Appendf(nil, "key%06d", rng.IntN(1e6)))
				if p := tr.atMost(r.keyspace, r.key); p == nil || p.compare(r.keyspace, r.prefix, r.key) != 0 {
					tr.insert(r)
					in = append(in, r)
				}
			}
			if n := tr.check(t); n != len(in) {
				t.Fatalf("%d in the tree of %d", n, len(in))
			}
		}
	}
}
