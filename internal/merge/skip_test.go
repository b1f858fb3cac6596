package merge

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb/internal/base"
)

// skipModel walks over all entries, sorted; each child may have passed some.
type skipModel struct {
	all    []base.KV // Value says which child
	pos    int
	back   bool
	passed map[string][]byte // by child, up to which key (or down to it)
}

func (m *skipModel) kv() *base.KV {
	if m.pos < 0 || m.pos >= len(m.all) {
		return nil
	}
	return &m.all[m.pos]
}

// step goes to the next entry that its child has not passed.
func (m *skipModel) step(by int) *base.KV {
	if back := by < 0; back != m.back {
		m.back = back
		clear(m.passed)
	}
	for m.pos = max(-1, min(m.pos+by, len(m.all))); m.kv() != nil; m.pos += by {
		limit, ok := m.passed[string(m.kv().Value)]
		if !ok || m.back && bytes.Compare(m.kv().Key, limit) < 0 || !m.back && bytes.Compare(m.kv().Key, limit) >= 0 {
			break
		}
	}
	return m.kv()
}

func (m *skipModel) place(pos int, back bool) *base.KV {
	m.pos, m.back = pos, back
	clear(m.passed)
	return m.kv()
}

func (m *skipModel) skip(key []byte, by int) *base.KV {
	m.passed[string(m.kv().Value)] = key
	return m.step(by)
}

// TestSkip takes random steps with skips among them.
func TestSkip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		children, all := drawChildren(t, 6)
		var it Iter
		it.Init(asIterators(children))
		m := &skipModel{all: all, pos: -1, passed: map[string][]byte{}}
		same(t, "First", it.First(), m.place(0, false))
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if cur := m.kv(); cur == nil {
				if it.Order() != -1 {
					t.Fatalf("Order %d of no entry", it.Order())
				}
			} else if o := it.Order(); !slices.ContainsFunc(children[o].kvs, func(kv base.KV) bool { return bytes.Equal(kv.Value, cur.Value) }) {
				t.Fatalf("Order %d, want %q", o, cur.Value)
			}
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0:
				same(t, "Last", it.Last(), m.place(len(all)-1, true))
			case 1:
				k := kvGen().Draw(t, "target")
				pos, _ := slices.BinarySearchFunc(all, k, compareKV)
				same(t, "SeekGE", it.SeekGE(k.Key, k.Trailer), m.place(pos, false))
			case 2, 3:
				same(t, "Prev", it.Prev(), m.step(-1))
			case 4, 5:
				same(t, "Next", it.Next(), m.step(1))
			default:
				cur := m.kv()
				k := kvGen().Draw(t, "skip to").Key
				switch {
				case cur == nil && m.back:
					same(t, "SkipTopBack nowhere", it.SkipTopBack(k), nil)
				case cur == nil:
					same(t, "SkipTop nowhere", it.SkipTop(k), nil)
				case m.back && bytes.Compare(k, cur.Key) <= 0:
					same(t, "SkipTopBack", it.SkipTopBack(k), m.skip(k, -1))
				case !m.back && bytes.Compare(k, cur.Key) > 0:
					same(t, "SkipTop", it.SkipTop(k), m.skip(k, 1))
				}
			}
		}
	})
}

// TestSkipError: a child that fails while it skips, or while the walk turns
// after it, ends the walk.
func TestSkipError(t *testing.T) {
	kvs := func(keys ...string) (out []base.KV) {
		for _, k := range keys {
			out = append(out, base.KV{Key: []byte(k), Trailer: 256})
		}
		return out
	}
	a, b := newList(kvs("a", "c", "e", "g")), newList(kvs("b", "f"))
	var it Iter
	it.Init(asIterators([]*list{a, b}))
	it.First()
	a.failAt = 3
	if kv := it.SkipTop([]byte("g")); kv != nil || !errors.Is(it.Err(), errChild) {
		t.Errorf("SkipTop: %v, %v", kv, it.Err())
	}
	a.failAt = -1
	it.First()
	if kv := it.SkipTop([]byte("e")); string(kv.Key) != "b" || it.Order() != 1 {
		t.Errorf("SkipTop: %v of %d", kv, it.Order())
	}
	a.failAt = 1
	if kv := it.Prev(); kv != nil || !errors.Is(it.Err(), errChild) {
		t.Errorf("turned onto damage: %v, %v", kv, it.Err())
	}
	a.failAt = -1
	it.Last()
	it.SkipTopBack([]byte("b"))
	if kv := it.Next(); string(kv.Key) != "g" {
		t.Errorf("turned forward to %v", kv)
	}
}
