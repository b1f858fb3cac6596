package seerdb_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/merger"
)

// What the tests that drive the whole data model share: a database whose
// keyspaces, time and merge operators are those of a model.

// wideEpoch is the time at which models begin, in Unix milliseconds.
const wideEpoch = 1_000_000

// wideClock is a clock that stands still until it is set. The engine asks it
// from many goroutines.
type wideClock struct {
	ms      atomic.Int64
	elapsed atomic.Int64 // ms; what setBack takes from ms has elapsed all the same
}

func newWideClock() *wideClock {
	c := &wideClock{}
	c.set(0)
	return c
}

// set makes it the time of a model.
func (c *wideClock) set(model int64) {
	c.ms.Store(wideEpoch + model)
	c.elapsed.Store(model)
}

// setBack makes it show an earlier time than that of a model.
func (c *wideClock) setBack(model, by int64) {
	c.set(model)
	c.ms.Add(-by)
}

// since is how much has elapsed, for the option Elapsed of tests.
func (c *wideClock) since(time.Time) time.Duration {
	return time.Duration(c.elapsed.Load()) * time.Millisecond
}

// add makes it later, or earlier.
func (c *wideClock) add(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func (c *wideClock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

// wideExpiry is an expiry in the time of a model.
func wideExpiry(at time.Time, expires bool) int64 {
	if !expires {
		return 0
	}
	return at.UnixMilli() - wideEpoch
}

// wideMerger is the public operator that a model's one describes.
func wideMerger(m *testkit.Merger) seerdb.Merger {
	switch m {
	case nil:
		return nil
	case testkit.Counter:
		return merger.Counter{}
	case testkit.Union:
		return merger.Union{}
	case testkit.Max:
		return merger.Max{}
	case testkit.Min:
		return merger.Min{}
	case testkit.AppendComma:
		return merger.Append{Sep: ", "}
	case testkit.AppendBare:
		return merger.Append{}
	}
	panic("no operator " + m.Name)
}

// isMergeError says whether an error is a merge operator's own.
func isMergeError(err error) bool {
	return errors.Is(err, merger.ErrForm) || errors.Is(err, merger.ErrOverflow)
}

// wideTaker takes operations: a batch, or a tree at once.
type wideTaker interface {
	Put(key, value []byte) error
	Delete(key []byte) error
	SingleDelete(key []byte) error
	Merge(key, operand []byte) error
	DeleteRange(lo, hi []byte) error
	PutTTL(key, value []byte, d time.Duration) error
	PutUntil(key, value []byte, at time.Time) error
}

// wideTree is a database, which is its default keyspace, or another keyspace.
type wideTree interface {
	reader
	wideTaker
	Range(lo, hi []byte) *seerdb.Rows
	Prefix(p []byte) *seerdb.Rows
	Compact(ctx context.Context, lo, hi []byte) error
	BulkLoad(ctx context.Context, rows iter.Seq2[[]byte, []byte], o *seerdb.BulkOptions) (seerdb.BulkStats, error)
}

// wideDo performs an operation, when the time of the model is now.
func wideDo(to wideTaker, op *testkit.Op, now int64) error {
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
		return to.PutUntil(key, value, time.UnixMilli(wideEpoch+op.Expiry))
	case op.Kind == testkit.PutTTL:
		return to.PutTTL(key, value, time.Duration(op.Expiry-now)*time.Millisecond)
	}
	return to.Put(key, value)
}

// wideDB is an open database beside the model of what is in it.
type wideDB struct {
	db    *seerdb.DB
	m     *testkit.Model
	trees map[int]wideTree // of those opened, by the number in the model
	watch *filterWatch     // nil: no filter
}

// options are those of a keyspace. They hang on nothing but its number, so they
// are the same after reopening.
func (w *wideDB) options(id int) *seerdb.KeyspaceOptions {
	return w.optionsOf(id, w.m.Merger(id))
}

// optionsOf is options for a keyspace that the model need not know yet.
func (w *wideDB) optionsOf(id int, m *testkit.Merger) *seerdb.KeyspaceOptions {
	o := &seerdb.KeyspaceOptions{
		ValueThreshold: []int{0, 1, -1, 30, 200}[id%5],
		Compression:    seerdb.Compression(id / 2 % 5),
		Merger:         wideMerger(m),
	}
	if w.watch != nil {
		o.CompactionFilter = w.watch.filter(id)
	}
	return o
}

// tree returns a keyspace, and opens it if it is not open.
func (w *wideDB) tree(id int) (wideTree, error) {
	if id == testkit.Default {
		return w.db, nil
	}
	if t := w.trees[id]; t != nil {
		return t, nil
	}
	o := w.options(id)
	o.ErrorIfMissing = true
	k, err := w.db.Keyspace(w.m.KeyspaceName(id), o)
	if err != nil {
		return nil, err
	}
	w.trees[id] = k
	return k, nil
}

// at is what reads a keyspace at a snapshot; nil is no snapshot.
func (w *wideDB) at(s *seerdb.Snapshot, id int) (reader, error) {
	t, err := w.tree(id)
	switch {
	case err != nil || s == nil:
		return t, err
	case id == testkit.Default:
		return s, nil
	}
	return s.In(t.(*seerdb.Keyspace)), nil
}

// batch makes a batch of operations.
func (w *wideDB) batch(ops []testkit.Op) (*seerdb.Batch, error) {
	b := w.db.NewBatch()
	for i := range ops {
		var to wideTaker = b
		if id := ops[i].Keyspace; id != testkit.Default {
			t, err := w.tree(id)
			if err != nil {
				return nil, err
			}
			to = b.In(t.(*seerdb.Keyspace))
		}
		if err := wideDo(to, &ops[i], w.m.Now()); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// names compares the keyspaces there are with those of the model.
func (w *wideDB) names() error {
	var want []string
	for _, id := range w.m.Keyspaces() {
		if id != testkit.Default {
			want = append(want, w.m.KeyspaceName(id))
		}
	}
	slices.Sort(want)
	got, err := w.db.Keyspaces()
	got = slices.DeleteFunc(got, func(name string) bool { return name == filteredName })
	if err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("keyspaces %q, want %q", got, want)
	}
	return err
}

// check compares everything in a keyspace, both ways.
func (w *wideDB) check(s *seerdb.Snapshot, v testkit.View, id int) error {
	src, err := w.at(s, id)
	if err != nil {
		return err
	}
	rows := w.m.Scan(v, id, testkit.Span{NoEnd: true})
	it, err := src.NewIter(nil)
	if err != nil {
		return err
	}
	if err = wideRows(it, rows, false); err == nil {
		err = wideRows(it, rows, true)
	}
	if err != nil {
		err = fmt.Errorf("keyspace %d at %+v: %w", id, v, err)
	}
	_ = it.Close() // a row that could not be merged is reported here again
	return err
}

// counter reads the number of the newest commit that is in the database.
func (w *wideDB) counter() (int, error) {
	v, err := w.db.Get([]byte(counterKey))
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

// counterOp is what each commit ends with.
func counterOp(commit int) testkit.Op {
	return testkit.Op{Key: counterKey, Value: string(binary.BigEndian.AppendUint64(nil, uint64(commit)))}
}

// wideRows compares what an iterator shows, in one direction, with rows. A row
// that cannot be read has to stop it, and is then passed by a seek.
func wideRows(it *seerdb.Iter, rows []testkit.Row, back bool) error {
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
			if ok || !isMergeError(it.Err()) {
				return fmt.Errorf("backward %v: row %d is %q=%q (%v), want %q with %w", back, i, it.Key(), it.Value(), it.Err(), want.Key, want.Err)
			}
			ok = past(want.Key)
			continue
		}
		expiry := wideExpiry(it.Expiry())
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

// wideSeq compares a sequence of rows, which ends at the first that cannot be
// read, up to a number of them.
func wideSeq(rows *seerdb.Rows, want []testkit.Row, back bool, limit int) error {
	seq := rows.All()
	if back {
		seq = rows.Backward()
		want = slices.Clone(want)
		slices.Reverse(want)
	}
	i := 0
	for k, v := range seq {
		expiry := wideExpiry(rows.Expiry())
		if i >= len(want) || want[i].Err != nil || want[i].Key != string(k) || !bytes.Equal([]byte(want[i].Value), v) || want[i].Expiry != expiry {
			return fmt.Errorf("backward %v: row %d is %q=%q until %d, want %v", back, i, k, v, expiry, want[min(i, len(want)):min(i+1, len(want))])
		}
		if i++; i == limit {
			return rows.Err()
		}
	}
	switch {
	case i < len(want) && (want[i].Err == nil || !isMergeError(rows.Err())):
		return fmt.Errorf("backward %v: ended after %d rows (%v), want %v", back, i, rows.Err(), want[i])
	case i == len(want):
		return rows.Err()
	}
	return nil
}

// wideIter is an iterator that stays open over several steps, beside a cursor of
// the model.
type wideIter struct {
	it   *seerdb.Iter
	c    wideCursor
	what string
	path []string // the moves so far
}

// wideCursor is what a model's cursors have in common.
type wideCursor interface {
	First() bool
	Last() bool
	Next() bool
	Prev() bool
	SeekGE(key string) bool
	SeekLT(key string) bool
	Row() (testkit.Row, bool)
	Err() error
}

// step makes a move with both: from 4 on it is Next, and from prev on Prev. It
// says how they differ after it, or nothing.
func (w *wideIter) step(move, prev int, key string) (diff string) {
	it, c := w.it, w.c
	var got, want bool
	var name string
	switch {
	case move == 0:
		name, got, want = "First", it.First(), c.First()
	case move == 1:
		name, got, want = "Last", it.Last(), c.Last()
	case move == 2:
		name, got, want = fmt.Sprintf("SeekGE(%q)", key), it.SeekGE([]byte(key)), c.SeekGE(key)
	case move == 3 && len(w.path)%2 == 0: // there is no key between
		name, got, want = fmt.Sprintf("SeekLE(%q)", key), it.SeekLE([]byte(key)), c.SeekLT(key+"\x00")
	case move == 3:
		name, got, want = fmt.Sprintf("SeekLT(%q)", key), it.SeekLT([]byte(key)), c.SeekLT(key)
	case move < prev:
		name, got, want = "Next", it.Next(), c.Next()
	default:
		name, got, want = "Prev", it.Prev(), c.Prev()
	}
	w.path = append(w.path, name)
	row, _ := c.Row()
	same := c.Err() == nil && it.Err() == nil || c.Err() != nil && isMergeError(it.Err())
	expiry := wideExpiry(it.Expiry())
	length := it.ValueLen() // before a value that cannot be read ends the walk
	if got == want && string(it.Key()) == row.Key && string(it.Value()) == row.Value && length == len(row.Value) && expiry == row.Expiry && same {
		return ""
	}
	return fmt.Sprintf("iterator of %s after %s: %v %q=%q until %d (%v), want %v %q=%q until %d (%v)", w.what, strings.Join(w.path, " "),
		got, it.Key(), it.Value(), expiry, it.Err(), want, row.Key, row.Value, row.Expiry, c.Err())
}
