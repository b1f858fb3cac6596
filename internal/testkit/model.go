// Package testkit holds what the whole-engine tests share: a model of a
// database that is too simple to be wrong, and a generator of operations. Only
// test files import it.
package testkit

import (
	"slices"
	"sort"
)

// Model is a sorted map that remembers every version: the state after commit
// number c, for any c, can be asked for. Commits are numbered from 1; 0 is the
// empty database.
type Model struct {
	keys    []string // sorted, every key that ever had a version
	history map[string][]version
	commits int
}

type version struct {
	commit  int
	value   string
	deleted bool
}

// Op is one operation of a commit.
type Op struct {
	Key, Value string
	Delete     bool
}

// NewModel returns an empty model.
func NewModel() *Model { return &Model{history: map[string][]version{}} }

// Commit applies operations atomically and returns the number of the commit.
func (m *Model) Commit(ops []Op) int {
	m.commits++
	for _, op := range ops {
		h, known := m.history[op.Key]
		if !known {
			i := sort.SearchStrings(m.keys, op.Key)
			m.keys = slices.Insert(m.keys, i, op.Key)
		}
		v := version{m.commits, op.Value, op.Delete}
		if n := len(h); n > 0 && h[n-1].commit == m.commits {
			h[n-1] = v // the last operation of a batch wins
		} else {
			h = append(h, v)
		}
		m.history[op.Key] = h
	}
	return m.commits
}

// Commits is the number of the newest commit.
func (m *Model) Commits() int { return m.commits }

// Truncate forgets every commit after number c, as a crash may.
func (m *Model) Truncate(c int) {
	for k, h := range m.history {
		for len(h) > 0 && h[len(h)-1].commit > c {
			h = h[:len(h)-1]
		}
		m.history[k] = h
	}
	m.commits = min(m.commits, c)
}

// Get returns the value of a key after commit at.
func (m *Model) Get(key string, at int) (string, bool) {
	h := m.history[key]
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].commit <= at {
			return h[i].value, !h[i].deleted
		}
	}
	return "", false
}

// Row is a key and its value.
type Row struct{ Key, Value string }

// Rows lists what is there after commit at within [lo, hi); nil means
// unbounded.
func (m *Model) Rows(lo, hi []byte, at int) []Row {
	var out []Row
	i := 0
	if lo != nil {
		i = sort.SearchStrings(m.keys, string(lo))
	}
	for ; i < len(m.keys); i++ {
		k := m.keys[i]
		if hi != nil && k >= string(hi) {
			break
		}
		if v, ok := m.Get(k, at); ok {
			out = append(out, Row{k, v})
		}
	}
	return out
}

// Cursor walks over rows as an iterator must.
type Cursor struct {
	rows []Row
	at   int // -1 before the first, len(rows) after the last
	used bool
}

// NewCursor returns a cursor that stands nowhere.
func NewCursor(rows []Row) *Cursor { return &Cursor{rows: rows} }

// First moves to the first row.
func (c *Cursor) First() bool { return c.to(0) }

// Last moves to the last row.
func (c *Cursor) Last() bool { return c.to(len(c.rows) - 1) }

// SeekGE moves to the first row at or after key.
func (c *Cursor) SeekGE(key string) bool {
	return c.to(sort.Search(len(c.rows), func(i int) bool { return c.rows[i].Key >= key }))
}

// SeekLT moves to the last row before key.
func (c *Cursor) SeekLT(key string) bool {
	return c.to(sort.Search(len(c.rows), func(i int) bool { return c.rows[i].Key >= key }) - 1)
}

// Next moves on.
func (c *Cursor) Next() bool {
	if !c.used {
		return c.First()
	}
	return c.to(min(c.at+1, len(c.rows)))
}

// Prev moves back.
func (c *Cursor) Prev() bool {
	if !c.used {
		return c.Last()
	}
	return c.to(max(c.at-1, -1))
}

// Row is the current row; false when there is none.
func (c *Cursor) Row() (Row, bool) {
	if !c.used || c.at < 0 || c.at >= len(c.rows) {
		return Row{}, false
	}
	return c.rows[c.at], true
}

func (c *Cursor) to(i int) bool {
	c.at, c.used = i, true
	_, ok := c.Row()
	return ok
}
