package testkit

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Row is a key and its value, or the error of reading it.
type Row struct {
	Key, Value string
	Err        error
	Expiry     int64 // when it expires; 0 for never
}

// String returns a row as text for failing tests.
func (r Row) String() string {
	s := fmt.Sprintf("%+q=%+q", r.Key, r.Value)
	if r.Expiry != 0 {
		s += fmt.Sprint(" until ", r.Expiry)
	}
	if r.Err != nil {
		s += fmt.Sprintf(" (%v)", r.Err)
	}
	return s
}

// Scan returns the rows within a span.
func (m *Model) Scan(v View, keyspace int, span Span) []Row {
	return m.read(v, nil, Read{Keyspace: keyspace, Span: span})
}

// Rows returns the rows of the default keyspace in [lo, hi) after commit at, at
// the current time; nil is no bound. It is for tests that do not keep views
// while time passes.
func (m *Model) Rows(lo, hi []byte, at int) []Row {
	return m.Scan(View{at, m.now}, Default, NewSpan(lo, hi))
}

// KeysOnly returns rows as a scan of keys does: without values and their
// errors.
func KeysOnly(rows []Row) []Row {
	out := make([]Row, len(rows))
	for i, r := range rows {
		out[i].Key, out[i].Expiry = r.Key, r.Expiry
	}
	return out
}

// Read is a scan: a span of a keyspace, from either end, with at most Limit
// rows. Limit 0 is no limit.
type Read struct {
	Keyspace int
	Span     Span
	Reverse  bool
	Limit    int
	KeysOnly bool
}

// read returns the rows at a view, with operations on top of it.
func (m *Model) read(v View, overlay []Op, r Read) []Row {
	s := m.spaces[r.Keyspace] // also of a keyspace that was dropped after the transaction began
	entries := s.between(r.Span)
	if len(overlay) > 0 {
		entries = withOverlay(entries, overlay, r)
	}
	size := len(entries)
	if r.Limit > 0 {
		size = min(size, r.Limit)
	}
	rows := make([]Row, 0, size)
	for i, e := range entries {
		if r.Reverse {
			e = entries[len(entries)-1-i]
		}
		h := e.visible(v.Commit)
		if len(overlay) > 0 {
			h = m.history(v.Commit, overlay, r.Keyspace, e.key)
		}
		value, exists, err := s.resolve(h, v.Now)
		if !exists {
			continue
		}
		row := Row{e.key, value, err, 0}
		if r.KeysOnly {
			row = Row{Key: e.key}
		}
		if last := h[len(h)-1]; last.kind == PutTTL {
			row.Expiry = last.expiry
		}
		if rows = append(rows, row); len(rows) == r.Limit {
			break
		}
	}
	return rows
}

// withOverlay adds entries without history for the keys that only the overlay
// has.
func withOverlay(entries []*entry, overlay []Op, r Read) []*entry {
	entries = slices.Clone(entries)
	for i := range overlay {
		op := &overlay[i]
		if op.Keyspace != r.Keyspace || op.kind() == DeleteRange || !r.Span.Contains(op.Key) {
			continue
		}
		at, known := slices.BinarySearchFunc(entries, op.Key, func(e *entry, key string) int { return strings.Compare(e.key, key) })
		if !known {
			entries = slices.Insert(entries, at, &entry{key: op.Key})
		}
	}
	return entries
}

// Cursor walks rows as an iterator must. A row with an error stops it: there is
// then no current row, Next and Prev do nothing, and First, Last and the seeks
// begin again.
type Cursor struct {
	rows []Row
	at   int // -1 before the first, len(rows) after the last
	used bool
}

// NewCursor returns an unpositioned cursor.
func NewCursor(rows []Row) *Cursor { return &Cursor{rows: rows} }

// First moves to the first row.
func (c *Cursor) First() bool { return c.to(0) }

// Last moves to the last row.
func (c *Cursor) Last() bool { return c.to(len(c.rows) - 1) }

// SeekGE moves to the first row at or after key.
func (c *Cursor) SeekGE(key string) bool { return c.to(c.search(key)) }

// SeekLT moves to the last row before key.
func (c *Cursor) SeekLT(key string) bool { return c.to(c.search(key) - 1) }

func (c *Cursor) search(key string) int {
	return sort.Search(len(c.rows), func(i int) bool { return c.rows[i].Key >= key })
}

// Next moves to the next row.
func (c *Cursor) Next() bool {
	switch {
	case c.Err() != nil:
		return false
	case !c.used:
		return c.First()
	}
	return c.to(min(c.at+1, len(c.rows)))
}

// Prev moves to the previous row.
func (c *Cursor) Prev() bool {
	switch {
	case c.Err() != nil:
		return false
	case !c.used:
		return c.Last()
	}
	return c.to(max(c.at-1, -1))
}

// Row returns the current row, or false when there is none.
func (c *Cursor) Row() (Row, bool) {
	if !c.on() || c.Err() != nil {
		return Row{}, false
	}
	return c.rows[c.at], true
}

// Err returns the error of the row that stopped the cursor.
func (c *Cursor) Err() error {
	if !c.on() {
		return nil
	}
	return c.rows[c.at].Err
}

func (c *Cursor) on() bool { return c.used && c.at >= 0 && c.at < len(c.rows) }

func (c *Cursor) to(i int) bool {
	c.at, c.used = i, true
	_, ok := c.Row()
	return ok
}
