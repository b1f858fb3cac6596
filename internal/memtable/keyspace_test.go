package memtable

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// spacesModel is what all keyspaces wrote.
type spacesModel struct {
	entries map[uint32]*model
	ranges  map[uint32][]spaceRange
}

// spaceRange is a range delete; hi is nil where there is no end.
type spaceRange struct {
	lo, hi []byte
	seq    base.SeqNum
}

func (m *spacesModel) of(keyspace uint32) *model {
	if m.entries[keyspace] == nil {
		m.entries[keyspace] = &model{}
	}
	return m.entries[keyspace]
}

// cover is the newest range delete over a key that a read at s sees, or 0.
func (m *spacesModel) cover(keyspace uint32, key []byte, s base.SeqNum) (newest base.SeqNum) {
	for _, r := range m.ranges[keyspace] {
		if r.seq <= s && bytes.Compare(r.lo, key) <= 0 && (r.hi == nil || bytes.Compare(key, r.hi) < 0) {
			newest = max(newest, r.seq)
		}
	}
	return newest
}

// spaceIDs have neighbours, and the last number that a keyspace can have.
var spaceIDs = []uint32{0, 1, 2, 7, math.MaxUint32 - 1}

// fillSpaces applies random batches, and returns the next sequence.
func fillSpaces(t *testing.T, rng *rand.Rand, m *Memtable, want *spacesModel, ids []uint32) base.SeqNum {
	key := func() []byte { return []byte(fmt.Sprintf("%c%c", 'a'+rng.IntN(4), 'a'+rng.IntN(8)))[:rng.IntN(3)] }
	seq := base.SeqNum(1)
	var buf []byte
	for range 12 {
		b := new(batch.Batch)
		for range 1 + rng.IntN(20) {
			id := ids[rng.IntN(len(ids))]
			if rng.IntN(6) > 0 {
				value := []byte(fmt.Sprint(rng.IntN(100)))
				k := key()
				if err := b.Put(id, k, value); err != nil {
					t.Fatal(err)
				}
				want.of(id).add(entry{string(k), base.MakeTrailer(seq, base.KindPut), string(value)})
			} else {
				r := spaceRange{lo: key(), hi: append(key(), 'z'), seq: seq}
				if rng.IntN(3) == 0 {
					r.hi = nil
				} else if bytes.Compare(r.lo, r.hi) > 0 {
					r.lo, r.hi = r.hi, r.lo
				}
				if err := b.DeleteRange(id, r.lo, r.hi); err != nil {
					t.Fatal(err)
				}
				want.ranges[id] = append(want.ranges[id], r)
			}
			seq++
		}
		b.SetSeq(seq - base.SeqNum(b.Count()))
		buf = applyBatch(t, m, b, buf)
	}
	return seq
}

// applyBatch adds a batch within its bound, which the bounds of its operations never
// pass.
func applyBatch(t *testing.T, m *Memtable, b *batch.Batch, buf []byte) []byte {
	if len(b.Keyspaces()) > 0 {
		if err := m.Share(); err != nil {
			t.Fatal(err)
		}
	}
	if !m.BeginWrite() || !m.Reserve(BatchBound(b)) {
		t.Fatal("a memtable with room refuses a batch")
	}
	defer m.EndWrite()
	var a Applier
	a.Init(m, nil, buf, b.RangeDeletes())
	sum := int64(0)
	seq := b.Seq()
	for r := b.Reader(); ; seq++ {
		op, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		a.Add(&op, seq)
		sum += OpBound(&op)
	}
	if sum > BatchBound(b) {
		t.Fatalf("operations are bounded by %d, their batch by %d", sum, BatchBound(b))
	}
	return a.Flush()
}

// TestKeyspaces compares what each keyspace of a memtable shows with a model that
// keeps them in lists of their own.
func TestKeyspaces(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		ids := spaceIDs[:1+rng.IntN(len(spaceIDs))]
		m, err := New(Options{Capacity: 1 << 20, Partitions: 1 << rng.IntN(4)})
		if err != nil {
			t.Fatal(err)
		}
		want := &spacesModel{map[uint32]*model{}, map[uint32][]spaceRange{}}
		if !m.Empty() || m.Keyspaces() != nil {
			t.Fatal("a new memtable is not empty")
		}
		next := fillSpaces(t, rng, m, want, ids)
		m.WaitWriters()
		var others []uint32
		n := 0
		for _, id := range spaceIDs {
			if id != 0 && (len(want.of(id).entries) > 0 || len(want.ranges[id]) > 0) {
				others = append(others, id)
			}
			n += len(want.of(id).entries)
			checkSpace(t, m, want, id, next)
			for range 5 {
				checkSpace(t, m, want, id, base.SeqNum(rng.Int64N(int64(next))))
			}
		}
		if got := m.Keyspaces(); !slices.Equal(got, others) {
			t.Fatalf("keyspaces %v, want %v", got, others)
		}
		if m.Len() != n || m.Empty() != (n == 0 && len(want.ranges) == 0) {
			t.Fatalf("%d entries, empty %v; want %d", m.Len(), m.Empty(), n)
		}
		m.Free()
	}
}

// checkSpace compares one keyspace at one sequence.
func checkSpace(t *testing.T, m *Memtable, want *spacesModel, id uint32, s base.SeqNum) {
	t.Helper()
	list, ranges := m.RangeList(id), m.Ranges(id)
	if (list == nil) != (len(want.ranges[id]) == 0) {
		t.Fatalf("keyspace %d: a list of ranges %v for %d", id, list, len(want.ranges[id]))
	}
	var room RangeRoom
	for a := byte('a' - 1); a < 'f'; a++ {
		for b := byte('a' - 1); b < 'k'; b++ {
			key := []byte{a, b}[:min(2, int(a-'a'+1)+int(b-'a'+1))]
			k := MakeKey(nil, id, key, base.Hash(key))
			trailer, value, ok := m.Get(&k, s)
			e, found := want.of(id).get(string(key), s)
			if ok != found || ok && (trailer != e.t || string(value) != e.value) {
				t.Fatalf("keyspace %d, %q at %d: %v %q %v, want %v", id, key, s, trailer, value, ok, e)
			}
			cover := want.cover(id, key, s)
			if !ranges.None() && ranges.Cover(&k, s) != cover || ranges.None() && cover != 0 {
				t.Fatalf("keyspace %d, %q at %d: not covered at %d", id, key, s, cover)
			}
			got := base.SeqNum(0)
			if list != nil {
				if f := list.Find(key); f != nil {
					got = f.Cover(s)
				}
			}
			next := base.SeqNum(0)
			if !ranges.None() {
				if f, _ := ranges.Next(key, &room); f != nil && f.Contains(key) {
					next = f.Cover(s)
				}
			}
			if got != cover || next != cover {
				t.Fatalf("keyspace %d, %q at %d: covered at %d in the list, by Next at %d, want %d", id, key, s, got, next, cover)
			}
		}
	}
	checkSpaceIters(t, m, want.of(id), id, s)
}

func checkSpaceIters(t *testing.T, m *Memtable, want *model, id uint32, s base.SeqNum) {
	t.Helper()
	var all []entry
	if it := m.AllIter(id); it != nil {
		all = walk(it)
	}
	if !slices.Equal(all, want.all()) {
		t.Fatalf("keyspace %d has %v, want %v", id, all, want.all())
	}
	var iters Iters
	for range 2 { // the room is used again
		iters.Reset(id, 1)
		it := iters.Add(m, s)
		if it == nil {
			if len(want.at(s)) > 0 {
				t.Fatalf("keyspace %d has no iterator", id)
			}
			break
		}
		seen := want.at(s)
		if got := walk(it); !slices.Equal(got, seen) {
			t.Fatalf("keyspace %d at %d shows %v, want %v", id, s, got, seen)
		}
		var back []entry
		for kv := it.Last(); kv != nil; kv = it.Prev() {
			back = append(back, entry{string(kv.Key), kv.Trailer, string(kv.Value)})
		}
		slices.Reverse(back)
		if !slices.Equal(back, seen) {
			t.Fatalf("keyspace %d at %d shows %v going back, want %v", id, s, back, seen)
		}
		if it.Next() == nil != (len(seen) == 0) {
			t.Fatalf("keyspace %d: Next before the first shows nothing", id)
		}
		checkSpaceSeeks(t, it, seen)
	}
	lo, hi := []byte("b"), []byte("d")
	n := uint64(0)
	for _, e := range want.all() {
		if e.key >= "b" && e.key < "d" {
			n++
		}
	}
	if got, _ := m.Estimate(id, lo, hi); got != n {
		t.Fatalf("keyspace %d: estimated %d entries of %d", id, got, n)
	}
	if got, _ := m.Estimate(id, nil, nil); got != uint64(len(want.all())) {
		t.Fatalf("keyspace %d: estimated %d entries of %d", id, got, len(want.all()))
	}
}

func checkSpaceSeeks(t *testing.T, it base.Iterator, seen []entry) {
	t.Helper()
	for _, key := range []string{"", "a", "bd", "cz", "zz"} {
		i, _ := slices.BinarySearchFunc(seen, key, func(e entry, k string) int { return bytes.Compare([]byte(e.key), []byte(k)) })
		kv := it.SeekGE([]byte(key), base.TrailerMax)
		if (kv == nil) != (i == len(seen)) || kv != nil && string(kv.Key) != seen[i].key {
			t.Fatalf("SeekGE(%q) shows %v of %v", key, kv, seen)
		}
		kv = it.SeekLT([]byte(key))
		if (kv == nil) != (i == 0) || kv != nil && string(kv.Key) != seen[i-1].key {
			t.Fatalf("SeekLT(%q) shows %v of %v", key, kv, seen)
		}
	}
}

func walk(it base.Iterator) (out []entry) {
	for kv := it.First(); kv != nil; kv = it.Next() {
		out = append(out, entry{string(kv.Key), kv.Trailer, string(kv.Value)})
	}
	return out
}

// TestKeyspaceHints looks for a hint in its keyspace, and in no other.
func TestKeyspaceHints(t *testing.T) {
	for _, id := range []uint32{0, 1, math.MaxUint32 - 1} {
		m, err := New(Options{Capacity: 1 << 16, Partitions: 1})
		if err != nil {
			t.Fatal(err)
		}
		if shared := m.AddHint(id, []byte("b"), []byte("d"), 5, 0); shared != (id == 0) {
			t.Fatalf("AddHint for keyspace %d without a shared half: %v", id, shared)
		}
		if err := m.Share(); err != nil {
			t.Fatal(err)
		}
		m.AddHint(id, []byte("b"), []byte("d"), 5, 0)
		m.AddHint(id, []byte("f"), []byte("g"), 6, 100)
		var room RangeRoom
		find := func(r Ranges, key string) bool {
			if r.None() {
				return false
			}
			f, clean := r.Next([]byte(key), &room)
			return f != nil && clean && f.Contains([]byte(key))
		}
		for _, other := range []uint32{0, 1, 2, math.MaxUint32 - 1} {
			own := other == id
			dead, expired := m.Hints(other), m.ExpiredHints(other, 100)
			if find(dead, "c") != own || find(dead, "e") || find(expired, "f") != own || find(expired, "c") {
				t.Errorf("keyspace %d: hints of keyspace %d are wrong", other, id)
			}
			if !m.ExpiredHints(other, 99).None() {
				t.Errorf("keyspace %d: a hint that was found at 100 is there at 99", other)
			}
		}
		m.Free()
	}
}
