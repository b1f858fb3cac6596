package testkit

import (
	"slices"
	"testing"
)

// txnTwin is a transaction of the model beside what the naive model makes of
// it: it notes every read anew and answers from the log.
type txnTwin struct {
	*both
	tx    *Txn
	ops   []Op
	reads []twinRead
	locks []keyRef
}

type twinRead struct {
	Read
	ops  []Op
	rows []Row
}

// answer is what a read returns after a commit, with operations on top.
func (x *txnTwin) answer(commit int, r Read, ops []Op) []Row {
	n := x.n.upTo(commit, ops)
	rows := n.rows(View{n.commits, x.tx.View().Now}, r.Keyspace, r.Span)
	if r.KeysOnly {
		rows = KeysOnly(rows)
	}
	if r.Reverse {
		slices.Reverse(rows)
	}
	for i, row := range rows {
		if i+1 == r.Limit || row.Err != nil {
			return rows[:i+1]
		}
	}
	return rows
}

// scan reads in both.
func (x *txnTwin) scan(r Read) {
	x.Helper()
	got, want := x.tx.Scan(r), x.answer(x.tx.View().Commit, r, x.ops)
	if !slices.EqualFunc(got, want, sameRow) {
		x.Fatalf("%+v: %v, want %v\n%v on\n%s", r, got, want, x.ops, x.story())
	}
	x.reads = append(x.reads, twinRead{r, slices.Clone(x.ops), want})
}

// lookup reads a key in both, for update or not.
func (x *txnTwin) lookup(keyspace int, key string) {
	x.Helper()
	r := Read{Keyspace: keyspace, Span: Span{Lo: key, Hi: key + "\x00"}}
	var got []Row
	var value string
	var exists bool
	var err error
	switch x.g.IntN(4) {
	case 0:
		x.locks = append(x.locks, keyRef{keyspace, key})
		value, exists, err = x.tx.LookupForUpdate(keyspace, key)
	case 1:
		r.KeysOnly = true
		exists = x.tx.Has(keyspace, key)
	default:
		value, exists, err = x.tx.Lookup(keyspace, key)
	}
	if exists {
		got = []Row{{Key: key, Value: value, Err: err}}
	}
	want := x.answer(x.tx.View().Commit, r, x.ops)
	if !slices.EqualFunc(got, want, sameRow) {
		x.Fatalf("%d/%q: %q, %v, %v; want %v\n%v on\n%s", keyspace, key, value, exists, err, want, x.ops, x.story())
	}
	x.reads = append(x.reads, twinRead{r, slices.Clone(x.ops), want})
}

// walk moves a cursor of the transaction beside one over the rows that the log
// says there are, while operations are added that it must not see.
func (x *txnTwin) walk(keyspace int, span Span) {
	x.Helper()
	keysOnly := x.g.IntN(3) == 0
	ops := slices.Clone(x.ops)
	n := x.n.upTo(x.tx.View().Commit, ops)
	rows := n.rows(View{n.commits, x.tx.View().Now}, keyspace, span)
	if keysOnly {
		rows = KeysOnly(rows)
	}
	c, w := x.tx.Cursor(keyspace, span, keysOnly), NewCursor(rows)
	for range 1 + x.g.IntN(10) {
		read := Read{Keyspace: keyspace, Span: span, Limit: 1, KeysOnly: keysOnly}
		key := x.g.KeyOf(x.m, keyspace)
		row, on := w.Row()
		move := x.g.IntN(12)
		reads := true
		var got, want bool
		switch {
		case move == 0:
			got, want = c.First(), w.First()
		case move == 1:
			got, want, read.Reverse = c.Last(), w.Last(), true
		case move == 2:
			got, want, read.Span.Lo = c.SeekGE(key), w.SeekGE(key), max(span.Lo, key)
		case move == 3:
			got, want, read.Reverse, read.Span = c.SeekLT(key), w.SeekLT(key), true, upTo(span, key)
		case move < 8:
			if reads = w.Err() == nil && (on || w.at < len(rows) || !w.used); on {
				read.Span.Lo = row.Key + "\x00"
			}
			got, want = c.Next(), w.Next()
		default:
			if read.Reverse, reads = true, w.Err() == nil && (on || w.at >= 0); on {
				read.Span = upTo(span, row.Key)
			}
			got, want = c.Prev(), w.Prev()
		}
		gotRow, _ := c.Row()
		row, _ = w.Row()
		if got != want || gotRow != row || (c.Err() == nil) != (w.Err() == nil) {
			x.Fatalf("cursor over %+v at move %d: %v %v %v, want %v %v %v", span, move, got, gotRow, c.Err(), want, row, w.Err())
		}
		if reads {
			x.reads = append(x.reads, twinRead{read, ops, x.answer(x.tx.View().Commit, read, ops)})
		}
		if x.g.IntN(4) == 0 {
			x.write()
		}
	}
}

// upTo is the part of a span before a key.
func upTo(s Span, key string) Span {
	if s.NoEnd || key < s.Hi {
		s.Hi, s.NoEnd = key, false
	}
	return s
}

func (x *txnTwin) write() {
	before := len(x.ops)
	x.ops = x.g.AppendOp(slices.Clone(x.ops), x.m)
	for _, op := range x.ops[before:] {
		if op.Kind == DeleteRange && !op.NoEnd && op.Key >= op.Hi {
			x.ops = x.ops[:before]
		}
		x.tx.Write(op)
	}
}

// overlaps says whether an operation touches what a read has seen: if so the
// place where either begins is in both.
func (r twinRead) overlaps(op Op) bool {
	in := func(key string) bool {
		if key < r.Span.Lo || !r.Span.NoEnd && key >= r.Span.Hi {
			return false
		}
		n := len(r.rows)
		if n == 0 || n != r.Limit && r.rows[n-1].Err == nil {
			return true
		}
		return key == r.rows[n-1].Key || key < r.rows[n-1].Key != r.Reverse
	}
	begin := r.Span.Lo
	if !in(begin) && len(r.rows) > 0 {
		begin = r.rows[len(r.rows)-1].Key
	}
	return op.Keyspace == r.Keyspace && (in(op.Key) && naiveOp{Op: op}.covers(r.Keyspace, op.Key) || in(begin) && naiveOp{Op: op}.covers(r.Keyspace, begin))
}

// touched says whether a commit after the snapshot overlaps a read.
func (x *txnTwin) touched(r twinRead) bool {
	return slices.ContainsFunc(x.n.log, func(op naiveOp) bool { return op.commit > x.tx.View().Commit && r.overlaps(op.Op) })
}

func (x *txnTwin) serializable() Verdict {
	verdict := MustCommit
	for _, r := range x.reads {
		if !slices.EqualFunc(r.rows, x.answer(x.n.commits, r.Read, r.ops), sameRow) && len(x.ops) > 0 {
			return MustConflict
		}
		if x.touched(r) && len(x.ops) > 0 {
			verdict = MayConflict
		}
	}
	return max(verdict, x.lockVerdict())
}

func (x *txnTwin) lockVerdict() Verdict {
	for _, k := range x.locks {
		if x.touched(twinRead{Read: Read{Keyspace: k.keyspace, Span: KeySpan(k.key)}}) {
			return MayConflict
		}
	}
	return MustCommit
}

func (x *txnTwin) isolation() Verdict {
	verdict := x.lockVerdict()
	if len(x.ops) == 0 {
		return verdict
	}
	own := slices.Clone(x.ops)
	for _, k := range x.locks {
		own = append(own, Op{Keyspace: k.keyspace, Key: k.key})
	}
	for _, op := range own {
		hi := op.Hi
		if op.Kind != DeleteRange {
			hi = op.Key + "\x00"
		}
		if x.touched(twinRead{Read: Read{Keyspace: op.Keyspace, Span: Span{op.Key, hi, op.NoEnd}}}) {
			verdict = max(verdict, MayConflict)
		}
		for _, other := range x.n.log {
			old := View{x.tx.View().Commit, x.tx.View().Now}
			v1, ok1, err1 := x.n.get(old, op.Keyspace, other.Key)
			v2, ok2, err2 := x.n.get(View{x.n.commits, old.Now}, op.Keyspace, other.Key)
			if op.Kind != Merge && (naiveOp{Op: op}).covers(op.Keyspace, other.Key) && (v1 != v2 || ok1 != ok2 || (err1 == nil) != (err2 == nil)) {
				return MustConflict
			}
		}
	}
	return verdict
}

// TestTxnAgreesWithReplay compares random transactions, beside other commits,
// with what the log says: every read, and both verdicts.
func TestTxnAgreesWithReplay(t *testing.T) {
	var verdicts [2][MustConflict + 1]int
	for seed := range 6 * histories() {
		b := newBoth(t, seed)
		b.n.mergers[b.m.CreateKeyspace("other", Counter)] = Counter
		for range b.g.IntN(30) {
			b.commit(b.g.Commit(b.m))
		}
		x := &txnTwin{both: b, tx: b.m.Begin()}
		b.m.Advance(b.g.Tick(b.m))
		marks := []int{0}
		for range 1 + b.g.IntN(16) {
			id := b.g.Keyspace(b.m)
			switch n := b.g.IntN(20); {
			case n < 6:
				x.write()
			case n < 9:
				x.lookup(id, b.g.KeyOf(b.m, id))
			case n < 12:
				x.scan(Read{id, b.g.Spanned(b.m, id), b.g.IntN(2) == 0, b.g.IntN(4), b.g.IntN(4) == 0})
			case n < 14:
				x.walk(id, b.g.Spanned(b.m, id))
			case n < 16:
				if marks = append(marks, x.tx.Savepoint()); b.g.IntN(2) == 0 {
					i := b.g.IntN(len(marks))
					x.tx.RollbackTo(marks[i])
					x.ops, marks = slices.Clone(x.ops[:marks[i]]), marks[:i+1]
				}
			default:
				b.commit(b.g.Commit(b.m))
			}
		}
		got := [2]Verdict{x.tx.Serializable(), x.tx.SnapshotIsolation()}
		if want := [2]Verdict{x.serializable(), x.isolation()}; got != want {
			t.Fatalf("seed %d: verdicts %v, want %v; reads %+v, operations %v, since %d\n%s", seed, got, want, x.reads, x.ops, x.tx.View().Commit, b.story())
		}
		for i, v := range got {
			verdicts[i][v]++
		}
		b.n.commit(x.ops)
		x.tx.Commit()
		b.compare(b.m.View())
	}
	t.Log(verdicts)
	for i := range verdicts {
		for v, n := range verdicts[i] {
			if n < int(histories()/40) {
				t.Errorf("level %d, verdict %d: only %d times", i, v, n)
			}
		}
	}
}
