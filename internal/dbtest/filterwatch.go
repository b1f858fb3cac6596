package dbtest

import (
	"fmt"
	"math"
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
	Asked  int
	err    error // the first violation
}

// filterValue is what is known of a value of a key.
type filterValue struct {
	commit int   // the first after which the key had it
	expiry int64 // the last time at which it ends
}

// NewFilterWatch returns a filter that was shown nothing.
func NewFilterWatch() *filterWatch {
	return &filterWatch{values: map[string]*filterValue{}, oldest: math.MaxInt, began: math.MaxInt64}
}

func filterName(id int, key, value string) string { return fmt.Sprintf("%d/%q=%s", id, key, value) }

// Filter returns the filter of a keyspace.
func (w *filterWatch) Filter(id int) seerdb.CompactionFilter {
	return func(key, value []byte) (seerdb.FilterVerdict, []byte, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.Asked++
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

// Committed notes what the keys of a commit are after it. It comes before the
// engine has the commit.
func (w *filterWatch) Committed(m *testkit.Model, ops []testkit.Op) {
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

// Readers notes which snapshots there are: a new one after it was taken, one
// that goes before. idle is whether no job runs, so that one that does later began
// after this.
func (w *filterWatch) Readers(now int64, snaps []testkit.View, idle bool) {
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

// Violation returns what the filter was shown that it should not have been.
func (w *filterWatch) Violation() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// FilteredName is a keyspace whose filter does something: it removes values
// that begin with X and changes those that begin with Y. When is not known, so
// the test accepts a value as it was put and as the filter leaves it. It has a
// model of its own, with the same commits; its default keyspace stands for this
// one.
const FilteredName = "filtered"
