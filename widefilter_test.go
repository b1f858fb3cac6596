package seerdb_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/testkit"
)

// filterWatch is a filter that changes nothing, and knows what it may be shown:
// a value that its key has had after some commit that every snapshot sees, and
// that was not expired for all readers when the compaction began. A tombstone,
// an operand, a value with its expiry before it, half a merge, or a version that
// a snapshot separates from the rest are none.
type filterWatch struct {
	mu     sync.Mutex
	values map[string]*filterValue // by keyspace, key and value
	oldest int                     // the commit of the oldest snapshot
	floor  int64                   // the time of the reader that is furthest behind
	began  int64                   // that time when the oldest running job began, or before
	asked  int
	err    error // the first violation
}

// filterValue is what is known of a value of a key.
type filterValue struct {
	commit int   // the first after which the key had it
	expiry int64 // the last time at which it ends
}

func newFilterWatch() *filterWatch {
	return &filterWatch{values: map[string]*filterValue{}, oldest: math.MaxInt, began: math.MaxInt64}
}

func filterName(id int, key, value string) string { return fmt.Sprintf("%d/%q=%s", id, key, value) }

// filter is the filter of a keyspace.
func (w *filterWatch) filter(id int) seerdb.CompactionFilter {
	return func(key, value []byte) (seerdb.FilterVerdict, []byte, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked++
		floor := w.began
		v := w.values[filterName(id, string(key), string(value))]
		switch {
		case v == nil:
			w.fail("keyspace %d: the filter was shown %q=%q, which was never so", id, key, value)
		case v.commit > w.oldest:
			w.fail("keyspace %d: the filter was shown %q=%q of commit %d, which the snapshot at %d does not see", id, key, value, v.commit, w.oldest)
		case v.expiry <= floor:
			w.fail("keyspace %d: the filter was shown %q=%q, which expired at %d, at %d", id, key, value, v.expiry, floor)
		}
		return seerdb.FilterKeep, nil, w.err
	}
}

func (w *filterWatch) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// committed notes what the keys of a commit are after it. It comes before the
// engine has the commit.
func (w *filterWatch) committed(m *testkit.Model, ops []testkit.Op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range ops {
		op := &ops[i]
		if op.Kind == testkit.DeleteRange {
			continue
		}
		now, there, err := m.Lookup(m.View(), op.Keyspace, op.Key)
		later, left, laterErr := m.Lookup(testkit.View{Commit: m.Commits(), Now: math.MaxInt64}, op.Keyspace, op.Key)
		if left && laterErr == nil {
			w.note(m, op, later, math.MaxInt64)
		}
		// Operands on what expires are kept apart from it until it has, so their
		// sum is never a value.
		if there && err == nil && !left && op.Kind == testkit.PutTTL {
			w.note(m, op, now, op.Expiry)
		}
	}
}

func (w *filterWatch) note(m *testkit.Model, op *testkit.Op, value string, expiry int64) {
	name := filterName(op.Keyspace, op.Key, value)
	if v := w.values[name]; v == nil {
		w.values[name] = &filterValue{m.Commits(), expiry}
	} else {
		v.commit, v.expiry = min(v.commit, m.Commits()), max(v.expiry, expiry)
	}
}

// readers notes which snapshots there are: a new one after it was taken, one
// that goes before. idle is whether no job runs, so that one that does later began
// after this.
func (w *filterWatch) readers(now int64, snaps []testkit.View, idle bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if idle {
		w.began = w.floor // until what is about to change has
	}
	w.oldest, w.floor = math.MaxInt, now
	for _, s := range snaps {
		w.oldest, w.floor = min(w.oldest, s.Commit), min(w.floor, s.Now)
	}
	w.began = min(w.began, w.floor)
}

// violation is what the filter was shown that it should not have been.
func (w *filterWatch) violation() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// The keyspace filteredName has a filter that does something: it removes values
// that begin with X and changes those that begin with Y. When is not known, so
// the test accepts a value as it was put and as the filter leaves it. It has a
// model of its own, with the same commits; its default keyspace stands for this
// one.
const filteredName = "filtered"

func filterRemoving(key, value []byte) (seerdb.FilterVerdict, []byte, error) {
	switch {
	case len(value) > 0 && value[0] == 'X':
		return seerdb.FilterRemove, nil, nil
	case len(value) > 0 && value[0] == 'Y':
		return seerdb.FilterChange, append([]byte("was "), value...), nil
	}
	return seerdb.FilterKeep, nil, nil
}

// filtered is that keyspace.
type filtered struct {
	m *testkit.Model
	g *testkit.Gen
	// gone and changed count what the filter was seen to have done.
	gone, changed int
}

func newFiltered(seed uint64) *filtered {
	f := &filtered{m: testkit.NewModel(), g: testkit.NewGen(seed, 40, 60)}
	f.g.Weights[testkit.Merge] = 0
	return f
}

// draw makes the operations of the next commit, at the time of another model.
func (f *filtered) draw(now int64) []testkit.Op {
	f.m.Advance(now - f.m.Now())
	ops := f.g.Commit(f.m)
	for i := range ops {
		if k := ops[i].Kind; k == testkit.Put || k == testkit.PutTTL {
			ops[i].Value = []string{"X", "Y", "", "kept "}[f.g.IntN(4)] + ops[i].Value
		}
	}
	return ops
}

// check compares everything.
func (f *filtered) check(src reader, v testkit.View) error {
	rows := f.m.Scan(v, testkit.Default, testkit.Span{NoEnd: true})
	it, err := src.NewIter(nil)
	if err != nil {
		return err
	}
	ok := it.First()
	for _, want := range rows {
		got, there := string(it.Value()), ok && string(it.Key()) == want.Key
		if v, err := src.AppendGet(nil, []byte(want.Key)); there != (err == nil) && !f.asynchronous(want.Value) || err == nil && there && string(v) != got && !f.asynchronous(want.Value) {
			return errors.Join(fmt.Errorf("filtered: get %q: %q, %v; iterator %q", want.Key, v, err, got), it.Close())
		}
		switch {
		case there && got == want.Value:
		case there && want.Value[:min(1, len(want.Value))] == "Y" && got == "was "+want.Value:
			f.changed++
		case !there && strings.HasPrefix(want.Value, "X"):
			f.gone++
			continue // the iterator stands on a later one
		default:
			return errors.Join(fmt.Errorf("filtered at %+v: %q=%q (%v), want %q=%q", v, it.Key(), it.Value(), it.Err(), want.Key, want.Value), it.Close())
		}
		ok = it.Next()
	}
	if ok {
		return errors.Join(fmt.Errorf("filtered at %+v: %q=%q is too much", v, it.Key(), it.Value()), it.Close())
	}
	return it.Close()
}

// asynchronous says whether the filter may change a value between two reads.
func (f *filtered) asynchronous(value string) bool {
	return strings.HasPrefix(value, "X") || strings.HasPrefix(value, "Y")
}

// sideRows lists what a reader shows of the filtered keyspace.
func sideRows(src reader) (rows []testkit.Row, err error) {
	it, err := src.NewIter(nil)
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		rows = append(rows, testkit.Row{Key: string(it.Key()), Value: string(it.Value())})
	}
	return rows, it.Close()
}
