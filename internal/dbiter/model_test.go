package dbiter

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/writeset"
	"github.com/seerdb-go/seerdb/merger"
)

// The model remembers every operation, and makes the rows of a moment from them. It knows
// nothing of memtables and tables.

const valuesFrom = 24

// write is an operation: of a key, or of [key, hi), where a hi of "" is no end.
type write struct {
	kind    base.Kind
	key, hi string
	value   string
	expiry  uint64
	seq     base.SeqNum
}

func (w *write) isRange() bool { return w.kind == base.KindRangeDelete }

func (w *write) covers(key string) bool { return w.key <= key && (w.hi == "" || key < w.hi) }

// row is what an iterator shows.
type row struct {
	key, value string
	expiry     uint64
}

// rowsOf makes the rows of the writes that a read sees at a time. They are in the order
// of their sequences.
func rowsOf(writes []write, time uint64) []row {
	list := []row{}
	at := map[string]*row{} // a row of no live key is not there
	for i := range writes {
		w := &writes[i]
		switch w.kind {
		case base.KindRangeDelete:
			maps.DeleteFunc(at, func(key string, _ *row) bool { return w.covers(key) })
		case base.KindDelete, base.KindSingleDelete:
			delete(at, w.key)
		case base.KindPut:
			at[w.key] = &row{w.key, w.value, 0}
		case base.KindPutTTL:
			delete(at, w.key)
			if w.expiry > time {
				at[w.key] = &row{w.key, w.value, w.expiry}
			}
		case base.KindMerge:
			if old := at[w.key]; old != nil {
				at[w.key] = &row{w.key, old.value + "," + w.value, 0}
			} else {
				at[w.key] = &row{w.key, w.value, 0}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(at)) {
		list = append(list, *at[key])
	}
	return list
}

// machine is a rig beside its model.
type machine struct {
	*rig
	*rand.Rand
	writes  map[uint32][]write
	keepAll bool
	snaps   []readstate.Point
	walkers []*walker
	seen    struct{ hints, expired, folded int } // how often there were some
}

var spaceIDs = []uint32{0, 1, 300}

func (m *machine) key() string {
	k := fmt.Sprintf("key%02d", m.IntN(30))
	return k[:3*m.IntN(2)+m.IntN(3)] // prefixes of others, and the empty key, too
}

// draw draws an operation. past is what there is of its keyspace.
func (m *machine) draw(b *batch.Batch, id uint32, seq base.SeqNum, past []write) write {
	w := write{kind: base.KindPut, key: m.key(), seq: seq, value: fmt.Sprint(seq % 10_000)}
	if m.IntN(3) == 0 {
		w.value += strings.Repeat("v", valuesFrom)
	}
	switch m.IntN(14) {
	case 0, 1, 2:
		w.kind, w.value = base.KindDelete, ""
	case 3, 4, 5:
		w.kind = base.KindMerge
	case 6, 7, 8:
		w.kind, w.expiry = base.KindPutTTL, m.Time()+100*uint64(m.IntN(20)) // often just when it is asked for
		m.Check(b.PutTTL(id, []byte(w.key), []byte(w.value), w.expiry))
		return w
	case 9:
		w.kind, w.value = base.KindRangeDelete, ""
		if w.hi = m.key(); w.hi == "" && m.IntN(8) > 0 || w.hi != "" && w.hi <= w.key {
			w.hi = w.key + "\x00"
		}
		m.Check(b.DeleteRange(id, []byte(w.key), []byte(w.hi)))
		return w
	case 10:
		if m.keepAll && seq < writeset.FirstSeq && onePut(past, w.key) {
			w.kind, w.value = base.KindSingleDelete, ""
		}
	}
	m.Check(b.Add(w.kind, id, []byte(w.key), []byte(w.value)))
	return w
}

// onePut reports whether a key's newest operation is a put.
func onePut(past []write, key string) bool {
	for i := range slices.Backward(past) {
		if w := &past[i]; w.isRange() && w.covers(key) {
			return false
		} else if !w.isRange() && w.key == key {
			return w.kind == base.KindPut
		}
	}
	return false
}

func (m *machine) commit() {
	var b batch.Batch
	for range 1 + m.IntN(6) {
		id := spaceIDs[m.IntN(len(spaceIDs))]
		m.writes[id] = append(m.writes[id], m.draw(&b, id, m.Seq+base.SeqNum(b.Count())+1, m.writes[id]))
	}
	if m.IntN(6) == 0 { // a hot key, whose versions are not stepped over
		id, key := spaceIDs[m.IntN(len(spaceIDs))], m.key()
		kind := []base.Kind{base.KindPut, base.KindMerge}[m.IntN(2)]
		for i := range 4 + m.IntN(16) {
			w := write{kind: kind, key: key, seq: m.Seq + base.SeqNum(b.Count()) + 1, value: fmt.Sprint("hot", i)}
			m.Check(b.Add(kind, id, []byte(key), []byte(w.value)))
			m.writes[id] = append(m.writes[id], w)
		}
	}
	if m.IntN(8) == 0 { // a run of dead keys
		id, from := spaceIDs[m.IntN(len(spaceIDs))], m.IntN(30)
		for i := range 3 + m.IntN(10) {
			w := write{kind: base.KindDelete, key: fmt.Sprintf("key%02d", from+i), seq: m.Seq + base.SeqNum(b.Count()) + 1}
			m.Check(b.Delete(id, []byte(w.key)))
			m.writes[id] = append(m.writes[id], w)
		}
	}
	m.Write(&b)
}

// step moves what is there, or draws a commit.
func (m *machine) step() {
	switch m.IntN(60) {
	case 0, 1, 2, 3:
		m.Rotate()
	case 4, 5:
		if len(m.Store.Current().Imm) > 0 {
			m.Flush()
		}
	case 6, 7:
		from := m.IntN(3)
		m.Compact(spaceIDs[m.IntN(len(spaceIDs))], from, from+1+m.IntN(2))
	case 8:
		m.SetTime(m.Time() + 100*uint64(m.IntN(10)))
	case 9:
		m.Store.ReadTime() // as callers of Take do
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

// walker is an iterator, the rows that it must show, and where it stands in them.
type walker struct {
	m      *machine
	it     *Iter
	o      Options
	rows   []row // within the bounds
	pos    int   // of the row shown; -1 and len(rows) are the ends
	placed bool
	log    []string
}

// moment draws a point, and the writes of a keyspace that a read at it sees.
func (m *machine) moment(id uint32) (at readstate.Point, seen []write, time uint64) {
	at = readstate.Newest
	switch c := m.IntN(4); {
	case c == 0 && len(m.snaps) > 0:
		at = m.snaps[m.IntN(len(m.snaps))]
	case c == 1 && m.keepAll:
		at = point(base.SeqNum(m.IntN(int(m.Seq+2))), m.Time()-1000+100*uint64(m.IntN(20)))
	}
	if time = at.Time; time == 0 {
		time = m.Time()
	}
	for _, w := range m.writes[id] {
		if w.seq <= at.Seq {
			seen = append(seen, w)
		}
	}
	return at, seen, time
}

// open opens an iterator of some kind, with its rows.
func (m *machine) openWalker() *walker {
	id := spaceIDs[m.IntN(len(spaceIDs))]
	at, seen, time := m.moment(id)
	var own *writeset.Set
	if m.IntN(3) == 0 {
		m.Clock.Use()
		own = m.own(func(b *batch.Batch) {
			for range m.IntN(30) {
				other := spaceIDs[m.IntN(len(spaceIDs))]
				w := m.draw(b, other, writeset.FirstSeq+base.SeqNum(b.Count()), nil)
				if other == id {
					seen = append(seen, w)
				}
			}
		})
	}
	w := &walker{m: m, o: Options{KeysOnly: m.IntN(5) == 0, Bulk: m.IntN(4) == 0, Own: true}}
	if m.IntN(3) == 0 {
		w.o.Lower = []byte(m.key())
	}
	if m.IntN(3) == 0 {
		w.o.Upper = []byte(m.key())
	}
	w.rows = slices.DeleteFunc(rowsOf(seen, time), func(r row) bool {
		return r.key < string(w.o.Lower) || w.o.Upper != nil && r.key >= string(w.o.Upper)
	})
	w.it = m.open(id, w.o, at, own)
	w.logf("keyspace %d at %d, %d, own %v, %q to %q, keys only %v", id, at.Seq, time, own != nil, w.o.Lower, w.o.Upper, w.o.KeysOnly)
	o := w.it.Options()
	if !same(o.Lower, w.o.Lower) || !same(o.Upper, w.o.Upper) || o.KeysOnly != w.o.KeysOnly || o.Bulk != w.o.Bulk {
		m.Fatalf("Options are %+v, want %+v", o, w.o)
	}
	active := m.Store.Current().Active.Mem
	if !active.Hints(id).None() {
		m.seen.hints++
	}
	if !active.ExpiredHints(id, m.Time()).None() {
		m.seen.expired++
	}
	m.seen.folded = max(m.seen.folded, len(m.folded.at))
	return w
}

func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func (w *walker) logf(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *walker) failf(format string, args ...any) {
	w.m.Helper()
	w.m.Fatalf("%s\n%s\nrows %v", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"), w.rows)
}

// search is the first row at or after key.
func (w *walker) search(key string) int {
	i, _ := slices.BinarySearchFunc(w.rows, key, func(r row, k string) int { return strings.Compare(r.key, k) })
	return i
}

// target draws what to seek: any key, or the one that is shown, as a view.
func (w *walker) target() []byte {
	if w.it.Valid() && w.m.IntN(4) == 0 {
		return w.it.Key()
	}
	return []byte(w.m.key())
}

// move makes one move.
func (w *walker) move(op int) {
	w.m.Helper()
	n, ok := len(w.rows), false
	switch {
	case op == 0:
		w.logf("First")
		ok, w.pos = w.it.First(), 0
	case op == 1:
		w.logf("Last")
		ok, w.pos = w.it.Last(), n-1
	case op < 4:
		key := w.target()
		w.logf("SeekGE %q", key)
		w.pos = w.search(string(key))
		ok = w.it.SeekGE(key)
	case op < 6:
		key := w.target()
		w.logf("SeekLT %q", key)
		w.pos = w.search(string(key)) - 1
		ok = w.it.SeekLT(key)
	case op < 7:
		key := w.target()
		w.logf("SeekLE %q", key)
		w.pos = w.search(string(key)+"\x00") - 1
		ok = w.it.SeekLE(key)
	case op%2 == 0:
		w.logf("Next")
		if w.placed {
			w.pos = min(w.pos+1, n)
		} else {
			w.pos = 0
		}
		ok = w.it.Next()
	default:
		w.logf("Prev")
		if w.placed {
			w.pos = max(w.pos-1, -1)
		} else {
			w.pos = n - 1
		}
		ok = w.it.Prev()
	}
	w.placed = true
	if ok != w.it.Valid() {
		w.failf("the move says %v, and Valid %v", ok, w.it.Valid())
	}
	w.check()
}

// check compares all that is shown, asked for in any order.
func (w *walker) check() {
	w.m.Helper()
	it, valid := w.it, w.pos >= 0 && w.pos < len(w.rows)
	if it.Valid() != valid || it.Err() != nil {
		w.failf("Valid is %v, error %v, want row %d", it.Valid(), it.Err(), w.pos)
	}
	want, value := row{}, []byte(nil)
	if valid {
		want = w.rows[w.pos]
	}
	if valid && !w.o.KeysOnly {
		value = []byte(want.value)
	}
	for _, what := range w.m.Perm(5)[:1+w.m.IntN(5)] {
		switch what {
		case 0:
			if got := it.Key(); string(got) != want.key || (got == nil) == valid {
				w.failf("Key is %q, want %q", got, want.key)
			}
		case 1:
			if got := it.Value(); string(got) != string(value) || it.Valid() && !w.o.KeysOnly && got == nil && len(value) > 0 {
				w.failf("Value of %q is %q, want %q", want.key, got, value)
			}
		case 2:
			got, err := it.AppendValue([]byte("x"))
			switch {
			case !valid && !errors.Is(err, base.ErrNotFound), valid && w.o.KeysOnly && !errors.Is(err, base.ErrInvalidOptions), valid && !w.o.KeysOnly && err != nil:
				w.failf("AppendValue of %q fails with %v", want.key, err)
			case string(got) != "x"+string(value):
				w.failf("AppendValue of %q is %q, want %q", want.key, got, value)
			}
		case 3:
			if got := it.ValueLen(); got != len(value) {
				w.failf("ValueLen of %q is %d, want %d", want.key, got, len(value))
			}
		case 4:
			if got := it.Expiry(); got != want.expiry {
				w.failf("Expiry of %q is %d, want %d", want.key, got, want.expiry)
			}
		}
	}
}

// walk makes moves: some here and there, some straight on.
func (w *walker) walk(moves int) {
	w.m.Helper()
	for moves > 0 {
		if w.m.IntN(2) == 0 {
			w.move(w.m.IntN(12))
			moves--
			continue
		}
		straight := 8 + w.m.IntN(2)
		for range 1 + w.m.IntN(8) {
			w.move(straight)
			moves--
		}
	}
}

// whole walks all rows both ways.
func (w *walker) whole() {
	w.m.Helper()
	first := w.m.IntN(2)
	for i := range 2 {
		end := (first + i) % 2
		w.move(end)
		for range len(w.rows) + 1 {
			w.move(8 + end)
		}
	}
}

// check walks the iterators that stayed open, and some new ones.
func (m *machine) check() {
	m.Helper()
	for i, w := range m.walkers {
		if w != nil && m.IntN(5) > 0 {
			w.walk(10)
			continue
		}
		if w != nil {
			m.Check(w.it.Close())
		}
		m.walkers[i] = m.openWalker()
	}
	for range 4 {
		w := m.openWalker()
		if m.IntN(2) == 0 {
			w.whole()
		}
		w.walk(25)
		m.Check(w.it.Close())
	}
}

// lone is merger.Append, but that no two operands combine.
type lone struct{ merger.Append }

func (lone) Partial(_, _, _, _ []byte) ([]byte, bool, error) { return nil, false, nil }

// TestIterModel: whatever lies where, and whatever changes beside it, an iterator shows
// the rows that a model makes of every operation.
func TestIterModel(t *testing.T) {
	comma := merger.Append{Sep: ","}
	for _, c := range []struct {
		name   string
		o      readstatetest.Options
		dead   int
		folded int
	}{
		{"every version", readstatetest.Options{KeepAll: true, Merger: comma}, 3, 2},
		{"snapshots", readstatetest.Options{Merger: comma, Expire: true}, 1, 1},
		{"packs", readstatetest.Options{Packed: true, Merger: lone{comma}, Expire: true}, 2, 4},
		{"no hints", readstatetest.Options{KeepAll: true, Merger: lone{comma}}, 1 << 30, 1 << 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.TableSize, c.o.PageSize, c.o.ValuesFrom = 600, 128, valuesFrom
			for seed := range uint64(rounds(2, 12)) {
				m := &machine{rig: newRig(t, c.o), Rand: rand.New(rand.NewPCG(seed, 2)), keepAll: c.o.KeepAll, writes: map[uint32][]write{}, walkers: make([]*walker, 4)}
				m.env.DeadMin, m.env.FoldFrom = c.dead, c.folded
				for i := range 250 {
					m.step()
					if i%5 == 4 {
						m.check()
					}
				}
				for _, w := range m.walkers {
					m.Check(w.it.Close())
				}
				for _, at := range m.snaps {
					m.Store.Snapshots.Drop(at)
				}
				if d := m.Damage(); len(d) > 0 {
					t.Errorf("damage: %v", d)
				}
				if some := c.dead < 100; some != (m.seen.hints > 0 && m.seen.expired > 0 && m.seen.folded > 0) {
					t.Errorf("hints and operands: %+v", m.seen)
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
