package cache

import (
	"testing"

	"pgregory.net/rapid"
)

// held is a handle that the model test has not given back.
type held struct {
	h       Handle
	k       Key
	filling bool
}

// model drives one cache by one goroutine and knows what must be true.
type model struct {
	c       *Cache
	files   []uint64
	held    []held
	filling map[Key]bool // fills that are in the cache, and so would block
	charged int64
	fills   uint64
	hits    uint64
}

func (m *model) size(k Key) int { return 1 + int(k.Off*2654435761>>8%20_000) }

func (m *model) acquire(t *rapid.T) {
	k := Key{rapid.SampledFrom(m.files).Draw(t, "file"), rapid.Uint64Range(0, 60).Draw(t, "page")}
	if m.filling[k] {
		return
	}
	h, state := m.c.Acquire(k, m.size(k), rapid.Bool().Draw(t, "scan"))
	if len(h.Bytes()) != m.size(k) || cap(h.Bytes()) < m.size(k) {
		t.Fatalf("%d bytes for %v", len(h.Bytes()), k)
	}
	if state == Hit {
		m.hits++
		if !checkPage(h.Bytes(), k) {
			t.Fatalf("a hit of %v holds something else", k)
		}
	} else {
		m.fills++
		m.filling[k] = h.f != nil
		fillPage(h.Bytes(), k)
	}
	m.held = append(m.held, held{h: h, k: k, filling: state == Fill})
}

func (m *model) finish(t *rapid.T) {
	if len(m.held) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.held)-1).Draw(t, "handle")
	x := &m.held[i]
	if !checkPage(x.h.Bytes(), x.k) {
		t.Fatalf("%v changed while it was pinned", x.k)
	}
	if x.filling {
		if x.h.f != nil {
			delete(m.filling, x.k)
		}
		switch rapid.IntRange(0, 5).Draw(t, "end") {
		case 0:
			x.h.Abort()
		case 1:
			x.h.Release() // aborts
		default:
			x.h.Publish()
			x.filling = false
			return
		}
	} else {
		x.h.Release()
	}
	m.held[i] = m.held[len(m.held)-1]
	m.held = m.held[:len(m.held)-1]
}

func (m *model) charge(t *rapid.T) {
	n := rapid.Int64Range(-m.charged, 600<<10).Draw(t, "charge")
	m.charged += n
	m.c.Charge(Memtables, n)
}

func (m *model) drop(t *rapid.T) {
	file := rapid.SampledFrom(m.files).Draw(t, "file")
	m.c.Drop(file)
	pinned := map[Key]bool{}
	for _, x := range m.held {
		pinned[x.k] = true
	}
	for off := range uint64(61) {
		k := Key{file, off}
		if f, _ := m.c.findAndPin(k, k.hash(), false); f != nil {
			m.hits++
			f.state.Add(^uint64(0))
			if !pinned[k] {
				t.Fatalf("%v survived Drop", k)
			}
		}
	}
}

func (m *model) check(t *rapid.T) {
	m.c.Charge(Memtables, 0) // what was pinned before may go now
	s := m.c.Stats()
	if s.Misses != m.fills || s.Hits != m.hits || s.Inserts+s.Privates != s.Misses {
		t.Fatalf("%d fills, %d hits, but %+v", m.fills, m.hits, s)
	}
	if s.Charged[Memtables] != m.charged {
		t.Fatalf("charged %d, said %d", m.charged, s.Charged[Memtables])
	}
	if len(m.held) == 0 && m.c.room() < 0 && s.Frames > 0 {
		t.Fatalf("over the budget with nothing pinned: %+v", s)
	}
}

// TestModel: whatever is acquired, published, aborted, dropped and charged, a
// pinned page never changes, a hit is what was filled, the counts are exact and
// the structure holds.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		budget := rapid.Int64Range(0, 2<<20).Draw(rt, "budget")
		m := &model{c: New(Options{Budget: budget}), filling: map[Key]bool{}}
		for range 4 {
			m.files = append(m.files, NewFileID())
		}
		steps := map[string]func(*rapid.T){
			"acquire": m.acquire, "acquire2": m.acquire, "acquire3": m.acquire,
			"finish": m.finish, "finish2": m.finish, "finish3": m.finish, "finish4": m.finish,
			"charge": m.charge, "drop": m.drop, "": m.check,
		}
		rt.Repeat(steps)
		for _, x := range m.held {
			if !checkPage(x.h.Bytes(), x.k) {
				rt.Fatalf("%v changed while it was pinned", x.k)
			}
			x.h.Release()
		}
		m.c.check(t)
		m.c.Charge(Memtables, budget) // nothing is pinned: all of it can go
		if s := m.c.Stats(); s.Frames != 0 {
			rt.Fatalf("%d pages with no budget left", s.Frames)
		}
		m.c.check(t)
		m.c.Close()
		m.c.Close()
	})
}
