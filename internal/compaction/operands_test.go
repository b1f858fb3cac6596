package compaction

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// adder is a merger of counters. Partial answers false if apart.
type adder struct {
	apart bool
	calls *int
}

func (adder) Name() string { return "add" }

func (a adder) Full(dst, _, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	var sum uint64
	if exists {
		sum = binary.LittleEndian.Uint64(existing)
	}
	for _, o := range operands {
		sum += binary.LittleEndian.Uint64(o)
	}
	return binary.LittleEndian.AppendUint64(dst, sum), nil
}

func (a adder) Partial(dst, _, older, newer []byte) ([]byte, bool, error) {
	if a.calls != nil {
		*a.calls++
	}
	return binary.LittleEndian.AppendUint64(dst, binary.LittleEndian.Uint64(older)+binary.LittleEndian.Uint64(newer)), !a.apart, nil
}

// operandIter shows n operands of one key and a value under them, made as they
// are asked for.
type operandIter struct {
	base.Iterator
	n       int
	operand []byte
	bottom  base.Kind
	kv      base.KV
}

func (it *operandIter) Err() error { return nil }
func (it *operandIter) First() *base.KV {
	it.kv = base.KV{Key: []byte("counter"), Trailer: base.MakeTrailer(base.SeqNum(it.n)+2, 0)}
	return it.Next()
}
func (it *operandIter) Next() *base.KV {
	s := it.kv.Trailer.Seq() - 1
	switch {
	case s == 0:
		return nil
	case s == 1:
		it.kv.Trailer, it.kv.Value = base.MakeTrailer(s, it.bottom), it.operand
	default:
		it.kv.Trailer, it.kv.Value = base.MakeTrailer(s, base.KindMerge), it.operand
	}
	return &it.kv
}

// TestRunMillionOperands: a key with a million operands takes little memory to
// collapse if they combine, and no more than maxHeld if they do not.
func TestRunMillionOperands(t *testing.T) {
	const n = 1_000_000
	for _, c := range []struct {
		name    string
		merger  base.Merger
		size    int
		bottom  base.Kind
		entries uint64 // most that may be left
		alloc   uint64 // bytes allocated, all together
		peak    uint64 // bytes in the heap at once
	}{
		{"onto a value", adder{}, 8, base.KindPut, 1, 4 << 20, 1 << 20},
		{"among themselves", adder{}, 8, base.KindMerge, 1, 4 << 20, 1 << 20},
		{"that do not combine", adder{apart: true}, 8, base.KindPut, n - 100_000, 1 << 40, 3 * maxHeld},
		{"that make a long list", joiner{}, 64, base.KindMerge, 300, 1 << 40, 3*maxHeld + 16<<20},
	} {
		t.Run(c.name, func(t *testing.T) {
			it := &operandIter{n: n, operand: make([]byte, c.size), bottom: c.bottom}
			it.operand[0] = 1
			newTable := func() (TableOutput, error) {
				w := sstable.NewWriter(io.Discard, sstable.WriterOptions{ID: tableID(1), PageSize: 4096})
				return TableOutput{tableID(1), w, func() error { return nil }, func() {}}, nil
			}
			runtime.GC()
			var before, now runtime.MemStats
			runtime.ReadMemStats(&before)
			peak, polls := uint64(0), 0
			res, err := Run(context.Background(), RunOptions{Input: it, Snapshots: []base.SeqNum{1 << 40}, MaxTableSize: 1 << 30, Merger: c.merger, NewTable: newTable,
				Progress: func(int) {
					if polls++; polls%16 == 0 { // each stops the world
						runtime.GC()
						runtime.ReadMemStats(&now)
						peak = max(peak, now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc))
					}
				}})
			if err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&now)
			if out := res.Stats.EntriesOut; out > c.entries || res.Stats.Merged != n+1-out {
				t.Errorf("%d entries are left, %d merged", out, res.Stats.Merged)
			}
			if alloc := now.TotalAlloc - before.TotalAlloc; alloc > c.alloc || peak > c.peak {
				t.Errorf("%d bytes allocated, %d at once", alloc, peak)
			} else {
				t.Logf("%d entries, %d KiB allocated, %d KiB at once", res.Stats.EntriesOut, alloc>>10, peak>>10)
			}
		})
	}
}

// TestRunOperandsOverflow: operands that do not combine and are more than is
// held lose neither order nor number.
func TestRunOperandsOverflow(t *testing.T) {
	var in []entry
	want := []byte("0")
	big := bytes.Repeat([]byte{'x'}, 1<<20)
	n := maxHeld/len(big) + maxHeld/len(big)/2
	for i := range n {
		v := append(fmt.Appendf(nil, " %d ", i), big...)
		in = append(in, entry{"k", base.MakeTrailer(base.SeqNum(i+2), base.KindMerge), v})
		want = append(want, v...)
	}
	slices.SortFunc(in, compareEntries)
	in = append(in, entry{"k", base.MakeTrailer(1, base.KindPut), []byte("0")})
	s := newShop(t)
	for round := 0; len(in) > 1; round++ {
		if round == 4 {
			t.Fatalf("%d entries are left after %d rounds", len(in), round)
		}
		o := RunOptions{Input: &sliceIter{entries: in}, Snapshots: []base.SeqNum{1000}, MaxTableSize: 1 << 30, NewTable: s.newTable, Merger: joiner{}}
		res, err := Run(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		in = s.checkShape(res, &o)
		w := world{entries: in}
		if got := w.read("k", 1000, 0); got != "value "+string(want) {
			t.Fatalf("round %d: %d entries, %d bytes, want %d", round, len(in), len(got), len(want))
		}
		if round == 0 && len(in) == 1 {
			t.Error("all operands were held at once")
		}
	}
}

// TestFolderAsksOnce: operands that do not combine are not asked for again and
// again.
func TestFolderAsksOnce(t *testing.T) {
	calls := 0
	f := OperandMerger{merger: adder{apart: true, calls: &calls}}
	for i := range 1000 {
		f.push(nil, make([]byte, 8), base.SeqNum(1000-i))
	}
	f.combineAll(nil)
	if len(f.ops) != 1000 || calls > 1000 {
		t.Errorf("%d operands, %d calls", len(f.ops), calls)
	}
}

// TestFolderLeavesLong: what is long already is not copied for each operand more.
func TestFolderLeavesLong(t *testing.T) {
	f := OperandMerger{merger: joiner{}}
	for i := range 8 {
		f.push(nil, make([]byte, maxCombined/3), base.SeqNum(100-i))
	}
	f.combineAll(nil)
	for _, o := range f.ops {
		if len(o.data) > maxCombined {
			t.Errorf("an operand of %d bytes", len(o.data))
		}
	}
	if len(f.ops) != 4 {
		t.Errorf("%d operands", len(f.ops))
	}
}

// keeperOfInputs is a merger that breaks the rule about aliases.
type keeperOfInputs struct{ adder }

func (keeperOfInputs) Partial(_, _, older, newer []byte) ([]byte, bool, error) {
	return newer, true, nil
}

// TestFolderAliases: a merger that returns its input does not ruin what is held.
func TestFolderAliases(t *testing.T) {
	f := OperandMerger{merger: keeperOfInputs{}}
	for i := range 100 {
		f.push(nil, fmt.Appendf(nil, "operand %d", i), base.SeqNum(1000-i))
	}
	f.combineAll(nil)
	if len(f.ops) != 1 || string(f.ops[0].data) != "operand 0" || f.ops[0].n != 100 || f.ops[0].seq != 1000 {
		t.Errorf("%+v", f.ops)
	}
}
