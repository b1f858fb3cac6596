package testkit

// TxnCursor walks a span of a transaction as an iterator must. Each move reads
// only as far as the next row, so that the transaction has read what was walked
// over and nothing else. It sees the operations that the transaction had when
// the cursor was made.
type TxnCursor struct {
	t        *Txn
	read     Read // the whole span
	overlay  []Op
	row      Row
	position position
}

type position uint8

const (
	nowhere position = iota // never moved
	onRow
	before  // before the first row
	after   // after the last row
	stopped // by a row that cannot be read
)

// Cursor returns an unpositioned cursor over a span.
func (t *Txn) Cursor(keyspace int, span Span, keysOnly bool) *TxnCursor {
	r := Read{Keyspace: keyspace, Span: span, Limit: 1, KeysOnly: keysOnly}
	return &TxnCursor{t: t, read: r, overlay: t.overlay()}
}

// First moves to the first row.
func (c *TxnCursor) First() bool { return c.forward(c.read.Span.Lo) }

// Last moves to the last row.
func (c *TxnCursor) Last() bool { return c.back(c.read.Span) }

// SeekGE moves to the first row at or after key.
func (c *TxnCursor) SeekGE(key string) bool { return c.forward(key) }

// SeekLT moves to the last row before key.
func (c *TxnCursor) SeekLT(key string) bool { return c.back(Span{Hi: key}) }

// Next moves to the next row.
func (c *TxnCursor) Next() bool {
	switch c.position {
	case onRow:
		return c.forward(c.row.Key + "\x00")
	case nowhere, before:
		return c.First()
	}
	return false
}

// Prev moves to the previous row.
func (c *TxnCursor) Prev() bool {
	switch c.position {
	case onRow:
		return c.back(Span{Hi: c.row.Key})
	case nowhere, after:
		return c.Last()
	}
	return false
}

// Row returns the current row, or false when there is none.
func (c *TxnCursor) Row() (Row, bool) {
	if c.position != onRow {
		return Row{}, false
	}
	return c.row, true
}

// Err returns the error of the row that stopped the cursor.
func (c *TxnCursor) Err() error {
	if c.position != stopped {
		return nil
	}
	return c.row.Err
}

// forward finds the first row at or after key.
func (c *TxnCursor) forward(key string) bool {
	r := c.read
	r.Span.Lo = max(r.Span.Lo, key)
	return c.find(r, after)
}

// back finds the last row of the span that ends where to ends.
func (c *TxnCursor) back(to Span) bool {
	r := c.read
	r.Reverse = true
	if !to.NoEnd && (r.Span.NoEnd || to.Hi < r.Span.Hi) {
		r.Span.Hi, r.Span.NoEnd = to.Hi, false
	}
	return c.find(r, before)
}

func (c *TxnCursor) find(r Read, none position) bool {
	rows := c.t.scan(r, c.overlay)
	switch {
	case len(rows) == 0:
		c.position = none
	case rows[0].Err != nil:
		c.row, c.position = rows[0], stopped
	default:
		c.row, c.position = rows[0], onRow
	}
	return c.position == onRow
}
