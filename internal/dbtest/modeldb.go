package dbtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/merger"
)

// CounterKey holds the number of the commit that wrote it. Every commit writes
// it, so after a crash the database itself says how many commits it has.
const CounterKey = "\x00commit"

// IsMergeError reports whether an error comes from a merge operator.
func IsMergeError(err error) bool {
	return errors.Is(err, merger.ErrForm) || errors.Is(err, merger.ErrOverflow)
}

// Taker takes operations: a batch, or a tree directly.
type Taker interface {
	Put(key, value []byte) error
	Delete(key []byte) error
	SingleDelete(key []byte) error
	Merge(key, operand []byte) error
	DeleteRange(lo, hi []byte) error
	PutTTL(key, value []byte, d time.Duration) error
	PutUntil(key, value []byte, at time.Time) error
}

// FullTree is a keyspace; a database is its default one.
type FullTree interface {
	Reader
	Taker
	Range(lo, hi []byte) *seerdb.Rows
	Prefix(p []byte) *seerdb.Rows
	Compact(ctx context.Context, lo, hi []byte) error
	BulkLoad(ctx context.Context, rows iter.Seq2[[]byte, []byte], o *seerdb.BulkOptions) (seerdb.BulkStats, error)
}

// Do performs an operation at the model's time now.
func Do(to Taker, op *testkit.Op, now int64) error {
	key, value := []byte(op.Key), []byte(op.Value)
	switch {
	case op.Delete || op.Kind == testkit.Delete:
		return to.Delete(key)
	case op.Kind == testkit.SingleDelete:
		return to.SingleDelete(key)
	case op.Kind == testkit.Merge:
		return to.Merge(key, value)
	case op.Kind == testkit.DeleteRange:
		return to.DeleteRange(op.Range())
	case op.Kind == testkit.PutTTL && op.Expiry%2 == 0:
		return to.PutUntil(key, value, time.UnixMilli(Epoch+op.Expiry))
	case op.Kind == testkit.PutTTL:
		return to.PutTTL(key, value, time.Duration(op.Expiry-now)*time.Millisecond)
	}
	return to.Put(key, value)
}

// ModelDB is an open database beside a model of its content.
type ModelDB struct {
	DB    *seerdb.DB
	Model *testkit.Model
	Trees map[int]FullTree // the open ones, by their number in the model
	Watch *filterWatch     // nil for no filter
}

// Options returns the options of a keyspace. They depend only on its number, so
// they are the same after reopening.
func (w *ModelDB) Options(id int) *seerdb.KeyspaceOptions {
	return w.OptionsOf(id, w.Model.Merger(id))
}

// OptionsOf is Options for a keyspace that the model may not have yet.
func (w *ModelDB) OptionsOf(id int, m *testkit.Merger) *seerdb.KeyspaceOptions {
	o := &seerdb.KeyspaceOptions{
		ValueThreshold: []int{0, 1, -1, 30, 200}[id%5],
		Compression:    seerdb.Compression(id / 2 % 5),
		Merger:         m.Operator(),
	}
	if w.Watch != nil {
		o.CompactionFilter = w.Watch.Filter(id)
	}
	return o
}

// Tree returns a keyspace, and opens it if necessary.
func (w *ModelDB) Tree(id int) (FullTree, error) {
	if id == testkit.Default {
		return w.DB, nil
	}
	if t := w.Trees[id]; t != nil {
		return t, nil
	}
	o := w.Options(id)
	o.ErrorIfMissing = true
	k, err := w.DB.Keyspace(w.Model.KeyspaceName(id), o)
	if err != nil {
		return nil, err
	}
	w.Trees[id] = k
	return k, nil
}

// At returns a reader of a keyspace at a snapshot; nil is no snapshot.
func (w *ModelDB) At(s *seerdb.Snapshot, id int) (Reader, error) {
	t, err := w.Tree(id)
	switch {
	case err != nil || s == nil:
		return t, err
	case id == testkit.Default:
		return s, nil
	}
	return s.In(t.(*seerdb.Keyspace)), nil
}

// Batch returns a batch of operations.
func (w *ModelDB) Batch(ops []testkit.Op) (*seerdb.Batch, error) {
	b := w.DB.NewBatch()
	for i := range ops {
		var to Taker = b
		if id := ops[i].Keyspace; id != testkit.Default {
			t, err := w.Tree(id)
			if err != nil {
				return nil, err
			}
			to = b.In(t.(*seerdb.Keyspace))
		}
		if err := Do(to, &ops[i], w.Model.Now()); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Names compares the names of the keyspaces with those of the model.
func (w *ModelDB) Names() error {
	var want []string
	for _, id := range w.Model.Keyspaces() {
		if id != testkit.Default {
			want = append(want, w.Model.KeyspaceName(id))
		}
	}
	slices.Sort(want)
	got, err := w.DB.Keyspaces()
	got = slices.DeleteFunc(got, func(name string) bool { return name == FilteredName })
	if err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("keyspaces %q, want %q", got, want)
	}
	return err
}

// Check compares everything in a keyspace, in both directions.
func (w *ModelDB) Check(s *seerdb.Snapshot, v testkit.View, id int) error {
	src, err := w.At(s, id)
	if err != nil {
		return err
	}
	rows := w.Model.Scan(v, id, testkit.Span{NoEnd: true})
	it, err := src.NewIter(nil)
	if err != nil {
		return err
	}
	if err = compareRows(it, rows, false); err == nil {
		err = compareRows(it, rows, true)
	}
	if err != nil {
		err = fmt.Errorf("keyspace %d at %+v: %w", id, v, err)
	}
	_ = it.Close() // reports the row that could not be merged again
	return err
}

// Counter returns the number of the newest commit in the database.
func (w *ModelDB) Counter() (int, error) {
	v, err := w.DB.Get([]byte(CounterKey))
	switch {
	case errors.Is(err, seerdb.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case len(v) != 8:
		return 0, fmt.Errorf("the counter is %q", v)
	}
	return int(binary.BigEndian.Uint64(v)), nil
}

// CounterOp returns the last operation of each commit.
func CounterOp(commit int) testkit.Op {
	return testkit.Op{Key: CounterKey, Value: string(binary.BigEndian.AppendUint64(nil, uint64(commit)))}
}

// compareRows compares the rows of an iterator, in one direction, with rows. A
// row that cannot be read must stop it; a seek then passes the row.
func compareRows(it *seerdb.Iter, rows []testkit.Row, back bool) error {
	start, step := it.First, it.Next
	past := func(key string) bool { return it.SeekGE([]byte(key + "\x00")) }
	if back {
		rows = slices.Clone(rows)
		slices.Reverse(rows)
		start, step = it.Last, it.Prev
		past = func(key string) bool { return it.SeekLT([]byte(key)) }
	}
	ok := start()
	for i, want := range rows {
		if want.Err != nil {
			if ok || !IsMergeError(it.Err()) {
				return fmt.Errorf("backward %v: row %d is %q=%q (%v), want %q with %w", back, i, it.Key(), it.Value(), it.Err(), want.Key, want.Err)
			}
			ok = past(want.Key)
			continue
		}
		expiry := ModelTime(it.Expiry())
		if !ok || string(it.Key()) != want.Key || string(it.Value()) != want.Value || expiry != want.Expiry {
			return fmt.Errorf("backward %v: row %d is %q=%q until %d (%v), want %q=%q until %d", back, i,
				it.Key(), it.Value(), expiry, it.Err(), want.Key, want.Value, want.Expiry)
		}
		ok = step()
	}
	if ok || it.Err() != nil {
		return fmt.Errorf("backward %v: %d rows, and then %q=%q (%v)", back, len(rows), it.Key(), it.Value(), it.Err())
	}
	return nil
}

// CompareSeq compares a sequence of rows, up to a limit, with want. The
// sequence ends at the first row that cannot be read.
func CompareSeq(rows *seerdb.Rows, want []testkit.Row, back bool, limit int) error {
	seq := rows.All()
	if back {
		seq = rows.Backward()
		want = slices.Clone(want)
		slices.Reverse(want)
	}
	i := 0
	for k, v := range seq {
		expiry := ModelTime(rows.Expiry())
		if i >= len(want) || want[i].Err != nil || want[i].Key != string(k) || !bytes.Equal([]byte(want[i].Value), v) || want[i].Expiry != expiry {
			return fmt.Errorf("backward %v: row %d is %q=%q until %d, want %v", back, i, k, v, expiry, want[min(i, len(want)):min(i+1, len(want))])
		}
		if i++; i == limit {
			return rows.Err()
		}
	}
	switch {
	case i < len(want) && (want[i].Err == nil || !IsMergeError(rows.Err())):
		return fmt.Errorf("backward %v: ended after %d rows (%v), want %v", back, i, rows.Err(), want[i])
	case i == len(want):
		return rows.Err()
	}
	return nil
}

// ModelIter is an iterator that stays open over several steps, beside a cursor
// of the model.
type ModelIter struct {
	Iter   *seerdb.Iter
	Cursor Cursor
	What   string
	Path   []string // the moves made
}

// Cursor has the methods that the model's cursors share.
type Cursor interface {
	First() bool
	Last() bool
	Next() bool
	Prev() bool
	SeekGE(key string) bool
	SeekLT(key string) bool
	Row() (testkit.Row, bool)
	Err() error
}

// Step makes a move with both: from 4 on it is Next, and from prev on Prev. It
// returns how they differ after it, or "".
func (w *ModelIter) Step(move, prev int, key string) (diff string) {
	it, c := w.Iter, w.Cursor
	var got, want bool
	var name string
	switch {
	case move == 0:
		name, got, want = "First", it.First(), c.First()
	case move == 1:
		name, got, want = "Last", it.Last(), c.Last()
	case move == 2:
		name, got, want = fmt.Sprintf("SeekGE(%q)", key), it.SeekGE([]byte(key)), c.SeekGE(key)
	case move == 3 && len(w.Path)%2 == 0: // with no key in between
		name, got, want = fmt.Sprintf("SeekLE(%q)", key), it.SeekLE([]byte(key)), c.SeekLT(key+"\x00")
	case move == 3:
		name, got, want = fmt.Sprintf("SeekLT(%q)", key), it.SeekLT([]byte(key)), c.SeekLT(key)
	case move < prev:
		name, got, want = "Next", it.Next(), c.Next()
	default:
		name, got, want = "Prev", it.Prev(), c.Prev()
	}
	w.Path = append(w.Path, name)
	row, _ := c.Row()
	same := c.Err() == nil && it.Err() == nil || c.Err() != nil && IsMergeError(it.Err())
	expiry := ModelTime(it.Expiry())
	length := it.ValueLen() // before a value that cannot be read ends the walk
	if got == want && string(it.Key()) == row.Key && string(it.Value()) == row.Value && length == len(row.Value) && expiry == row.Expiry && same {
		return ""
	}
	return fmt.Sprintf("iterator of %s after %s: %v %q=%q until %d (%v), want %v %q=%q until %d (%v)", w.What, strings.Join(w.Path, " "),
		got, it.Key(), it.Value(), expiry, it.Err(), want, row.Key, row.Value, row.Expiry, c.Err())
}
