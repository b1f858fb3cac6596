package testkit

import (
	"fmt"
	"slices"
	"testing"
)

// histories is how many random histories a test tries.
func histories() uint64 {
	if testing.Short() {
		return 40
	}
	return 300
}

// TestModelAgreesWithReplay compares the model with its naive twin over random
// histories, at the newest view and at older ones.
func TestModelAgreesWithReplay(t *testing.T) {
	total := map[string]int{}
	for seed := range histories() {
		b := newBoth(t, seed)
		for range 100 {
			b.step()
			v := b.m.View()
			if len(b.views) > 0 && b.g.IntN(2) == 0 {
				v = b.views[b.g.IntN(len(b.views))]
			}
			b.compare(v)
		}
		for k, n := range b.count {
			total[k] += n
		}
	}
	t.Log(total)
	for _, k := range append(kindNames[:], "crash", "create", "drop", "rows", "error") {
		if total[k] < int(histories()/10) {
			t.Errorf("%s: only %d times", k, total[k])
		}
	}
}

// TestGenIsDeterministic draws two histories from one seed.
func TestGenIsDeterministic(t *testing.T) {
	draw := func(seed uint64) string {
		b := newBoth(t, seed)
		for range 300 {
			b.step()
		}
		return b.story() + fmt.Sprint(b.m.Now(), b.m.Keyspaces(), b.views)
	}
	first, again, other := draw(1), draw(1), draw(2)
	if first != again {
		t.Error("one seed, two histories")
	}
	if first == other {
		t.Error("two seeds, one history")
	}
}

// TestGenMixes checks that what is drawn meets: that the database is neither
// empty nor full of errors, that ranges hit keys, that a batch comes back to a
// key and spans keyspaces.
func TestGenMixes(t *testing.T) {
	g, m := NewGen(3, 200, 40), NewModel()
	m.UseMerger(Default, Counter)
	m.CreateKeyspace("other", AppendComma)
	var rows, failing, looks, covered, ranges, popped, twice, across, reread int
	for i := range 20_000 {
		ops := g.Commit(m)
		seen := map[keyRef]bool{}
		spaces := map[int]bool{}
		for _, op := range ops {
			spaces[op.Keyspace] = true
			if op.Kind == DeleteRange {
				ranges++
				q := g.queues[op.Keyspace]
				popped += map[bool]int{true: 1}[q != nil && q.front > 0 && op.Hi == queueKey(q.front)]
				if len(m.Scan(m.View(), op.Keyspace, op.Span())) > 0 {
					covered++
				}
				continue
			}
			k := keyRef{op.Keyspace, op.Key}
			twice += map[bool]int{true: 1}[seen[k]]
			reread += map[bool]int{true: 1}[op.Kind == Merge && m.Has(m.View(), op.Keyspace, op.Key)]
			seen[k] = true
		}
		across += map[bool]int{true: 1}[len(spaces) > 1]
		m.Commit(ops)
		m.Advance(g.Tick(m))
		if i%100 == 0 {
			looks++
			for _, r := range m.Scan(m.View(), Default, Span{NoEnd: true}) {
				rows++
				failing += map[bool]int{true: 1}[r.Err != nil]
			}
		}
	}
	t.Logf("%d rows a look, %.2f of them errors; %d of %d ranges met a key, %d were of a queue; %d operations on a key again in their commit, %d commits across keyspaces, %d merges onto something",
		rows/looks, float64(failing)/float64(looks), covered, ranges, popped, twice, across, reread)
	if rows < 50*looks || failing == 0 || failing > looks*2 || covered < ranges/3 || covered == ranges || popped < ranges/5 || twice < 1000 || across < 1000 || reread < 1000 {
		t.Error("the mix is poor")
	}
}

// TestWeights switches kinds off.
func TestWeights(t *testing.T) {
	for off := range kinds {
		g, m := NewGen(uint64(off), 50, 20), NewModel()
		m.UseMerger(Default, Max)
		g.Weights[off] = 0
		drawn := Weights{}
		for range 2000 {
			ops := g.Commit(m)
			for _, op := range ops {
				drawn[op.Kind]++
			}
			m.Commit(ops)
		}
		for k, n := range drawn {
			// Without puts no single delete keeps the promise.
			if (n == 0) != (Kind(k) == off || off == Put && Kind(k) == SingleDelete) {
				t.Errorf("without %v: %d of %v", off, n, Kind(k))
			}
		}
	}
}

// TestGenLimits checks the other things that Gen can be told.
func TestGenLimits(t *testing.T) {
	g, m := NewGen(1, 50, 20), NewModel()
	g.Weights = Weights{Merge: 1} // and no keyspace takes any
	if ops := g.Commit(m); len(ops) != 0 {
		t.Errorf("drew %v", ops)
	}
	m.UseMerger(Default, Counter)
	g.Odd, g.MaxOperands = 0, 7
	for range 500 {
		m.Commit(g.Commit(m))
	}
	for _, e := range m.spaces[Default].keys {
		if len(e.history) > 7 {
			t.Errorf("%d operands on one key", len(e.history))
		}
	}
	for _, r := range m.Scan(m.View(), Default, Span{NoEnd: true}) {
		if r.Err != nil {
			t.Error(r)
		}
	}
	onTTL := func(may bool) (n int) {
		g, m := NewGen(1, 20, 20), NewModel()
		m.UseMerger(Default, Max)
		g.MergeOnTTL = may
		for range 1000 {
			var ops []Op
			for range 3 {
				ops = g.AppendOp(ops, m)
				op := ops[len(ops)-1]
				h := m.history(m.Commits(), ops, Default, op.Key)
				if i := under(h); op.Kind == Merge && i >= 0 && h[i].kind == PutTTL {
					n++
				}
			}
			m.Commit(ops)
		}
		return n
	}
	if with, without := onTTL(true), onTTL(false); with == 0 || without != 0 {
		t.Errorf("merges onto what expires: %d, and %d when they must not be", with, without)
	}
}

// TestOldMethods checks what tests use that know one keyspace, puts and
// deletes.
func TestOldMethods(t *testing.T) {
	g, m := NewGen(1, 30, 20), NewModel()
	state := map[string]string{}
	var states []map[string]string
	clone := func() map[string]string {
		out := map[string]string{}
		for k, v := range state {
			out[k] = v
		}
		return out
	}
	states = append(states, clone())
	for range 200 {
		ops := g.Ops()
		for _, op := range ops {
			if state[op.Key] = op.Value; op.Delete {
				delete(state, op.Key)
			}
		}
		m.Commit(ops)
		states = append(states, clone())
	}
	for at, want := range states {
		lo, hi := g.Bounds()
		var rows []Row
		for k, v := range want {
			if (lo == nil || k >= string(lo)) && (hi == nil || k < string(hi)) {
				rows = append(rows, Row{Key: k, Value: v})
			}
			if got, ok := m.Get(k, at); !ok || got != v {
				t.Fatalf("get %q at %d: %q, %v; want %q", k, at, got, ok, v)
			}
		}
		slices.SortFunc(rows, func(a, b Row) int { return map[bool]int{true: -1, false: 1}[a.Key < b.Key] })
		if got := m.Rows(lo, hi, at); !slices.Equal(got, rows) {
			t.Fatalf("rows of [%q, %q) at %d: %v, want %v", lo, hi, at, got, rows)
		}
		if got, ok := m.Get("never", at); ok {
			t.Fatalf("got %q", got)
		}
	}
}

// TestModelRefuses checks that a test which misuses the model learns so.
func TestModelRefuses(t *testing.T) {
	for name, f := range map[string]func(m *Model){
		"merge without operator": func(m *Model) { m.Commit([]Op{{Kind: Merge}}) },
		"drop of default":        func(m *Model) { m.DropKeyspace(Default) },
		"drop twice":             func(m *Model) { id := m.CreateKeyspace("a", nil); m.DropKeyspace(id); m.DropKeyspace(id) },
		"create twice":           func(m *Model) { m.CreateKeyspace("a", nil); m.CreateKeyspace("a", nil) },
		"read of dropped":        func(m *Model) { id := m.CreateKeyspace("a", nil); m.DropKeyspace(id); m.Has(View{}, id, "") },
		"commit to dropped":      func(m *Model) { id := m.CreateKeyspace("a", nil); m.DropKeyspace(id); m.Commit([]Op{{Keyspace: id}}) },
		"time back":              func(m *Model) { m.Advance(-1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s passed", name)
				}
			}()
			f(NewModel())
		}()
	}
	m := NewModel()
	if m.Advance(3); m.View() != (View{0, 3}) {
		t.Errorf("%+v", m.View())
	}
	if m.Advance(4); m.Now() != 7 {
		t.Errorf("it is %d", m.Now())
	}
	a := m.CreateKeyspace("a", nil)
	m.Commit([]Op{{Keyspace: a, Key: "k", Value: "v"}})
	m.DropKeyspace(a)
	b := m.CreateKeyspace("a", Max)
	if id, ok := m.Find("a"); !ok || id != b || a == b || m.Has(m.View(), b, "k") || m.Live(a) || m.KeyspaceName(b) != "a" || m.Merger(b) != Max {
		t.Errorf("recreated: %d, %v after %d", id, ok, a)
	}
}

// BenchmarkModel is the model's own cost in a run of the whole engine's test:
// half commits, a fifth reads, a tenth scans.
func BenchmarkModel(b *testing.B) {
	g := NewGen(1, 200, 120)
	m := NewModel()
	for i := range b.N {
		if i%200_000 == 0 { // as long as one option set of ten million over 60
			m = NewModel()
			m.UseMerger(Default, Counter)
			m.CreateKeyspace("other", AppendComma)
		}
		switch n := g.IntN(100); {
		case n < 55:
			m.Commit(g.Commit(m))
		case n < 75:
			id := g.Keyspace(m)
			_, _, _ = m.Lookup(m.View(), id, g.KeyOf(m, id))
		case n < 85:
			id := g.Keyspace(m)
			NewCursor(m.Scan(m.View(), id, g.Spanned(m, id))).First()
		case n < 90:
			m.Advance(g.Tick(m))
		}
	}
}
