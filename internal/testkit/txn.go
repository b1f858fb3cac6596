package testkit

import "slices"

// Txn is an optimistic transaction: it reads the database as it was when the
// transaction began, with its own operations on top, and records what it read,
// so that tests can check whether its commit must conflict.
type Txn struct {
	m         *Model
	view      View
	ops       []Op
	reads     []txnRead
	forUpdate []keyRef
}

// txnRead is a read and its result.
type txnRead struct {
	read    Read
	overlay []Op // the transaction's operations at that time
	rows    []Row
	seen    Span // the part of the span that the result depends on
}

// Begin begins a transaction, now.
func (m *Model) Begin() *Txn { return &Txn{m: m, view: m.View()} }

// View returns what the transaction sees under its own operations.
func (t *Txn) View() View { return t.view }

// Ops returns its operations. Callers must not change the slice.
func (t *Txn) Ops() []Op { return t.ops }

// Write adds an operation. It ignores a DeleteRange of an empty span.
func (t *Txn) Write(op Op) {
	if !op.Span().Empty() {
		t.ops = append(t.ops, op)
	}
}

// Savepoint returns a mark for RollbackTo.
func (t *Txn) Savepoint() int { return len(t.ops) }

// RollbackTo removes the operations since a savepoint. Reads stay recorded.
func (t *Txn) RollbackTo(savepoint int) { t.ops = t.ops[:savepoint:savepoint] }

// overlay returns a slice of the current operations that later ones do not
// change.
func (t *Txn) overlay() []Op { return slices.Clip(t.ops) }

// Lookup reads a key.
func (t *Txn) Lookup(keyspace int, key string) (value string, exists bool, err error) {
	rows := t.Scan(Read{Keyspace: keyspace, Span: KeySpan(key)})
	if len(rows) == 0 {
		return "", false, nil
	}
	return rows[0].Value, true, rows[0].Err
}

// Has reads whether a key exists.
func (t *Txn) Has(keyspace int, key string) bool {
	return len(t.Scan(Read{Keyspace: keyspace, Span: KeySpan(key), KeysOnly: true})) > 0
}

// LookupForUpdate reads a key as if it were also written.
func (t *Txn) LookupForUpdate(keyspace int, key string) (value string, exists bool, err error) {
	t.forUpdate = append(t.forUpdate, keyRef{keyspace, key})
	return t.Lookup(keyspace, key)
}

// Scan reads rows. It ends at the first row that cannot be read, which is the
// last one it returns.
func (t *Txn) Scan(r Read) []Row { return t.scan(r, t.overlay()) }

func (t *Txn) scan(r Read, overlay []Op) []Row {
	rows, ended := t.answer(t.view, r, overlay)
	seen := r.Span
	if ended {
		if last := rows[len(rows)-1].Key; r.Reverse {
			seen.Lo = last
		} else {
			seen.Hi, seen.NoEnd = last+"\x00", false
		}
	}
	t.reads = append(t.reads, txnRead{r, overlay, rows, seen})
	return rows
}

// answer returns the result of a read, and whether it ended before its span
// did.
func (t *Txn) answer(v View, r Read, overlay []Op) (rows []Row, ended bool) {
	rows = t.m.read(v, overlay, r)
	if i := slices.IndexFunc(rows, func(r Row) bool { return r.Err != nil }); i >= 0 {
		return rows[:i+1], true
	}
	return rows, r.Limit > 0 && len(rows) == r.Limit
}

// Commit makes the operations of the transaction the next commit, whether it
// conflicts or not.
func (t *Txn) Commit() int {
	n := t.m.Commit(t.ops)
	if len(t.ops) > 0 && len(t.forUpdate) > 0 {
		t.m.asked = append(t.m.asked, asked{n, t.forUpdate})
	}
	return n
}

// Verdict says how a commit of a transaction must end.
type Verdict int

// The verdicts, in order.
const (
	MustCommit   Verdict = iota // a conflict would be a false one
	MayConflict                 // either is right
	MustConflict                // a commit would break the isolation level
)

// Serializable returns the verdict on a commit of the transaction now, at the
// serializable level.
//
// It must conflict if one of its reads, repeated now with the same operations
// on top, has another result: another row, value or error, a row more or less.
// (Only then: if every result is the same the transaction could have run as a
// whole now.)
//
// It must not conflict if no commit since its snapshot wrote, to whatever
// effect, a key or a range that overlaps what it read; nor if it writes
// nothing. A scan has read as far as it went: up to its last row if it ended by
// its limit or by an error, else the whole span. Keys that it only wrote are
// not read, so two blind writes never conflict. Time does not conflict: the
// reads are repeated at the time of its snapshot.
//
// Otherwise it may conflict: what it read was written, but reads the same.
//
// A keyspace that was dropped since is read as it was then: dropping is not a
// write, but earlier commits to it are. A commit into one fails for another
// reason.
func (t *Txn) Serializable() Verdict {
	verdict := MustCommit
	for _, r := range t.reads {
		if len(t.ops) == 0 {
			break
		}
		rows, _ := t.answer(View{t.m.Commits(), t.view.Now}, r.read, r.overlay)
		if !slices.EqualFunc(rows, r.rows, sameRow) {
			return MustConflict
		}
		if t.written(r.read.Keyspace, r.seen) {
			verdict = MayConflict
		}
	}
	return max(verdict, t.locks())
}

// SnapshotIsolation returns the verdict on a commit of the transaction now, at
// the level of snapshot isolation, where reads do not count.
//
// It must conflict if a commit since its snapshot changed a key that it wrote
// (deleted within a range too, but not only merged into, which loses nothing)
// or read for update: the key reads differently now, at the time of the
// snapshot.
//
// It must also conflict if a transaction that committed since its snapshot, and
// wrote something, read for update what this one writes.
//
// It must not conflict if no commit since its snapshot wrote, to whatever
// effect, a key or range that overlaps one it wrote or a key it read for
// update, and none read for update what it wrote. Otherwise it may. A
// transaction that writes nothing need not conflict.
func (t *Txn) SnapshotIsolation() Verdict {
	verdict := t.locks()
	for i := range t.ops {
		op := &t.ops[i]
		if !t.m.Live(op.Keyspace) {
			continue
		}
		if t.askedFor(op.Keyspace, op.Span()) {
			return MustConflict
		}
		if !t.written(op.Keyspace, op.Span()) {
			continue
		}
		verdict = max(verdict, MayConflict)
		if op.kind() != Merge && t.changed(op.Keyspace, op.Span()) {
			return MustConflict
		}
	}
	for _, k := range t.forUpdate {
		if len(t.ops) > 0 && t.changed(k.keyspace, KeySpan(k.key)) {
			return MustConflict
		}
	}
	return verdict
}

// locks returns MayConflict if a key that was read for update was written
// since, even for a transaction that writes nothing.
func (t *Txn) locks() Verdict {
	for _, k := range t.forUpdate {
		if t.written(k.keyspace, KeySpan(k.key)) {
			return MayConflict
		}
	}
	return MustCommit
}

// askedFor reports whether a commit since the snapshot read a key of a span for
// update.
func (t *Txn) askedFor(keyspace int, span Span) bool {
	for _, a := range t.m.asked {
		for _, k := range a.keys {
			if a.commit > t.view.Commit && k.keyspace == keyspace && KeySpan(k.key).Overlaps(span) {
				return true
			}
		}
	}
	return false
}

// changed reports whether a span reads differently now than at the snapshot.
func (t *Txn) changed(keyspace int, span Span) bool {
	before := t.m.Scan(t.view, keyspace, span)
	after := t.m.Scan(View{t.m.Commits(), t.view.Now}, keyspace, span)
	return !slices.EqualFunc(before, after, sameRow)
}

// written reports whether a commit since the snapshot has an operation that
// overlaps a span.
func (t *Txn) written(keyspace int, span Span) bool {
	for _, ops := range t.m.log[t.view.Commit:] {
		for i := range ops {
			if ops[i].Keyspace == keyspace && ops[i].Span().Overlaps(span) {
				return true
			}
		}
	}
	return false
}

func sameRow(a, b Row) bool {
	return a.Key == b.Key && a.Value == b.Value && (a.Err == nil) == (b.Err == nil)
}
