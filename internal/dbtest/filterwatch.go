package dbtest

import (
	"fmt"
	"math"
	"sync"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/testkit"
)

// filterWatch is a filter that changes nothing and checks what it is called
// with. That must be a value that its key had after some commit that every
// snapshot sees, and that was not expired for all readers when the compaction
// began. It must not be a tombstone, an operand, a value with its expiry before
// it, a partial merge, or a version that a snapshot separates from the others.
type filterWatch struct {
	mu     sync.Mutex
	values map[string]*filterValue // by keyspace, key and value
	oldest int                     // the commit of the oldest snapshot
	floor  int64                   // the time of the reader that is furthest behind
	began  int64                   // floor when the oldest running job began, or before
	Asked  int
	err    error // the first violation
}

// filterValue is a value that a key had.
type filterValue struct {
	commit int   // the first commit after which the key had it
	expiry int64 // the latest expiry that it had
}

// NewFilterWatch returns a filter that was not called yet.
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
			w.fail("keyspace %d: the filter was shown %q=%q, which the key never had", id, key, value)
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

// Committed records the values of a commit's keys after it. It is called before
// the engine gets the commit.
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
		// Operands are not merged with a value that expires until it has
		// expired, so their sum is never a value.
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

// Readers records the open snapshots: a new one after it was taken, a closed
// one before it is closed. idle says that no job runs, so that later jobs begin
// after this call.
func (w *filterWatch) Readers(now int64, snaps []testkit.View, idle bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if idle {
		w.began = w.floor // the floor before this change
	}
	w.oldest, w.floor = math.MaxInt, now
	for _, s := range snaps {
		w.oldest, w.floor = min(w.oldest, s.Commit), min(w.floor, s.Now)
	}
	w.began = min(w.began, w.floor)
}

// Violation returns the first call that the filter should not have had, as an
// error.
func (w *filterWatch) Violation() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// FilteredName is a keyspace whose filter has an effect: it removes values that
// begin with X and changes those that begin with Y. When it does so is not
// known, so tests accept a value as it was put and as the filter leaves it. The
// keyspace has a model of its own, with the same commits, in the default
// keyspace of that model.
const FilteredName = "filtered"
