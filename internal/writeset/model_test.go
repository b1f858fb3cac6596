package writeset

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// modelKeys are few, so that operations meet, and have prefixes of each other among
// them. modelSpaces are next to each other, and one differs in its last byte only.
var (
	modelKeys   = []string{"", "\x00", "a", "a\x00", "aa", "b", "ba", "c", "d", "\xff", "\xff\xff"}
	modelSpaces = []uint32{0, 1, 2, 1 << 24}
)

// op is one operation of the model.
type op struct {
	kind     base.Kind
	keyspace uint32
	key      string
	value    string // or the end of a range, empty for none
}

func (o *op) covers(keyspace uint32, key string) bool {
	return o.kind == base.KindRangeDelete && o.keyspace == keyspace && o.key <= key && (o.value == "" || key < o.value)
}

// entry is an operation as an iterator shows it.
type entry struct {
	key, value string
	t          base.Trailer
}

func entriesOf(ops []op, keyspace uint32) (out []entry) {
	for i, o := range ops {
		if o.keyspace == keyspace && o.kind != base.KindRangeDelete {
			out = append(out, entry{o.key, o.value, base.MakeTrailer(FirstSeq+base.SeqNum(i), o.kind)})
		}
	}
	slices.SortFunc(out, func(a, b entry) int { return base.Compare([]byte(a.key), a.t, []byte(b.key), b.t) })
	return out
}

// held is an iterator, and a view of range deletes, with what they must show for ever.
type held struct {
	keyspace uint32
	ops      []op
	entries  []entry
	at       int // where it stands; -1 and len(entries) are beyond, -2 nowhere yet
	it       *Iter
	view     *rangedel.View
}

// setModel is a set with the batch that its operations are in, and a list of them.
type setModel struct {
	set   Set
	batch batch.Batch
	ops   []op
	marks []batch.Mark // by how many operations were there
	held  []*held
	idle  []*Iter // that are not needed any more, closed or not
}

// add adds an operation to the batch, and to the set.
func (m *setModel) add(t *rapid.T, o op) {
	m.marks = append(m.marks[:len(m.ops)], m.batch.Mark())
	off := max(len(m.batch.Data), batch.HeaderSize)
	if err := m.batch.Add(o.kind, o.keyspace, []byte(o.key), []byte(o.value)); err != nil {
		t.Fatal(err)
	}
	got, err := m.batch.OpAt(off)
	if err != nil {
		t.Fatal(err)
	}
	m.set.Add(&got)
	m.ops = append(m.ops, o)
}

func (m *setModel) write(t *rapid.T) {
	kinds := []base.Kind{base.KindPut, base.KindDelete, base.KindSingleDelete, base.KindMerge, base.KindPutTTL}
	for range rapid.IntRange(1, 6).Draw(t, "writes") {
		o := op{kind: rapid.SampledFrom(kinds).Draw(t, "kind"), keyspace: drawSpace(t), key: drawKey(t)}
		if batch.HasValue(o.kind) {
			o.value = fmt.Sprintf("the value %d", len(m.ops)) // a PutTTL has 8 bytes at least
		}
		m.add(t, o)
	}
}

func (m *setModel) deleteRange(t *rapid.T) {
	m.add(t, op{base.KindRangeDelete, drawSpace(t), drawKey(t), drawKey(t)})
}

// rollback undoes some operations, as a transaction does: with range deletes among
// them the set is made anew.
func (m *setModel) rollback(t *rapid.T) {
	n := len(m.ops) - rapid.IntRange(0, min(len(m.ops), 25)).Draw(t, "undone")
	ranges := slices.ContainsFunc(m.ops[n:], func(o op) bool { return o.kind == base.KindRangeDelete })
	if n < len(m.ops) {
		m.batch.Rollback(m.marks[n])
	}
	before := m.set.Bytes()
	if got := m.set.Rollback(n); got == ranges {
		t.Fatalf("rollback to %d of %d is %v, with ranges among them %v", n, len(m.ops), got, ranges)
	}
	if !ranges {
		m.ops = m.ops[:n]
		return
	}
	if m.set.Bytes() != before {
		t.Fatal("a refused rollback changed the set")
	}
	m.check(t) // it did nothing
	m.ops = m.ops[:n]
	m.set.Reset()
	for r := m.batch.Reader(); ; {
		o, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		m.set.Add(&o)
	}
}

// reset begins another transaction. Iterators may still be open: what they show is
// not written over.
func (m *setModel) reset(*rapid.T) {
	m.set.Reset()
	m.batch, m.ops = batch.Batch{}, nil
}

// hold opens an iterator that stays open, or initializes a used one again.
func (m *setModel) hold(t *rapid.T) {
	h := &held{keyspace: drawSpace(t), ops: slices.Clone(m.ops), at: -2, it: new(Iter)}
	if n := len(m.idle); n > 0 {
		h.it, m.idle = m.idle[n-1], m.idle[:n-1]
	}
	h.entries = entriesOf(h.ops, h.keyspace)
	h.it.Init(&m.set, h.keyspace)
	h.view = m.set.View(h.keyspace)
	m.held = append(m.held, h)
}

func (m *setModel) drop(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip()
	}
	i := rapid.IntRange(0, len(m.held)-1).Draw(t, "iterator")
	h := m.held[i]
	h.checkAll(t)
	if !rapid.Bool().Draw(t, "close") {
		h.move(t)
	} else if err := h.it.Close(); err != nil || h.it.Next() != nil || h.it.Close() != nil {
		t.Fatalf("close: %v, and it goes on", err)
	}
	m.held, m.idle = slices.Delete(m.held, i, i+1), append(m.idle, h.it)
}

// walk moves one of the iterators about.
func (m *setModel) walk(t *rapid.T) {
	if len(m.held) == 0 {
		t.Skip()
	}
	h := rapid.SampledFrom(m.held).Draw(t, "iterator")
	for range rapid.IntRange(1, 10).Draw(t, "moves") {
		h.move(t)
	}
}

func (h *held) move(t *rapid.T) {
	n := len(h.entries)
	var kv *base.KV
	move := rapid.SampledFrom([]string{"Next", "Next", "Prev", "Prev", "First", "Last", "SeekGE", "SeekLT"}).Draw(t, "move")
	switch move {
	case "Next":
		kv = h.it.Next()
		h.at = min(max(h.at, -1)+1, n)
	case "Prev":
		kv = h.it.Prev()
		if h.at == -2 {
			h.at = n
		}
		h.at = max(h.at-1, -1)
	case "First":
		kv, h.at = h.it.First(), 0
	case "Last":
		kv, h.at = h.it.Last(), n-1
	case "SeekGE":
		key, trailer := drawKey(t), base.SeekTrailer(FirstSeq+base.SeqNum(rapid.IntRange(-1, len(h.ops)).Draw(t, "at")))
		if rapid.Bool().Draw(t, "exact") && n > 0 {
			e := rapid.SampledFrom(h.entries).Draw(t, "entry")
			key, trailer = e.key, e.t
		}
		kv = h.it.SeekGE([]byte(key), trailer)
		h.at = 0
		for h.at < n && base.Compare([]byte(h.entries[h.at].key), h.entries[h.at].t, []byte(key), trailer) < 0 {
			h.at++
		}
	case "SeekLT":
		key := drawKey(t)
		kv = h.it.SeekLT([]byte(key))
		h.at = n - 1
		for h.at >= 0 && h.entries[h.at].key >= key {
			h.at--
		}
	}
	h.shows(t, move, kv)
}

// shows checks what a move returned.
func (h *held) shows(t *rapid.T, move string, kv *base.KV) {
	there := h.at >= 0 && h.at < len(h.entries)
	switch {
	case h.it.Err() != nil:
		t.Fatal(h.it.Err())
	case (kv != nil) != there:
		t.Fatalf("%s to %d of %d shows %v", move, h.at, len(h.entries), kv)
	case there:
		if e := h.entries[h.at]; string(kv.Key) != e.key || string(kv.Value) != e.value || kv.Trailer != e.t {
			t.Fatalf("%s to %d of %d shows %q %v %q, want %+v", move, h.at, len(h.entries), kv.Key, kv.Trailer, kv.Value, e)
		}
	}
}

// checkAll walks over everything, and looks at the range deletes.
func (h *held) checkAll(t *rapid.T) {
	for h.at = 0; h.at <= len(h.entries); h.at++ {
		if h.at == 0 {
			h.shows(t, "First", h.it.First())
		} else {
			h.shows(t, "Next", h.it.Next())
		}
	}
	h.at = len(h.entries)
	for h.at > -1 {
		h.at--
		h.shows(t, "Prev", h.it.Prev())
	}
	for _, key := range modelKeys {
		want := base.SeqNum(0)
		for i, o := range h.ops {
			if o.covers(h.keyspace, key) {
				want = FirstSeq + base.SeqNum(i)
			}
		}
		got := base.SeqNum(0)
		if h.view != nil {
			if f, _ := h.view.Find([]byte(key)); f != nil {
				got = f.Cover(base.SeqNumMax)
			}
		}
		if got != want {
			t.Fatalf("the range deletes of %d say that %q was deleted at %d, want %d", h.keyspace, key, got, want)
		}
	}
}

// check asks the set everything.
func (m *setModel) check(t *rapid.T) {
	writes := 0
	for _, o := range m.ops {
		if o.kind != base.KindRangeDelete {
			writes++
		}
	}
	if m.set.Writes() != (writes > 0) || m.set.Room() < writes {
		t.Fatalf("with %d writes there are some: %v, and there is room for %d", writes, m.set.Writes(), m.set.Room())
	}
	for _, space := range modelSpaces {
		for _, key := range modelKeys {
			m.checkGet(t, space, key)
		}
		if slices.ContainsFunc(m.ops, func(o op) bool {
			return o.keyspace == space && o.kind == base.KindRangeDelete && (o.value == "" || o.key < o.value)
		}) != (m.set.View(space) != nil) {
			t.Fatalf("the view of %d is %v", space, m.set.View(space))
		}
	}
	for _, h := range m.held {
		h.move(t)
	}
}

func (m *setModel) checkGet(t *rapid.T, space uint32, key string) {
	want, deleted := -1, false
	for i, o := range m.ops {
		switch {
		case o.covers(space, key):
			deleted = true
		case o.keyspace == space && o.key == key && o.kind != base.KindRangeDelete:
			want, deleted = i, false
		}
	}
	r, gone := m.set.Get(space, []byte(key))
	switch {
	case gone != deleted || (r != nil) != (want >= 0):
		t.Fatalf("get of %d %q: %v, deleted %v; want operation %d, deleted %v", space, key, r, gone, want, deleted)
	case r == nil:
	case r.Trailer != base.MakeTrailer(FirstSeq+base.SeqNum(want), m.ops[want].kind) || !bytes.Equal(r.Value, []byte(m.ops[want].value)):
		t.Fatalf("get of %d %q: %v %q; want operation %d, %q", space, key, r.Trailer, r.Value, want, m.ops[want].value)
	}
}

func drawKey(t *rapid.T) string   { return rapid.SampledFrom(modelKeys).Draw(t, "key") }
func drawSpace(t *rapid.T) uint32 { return rapid.SampledFrom(modelSpaces).Draw(t, "keyspace") }

// TestSetModel: a set and its iterators are compared with a list of the operations,
// over writes, range deletes, rollbacks and further transactions. An iterator, and a
// view of the range deletes, show what was there when they were made, whatever is added
// or undone since.
func TestSetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := new(setModel)
		t.Repeat(map[string]func(*rapid.T){
			"write": m.write, "more": m.write, "hold": m.hold, "deleteRange": m.deleteRange, "rollback": m.rollback,
			"reset": m.reset, "drop": m.drop, "walk": m.walk, "": m.check,
		})
		for _, h := range m.held {
			h.checkAll(t)
		}
	})
}
