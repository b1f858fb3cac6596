package isolation

import (
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/txn"
)

// trackerDB is modelDB with the conflict detection of the engine: package txn
// over a map, so that what it decides is tested apart from how versions are
// stored.
type trackerDB struct {
	mu      sync.Mutex
	tracker *txn.Tracker      // guarded by mu
	last    base.SeqNum       // guarded by mu
	rows    map[string]string // guarded by mu
	batches []*batch.Batch    // guarded by mu
	asked   int               // guarded by mu; how often the tree was
}

func newTrackerDB(limit int) *trackerDB {
	return &trackerDB{tracker: txn.New(limit), rows: map[string]string{}}
}

// Begin implements isolationDB.
func (d *trackerDB) Begin(l isolationLevel) (isolationTxn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tracker.Stats() == (txn.Stats{}) {
		d.batches = nil // no client can ask for what was written before now
	}
	x := &trackerTxn{db: d, level: l, rows: maps.Clone(d.rows)}
	d.tracker.Begin(&x.txn, d.last, 1<<20, nil)
	return x, nil
}

// Disturb implements isolationDB.
func (d *trackerDB) Disturb(uint64) error { return nil }

// Close implements isolationDB.
func (d *trackerDB) Close() error { return nil }

// NewestSeq and AnyNewer implement txn.Tree, by looking at all commits.
func (d *trackerDB) NewestSeq(_ uint32, key []byte) (base.SeqNum, error) {
	return d.newest(string(key), string(key)+"\x00"), nil
}

func (d *trackerDB) AnyNewer(_ uint32, lo, hi []byte, after base.SeqNum) (bool, error) {
	return d.newest(string(lo), string(hi)) > after, nil
}

func (d *trackerDB) newest(lo, hi string) base.SeqNum {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range slices.Backward(d.batches) {
		for r := b.Reader(); ; {
			seq := r.Seq()
			op, ok, _ := r.Next()
			if !ok {
				break
			}
			end := string(op.Key) + "\x00"
			if op.Kind == base.KindRangeDelete {
				end = string(op.Value)
			}
			if string(op.Key) < hi && lo < end {
				return seq
			}
		}
	}
	return 0
}

type trackerTxn struct {
	db    *trackerDB
	level isolationLevel
	txn   txn.Txn
	batch batch.Batch
	rows  map[string]string // its snapshot and its own writes
}

func (x *trackerTxn) Get(key string) (string, bool, error) {
	runtime.Gosched()
	v, ok := x.rows[key]
	if x.level == snapshotIsolation {
		return v, ok, nil
	}
	return v, ok, x.txn.Key(0, []byte(key))
}

func (x *trackerTxn) GetForUpdate(key string) (string, bool, error) {
	v, ok := x.rows[key]
	return v, ok, x.txn.Ask(0, []byte(key))
}

// Scan walks as an iterator does, so that the set holds what a Walk saw.
func (x *trackerTxn) Scan(lo, hi string, how scanKind) (rows []isolationRow, err error) {
	for _, k := range slices.Sorted(maps.Keys(x.rows)) {
		if k >= lo && k < hi {
			rows = append(rows, isolationRow{k, x.rows[k]})
		}
	}
	if x.level == snapshotIsolation {
		return rows, nil
	}
	var w txn.ReadRange
	w.Start(&x.txn.ReadSet, 0)
	from := []byte(lo)
	if how == scanReverse {
		from = []byte(hi)
		for _, r := range slices.Backward(rows) {
			_ = w.Backward(from, []byte(r.key), true, []byte(lo))
			from = []byte(r.key)
		}
		_ = w.Backward(from, nil, false, []byte(lo))
		return rows, w.Close()
	}
	for _, r := range rows {
		_ = w.Forward(from, []byte(r.key), true, []byte(hi))
		from = []byte(r.key)
	}
	_ = w.Forward(from, nil, false, []byte(hi))
	return rows, w.Close()
}

func (x *trackerTxn) Put(key, value string) error {
	x.rows[key] = value
	return x.batch.Put(0, []byte(key), []byte(value))
}

func (x *trackerTxn) Delete(key string) error {
	delete(x.rows, key)
	return x.batch.Delete(0, []byte(key))
}

func (x *trackerTxn) DeleteRange(lo, hi string) error {
	maps.DeleteFunc(x.rows, func(k, _ string) bool { return k >= lo && k < hi })
	return x.batch.DeleteRange(0, []byte(lo), []byte(hi))
}

func (x *trackerTxn) Rollback() error {
	x.db.mu.Lock()
	defer x.db.mu.Unlock()
	x.db.tracker.End(&x.txn)
	return nil
}

func (x *trackerTxn) Commit() error {
	if x.batch.Empty() {
		return x.Rollback()
	}
	if x.level == snapshotIsolation {
		if err := x.txn.Batch(&x.batch); err != nil {
			return err
		}
	}
	if err := x.txn.Seal(); err != nil {
		return err
	}
	d := x.db
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.tracker.Validate(&x.txn, d.last)
	for a.Verdict == txn.NeedTree {
		d.asked++
		d.mu.Unlock()
		newer, err := x.txn.CheckTree(d)
		d.mu.Lock()
		if err != nil || newer {
			a.Verdict = txn.Conflict
			break
		}
		a = d.tracker.Validate(&x.txn, d.last)
	}
	d.tracker.End(&x.txn)
	if a.Verdict == txn.Conflict {
		return seerdb.ErrConflict
	}
	x.batch.SetSeq(d.last + 1)
	for r := x.batch.Reader(); ; {
		op, ok, err := r.Next()
		if !ok {
			break
		}
		if err != nil {
			return err
		}
		switch op.Kind {
		case base.KindPut:
			d.rows[string(op.Key)] = string(op.Value)
		case base.KindDelete:
			delete(d.rows, string(op.Key))
		default:
			maps.DeleteFunc(d.rows, func(k, _ string) bool { return k >= string(op.Key) && k < string(op.Value) })
		}
	}
	d.last += base.SeqNum(x.batch.Count())
	d.tracker.Record(&x.batch)
	if x.txn.Asks() {
		d.tracker.Asking(&x.txn.ReadSet, d.last)
		d.tracker.Asked(true)
	}
	d.batches = append(d.batches, &x.batch)
	return nil
}

// TestTrackerStoreAsks checks that the store with little memory for its records
// is a test of what is then done.
func TestTrackerStoreAsks(t *testing.T) {
	for _, limit := range []int{0, 1 << 20} {
		d := newTrackerDB(limit)
		for i := range anomalies {
			_, _, err := anomalies[i].findings(d, serializable, 10)
			dbtest.Must(t, err)
		}
		if (d.asked > 0) != (limit == 0) {
			t.Errorf("with limit %d the tree was asked %d times", limit, d.asked)
		}
	}
}
