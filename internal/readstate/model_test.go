package readstate_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/observe"
)

// The model remembers every operation. It knows of the tree only up to which sequence
// the generations were flushed, since long values lie in value files from there on.

const valuesFrom = 24

type entry struct {
	key    string
	t      base.Trailer
	value  string
	expiry uint64
}

type tombstone struct {
	lo, hi string // hi is "" where there is no end
	seq    base.SeqNum
}

func (d *tombstone) covers(key string) bool { return d.lo <= key && (d.hi == "" || key < d.hi) }

// keyspace is what the model has of one.
type keyspace struct {
	entries []entry // in the order of commits
	ranges  []tombstone
}

// newest is the newest entry of a key up to a sequence, and the newest tombstone over it.
func (k *keyspace) newest(key string, at base.SeqNum) (e *entry, cover base.SeqNum) {
	for i := range k.entries {
		if c := &k.entries[i]; c.key == key && c.t.Seq() <= at {
			e = c
		}
	}
	for _, d := range k.ranges {
		if d.covers(key) && d.seq <= at {
			cover = d.seq
		}
	}
	return e, cover
}

// read is what a Query must find.
func (k *keyspace) read(key string, at base.SeqNum, time uint64, flushed base.SeqNum) found {
	e, cover := k.newest(key, at)
	if e == nil || cover > e.t.Seq() {
		return found{}
	}
	switch kind := e.t.Kind(); {
	case kind == base.KindMerge:
		return found{out: readstate.Operand}
	case kind == base.KindDelete, kind == base.KindSingleDelete, kind == base.KindPutTTL && e.expiry <= time:
		return found{}
	case len(e.value) >= valuesFrom && e.t.Seq() <= flushed:
		return found{readstate.Pointer, e.value}
	}
	return found{readstate.Plain, e.value}
}

// machine is a rig beside its model.
type machine struct {
	*readstatetest.Rig
	*rand.Rand
	spaces  map[uint32]*keyspace
	flushed base.SeqNum
	keepAll bool
	snaps   []readstate.Point
}

var spaceIDs = []uint32{0, 1, 300}

func (m *machine) key() string {
	k := fmt.Sprintf("key%02d", m.IntN(30))
	return k[:3+m.IntN(3)] // prefixes of others too
}

// commit draws a batch.
func (m *machine) commit() {
	var b batch.Batch
	for range 1 + m.IntN(6) {
		id := spaceIDs[m.IntN(len(spaceIDs))]
		k, key, seq := m.spaces[id], m.key(), m.Seq+base.SeqNum(b.Count())+1
		e := entry{key: key, value: fmt.Sprint(seq)}
		if m.IntN(3) == 0 {
			e.value += strings.Repeat("v", valuesFrom)
		}
		kind := base.KindPut
		switch m.IntN(12) {
		case 0, 1:
			kind, e.value = base.KindDelete, ""
		case 2:
			kind, e.value = base.KindMerge, "+"
		case 3, 4:
			kind, e.expiry = base.KindPutTTL, m.Time()+100*uint64(m.IntN(20)) // often just when it is asked for
			m.Check(b.PutTTL(id, []byte(key), []byte(e.value), e.expiry))
		case 5:
			d := tombstone{key, m.key(), seq}
			if m.IntN(8) == 0 {
				d.hi = ""
			} else if d.hi <= d.lo {
				d.hi = d.lo + "\x00"
			}
			m.Check(b.DeleteRange(id, []byte(d.lo), []byte(d.hi)))
			k.ranges = append(k.ranges, d)
			continue
		case 6:
			if last, cover := k.newest(key, seq); m.keepAll && last != nil && cover < last.t.Seq() && last.t.Kind() == base.KindPut {
				kind, e.value = base.KindSingleDelete, ""
			}
		}
		if kind != base.KindPutTTL {
			m.Check(b.Add(kind, id, []byte(key), []byte(e.value)))
		}
		e.t = base.MakeTrailer(seq, kind)
		k.entries = append(k.entries, e)
	}
	m.Write(&b)
}

// step moves what is there, or draws a commit.
func (m *machine) step() {
	switch m.IntN(60) {
	case 0, 1, 2, 3:
		m.Rotate()
	case 4, 5:
		if gens := m.Store.Current().Imm; len(gens) > 0 {
			m.flushed = gens[0].LastSeq
			m.Flush()
		}
	case 6, 7:
		from := m.IntN(3)
		m.Compact(spaceIDs[m.IntN(len(spaceIDs))], from, from+1+m.IntN(2))
	case 8:
		m.SetTime(m.Time() + 100*uint64(m.IntN(10)))
	case 9:
		m.snaps = append(m.snaps, m.Store.Snapshots.Take(new(readstate.Hold)))
	case 10:
		if len(m.snaps) > 2 {
			m.Store.Snapshots.Drop(m.snaps[0])
			m.snaps = m.snaps[1:]
		}
	default:
		m.commit()
	}
}

// check compares what can be asked.
func (m *machine) check() {
	m.Helper()
	s, shard := m.Store.Keep()
	defer s.LetGo(shard)
	for range 40 {
		id, key := spaceIDs[m.IntN(len(spaceIDs))], m.key()
		k := m.spaces[id]
		m.checkRead(id, key, readstate.Newest)
		if m.keepAll {
			m.checkRead(id, key, readstate.Point{Seq: base.SeqNum(m.IntN(int(m.Seq + 2))), Time: m.Time() - 1000 + 100*uint64(m.IntN(20))})
		}
		if len(m.snaps) > 0 {
			m.checkRead(id, key, m.snaps[m.IntN(len(m.snaps))])
		}
		wantSeq := base.SeqNum(0)
		if e, cover := k.newest(key, m.Seq); e != nil {
			wantSeq = max(e.t.Seq(), cover)
		} else {
			wantSeq = cover
		}
		got, err := s.NewestSeq(id, []byte(key))
		if err != nil || got != wantSeq {
			m.Fatalf("newest sequence of %q in %d: %d %v, want %d", key, id, got, err, wantSeq)
		}
		m.checkRange(s, id)
	}
}

func (m *machine) checkRead(id uint32, key string, at readstate.Point) {
	m.Helper()
	seq, time := min(at.Seq, m.Seq), at.Time
	if time == 0 {
		time = m.Time()
	}
	want := m.spaces[id].read(key, seq, time, m.flushed)
	if got, err := read(m.Store, id, key, at); err != nil || got != want {
		m.Fatalf("read of %q in %d at %d, %d: %v %v, want %v", key, id, seq, time, got, err, want)
	}
}

// checkRange compares what is said of a range of keys.
func (m *machine) checkRange(s *readstate.State, id uint32) {
	m.Helper()
	var lo, hi []byte
	if m.IntN(4) > 0 {
		lo = []byte(m.key())
	}
	if m.IntN(4) > 0 {
		hi = []byte(m.key())
	}
	in := func(key string) bool { return key >= string(lo) && (hi == nil || key < string(hi)) }
	after := base.SeqNum(m.IntN(int(m.Seq + 1)))
	newer, mem, stored := false, uint64(0), uint64(0)
	for _, e := range m.spaces[id].entries {
		switch {
		case !in(e.key):
			continue
		case e.t.Seq() > m.flushed:
			mem++
		default:
			stored++
		}
		newer = newer || e.t.Seq() > after
	}
	for _, d := range m.spaces[id].ranges {
		newer = newer || d.seq > after && (d.hi == "" || d.hi > string(lo)) && (hi == nil || d.lo < string(hi))
	}
	if hi != nil && bytes.Compare(hi, lo) <= 0 {
		if est, err := s.Estimate(id, lo, hi); err != nil || est != (observe.RangeEstimate{}) {
			m.Fatalf("estimate of nothing: %+v %v", est, err)
		}
		return
	}
	if got, err := s.AnyNewer(id, lo, hi, after); err != nil || got != newer {
		m.Fatalf("anything newer than %d in %q to %q of %d: %v %v", after, lo, hi, id, got, err)
	}
	if m.keepAll {
		m.checkEstimate(s, id, lo, hi, mem, stored)
	}
}

// checkEstimate checks an estimate against how many entries memtables and tables have in
// a range: it may be wrong in the tables that lo or hi cut, by all that they have.
func (m *machine) checkEstimate(s *readstate.State, id uint32, lo, hi []byte, mem, stored uint64) {
	m.Helper()
	got, err := s.Estimate(id, lo, hi)
	m.Check(err)
	var bytesIn, valuesIn, bytesCut, valuesCut, cut uint64
	m.Version.Tree(id).All(func(_ int, f *manifest.FileMeta) bool {
		switch {
		case f.EndsBefore(lo) || hi != nil && bytes.Compare(f.Smallest, hi) >= 0:
		case bytes.Compare(f.Smallest, lo) >= 0 && (hi == nil || f.EndsBefore(hi)):
			bytesIn += f.Size
			valuesIn += f.ValueBytes()
		default:
			bytesCut += f.Size
			valuesCut += f.ValueBytes()
			cut += f.Entries
		}
		return true
	})
	between := func(what string, n, least, most uint64) {
		m.Helper()
		if n < least || n > most {
			m.Fatalf("%s in %q to %q of %d: %d, want %d to %d", what, lo, hi, id, n, least, most)
		}
	}
	between("entries", got.Entries+cut, mem+stored, mem+stored+2*cut)
	between("bytes of tables", got.TableBytes, bytesIn, bytesIn+bytesCut)
	between("bytes of values", got.ValueBytes, valuesIn, valuesIn+valuesCut)
	if (got.MemtableBytes > 0) != (mem > 0) {
		m.Fatalf("%d bytes of memtables for %d entries", got.MemtableBytes, mem)
	}
}

// checkRuns walks every run, which has the entries of one stretch of sequences.
func (m *machine) checkRuns() {
	m.Helper()
	s, shard := m.Store.Keep()
	defer s.LetGo(shard)
	for _, id := range spaceIDs {
		for _, level := range s.Levels(id) {
			for i := range level {
				m.checkRun(s, id, level[i].Tables)
			}
		}
	}
}

func (m *machine) checkRun(s *readstate.State, id uint32, tables []*readstate.Table) {
	m.Helper()
	first, last := base.SeqNumMax, base.SeqNum(0)
	for _, t := range tables {
		first, last = min(first, t.Meta.SmallestSeq), max(last, t.Meta.LargestSeq)
	}
	var list []entry
	for _, e := range m.spaces[id].entries {
		if q := e.t.Seq(); first <= q && q <= last {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return base.Compare([]byte(a.key), a.t, []byte(b.key), b.t) })
	it := new(readstate.RunIter)
	it.Init(tables, sstable.IterOptions{}, nil)
	m.walk(s, it, list)
	m.Check(it.Close())
	upper := m.key()
	it.Init(tables, sstable.IterOptions{}, []byte(upper))
	at := 0
	for kv := it.First(); kv != nil && string(kv.Key) < upper; kv = it.Next() {
		m.sameEntry(s, "walk to "+upper, kv, list, at)
		at++
	}
	if at < len(list) && list[at].key < upper {
		m.Fatalf("the walk to %q ends before %q", upper, list[at].key)
	}
	m.Check(it.Close())
}

// walk compares an iterator with the list of what it shows.
func (m *machine) walk(s *readstate.State, it base.Iterator, list []entry) {
	m.Helper()
	pos, placed := 0, false
	search := func(key string, t base.Trailer) int {
		i, _ := slices.BinarySearchFunc(list, 0, func(e entry, _ int) int { return base.Compare([]byte(e.key), e.t, []byte(key), t) })
		return i
	}
	for range 80 {
		var kv *base.KV
		what := ""
		switch op := m.IntN(16); {
		case op == 0 || op < 10 && op%2 == 0 && !placed:
			what, kv, pos = "First or Next", it.First(), 0
		case op == 1 || op < 10 && !placed:
			what, kv, pos = "Last or Prev", it.Last(), len(list)-1
		case op < 10 && op%2 == 0:
			what, kv, pos = "Next", it.Next(), min(pos+1, len(list))
		case op < 10:
			what, kv, pos = "Prev", it.Prev(), max(pos-1, -1)
		case op < 13:
			key, t := m.key(), base.TrailerMax
			if m.IntN(2) == 0 {
				t = base.SeekTrailer(base.SeqNum(m.IntN(int(m.Seq + 1))))
			}
			what, kv, pos = fmt.Sprintf("SeekGE %q %v", key, t), it.SeekGE([]byte(key), t), search(key, t)
		default:
			key := m.key()
			what, kv, pos = fmt.Sprintf("SeekLT %q", key), it.SeekLT([]byte(key)), search(key, base.TrailerMax)-1
		}
		placed = true
		m.sameEntry(s, what, kv, list, pos)
	}
}

func (m *machine) sameEntry(s *readstate.State, what string, kv *base.KV, list []entry, i int) {
	m.Helper()
	if kv == nil || i < 0 || i >= len(list) {
		if kv != nil || i >= 0 && i < len(list) {
			m.Fatalf("%s: %v, want entry %d of %d", what, kv, i, len(list))
		}
		return
	}
	e, kind, value := &list[i], kv.Trailer.Kind(), kv.Value
	if kind.Expires() {
		expiry, rest, err := base.SplitExpiry(value)
		if value = rest; err != nil || expiry != e.expiry {
			m.Fatalf("%s: expiry %d %v, want %d", what, expiry, err, e.expiry)
		}
	}
	if p := kind.WithoutExpiry() == base.KindPutPointer; p != (len(e.value) >= valuesFrom) {
		m.Fatalf("%s: %q %v, want %q", what, kv.Key, kv.Trailer, e.value)
	} else if p {
		n, err := s.ValueLen(value, kv.Key)
		if err != nil || n != len(e.value) {
			m.Fatalf("%s: length %d %v, want %d", what, n, err, len(e.value))
		}
		value, err = s.AppendValue(nil, value, kv.Key)
		m.Check(err)
	}
	if string(kv.Key) != e.key || kv.Trailer.Seq() != e.t.Seq() || string(value) != e.value {
		m.Fatalf("%s: %q %v %q, want %q %v %q", what, kv.Key, kv.Trailer, value, e.key, e.t, e.value)
	}
}

// TestReadsModel: whatever lies where, a read finds what a model finds that remembers
// every operation.
func TestReadsModel(t *testing.T) {
	small := readstatetest.Options{TableSize: 600, PageSize: 128, FilterBits: 10, ValuesFrom: valuesFrom}
	for _, c := range []struct {
		name                    string
		packed, keepAll, crowds bool
	}{{"every version", false, true, false}, {"packs", true, true, false}, {"snapshots", false, false, false}, {"no memory", false, true, true}} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(rounds(2, 12)) {
				o := small
				o.Packed, o.KeepAll = c.packed, c.keepAll
				if c.crowds {
					o.Budget, o.Memtable = 100<<10, 32<<10
				}
				m := &machine{Rig: newRig(t, o), Rand: rand.New(rand.NewPCG(seed, 1)), keepAll: c.keepAll, spaces: map[uint32]*keyspace{}}
				for _, id := range spaceIDs {
					m.spaces[id] = new(keyspace)
				}
				for i := range 500 {
					m.step()
					if i%20 == 19 {
						m.check()
					}
					if i%100 == 99 && c.keepAll {
						m.checkRuns()
					}
				}
				for _, at := range m.snaps {
					m.Store.Snapshots.Drop(at)
				}
				m.Close()
			}
		})
	}
}

// rounds is how often to do something, with -short and without.
func rounds(short, long int) int {
	if testing.Short() {
		return short
	}
	return long
}
