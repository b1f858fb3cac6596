package isolation

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// modelDB is a store of maps that is isolated in the simplest way: every
// transaction copies all there is, remembers what it read and wrote, and is
// compared with all later commits when it commits. With bugs it shows that the
// suite sees them.
type modelDB struct {
	mu      sync.Mutex
	rows    map[string]string // guarded by mu
	commits []modelCommit     // guarded by mu
	bugs    modelBugs
}

// modelCommit is what one commit wrote, and asked for with the intent to write.
type modelCommit struct{ writes, asked []modelOp }

// modelOp is a write or a read of [lo, hi).
type modelOp struct {
	lo, hi string
	value  string
	delete bool
	kind   byte // as step.op
}

func (o *modelOp) meets(p *modelOp) bool { return o.lo < p.hi && p.lo < o.hi }

func (o *modelOp) apply(rows map[string]string) {
	if o.delete {
		maps.DeleteFunc(rows, func(k, _ string) bool { return k >= o.lo && k < o.hi })
		return
	}
	rows[o.lo] = o.value
}

// modelBugs are the ways in which modelDB can be broken.
type modelBugs struct {
	dirty          bool // writes are made in place, not when they are committed
	moving         bool // reads see what was committed in between
	movingScans    bool // scans do
	applied        bool // a conflict leaves the first write behind
	rolledForward  bool // a rollback leaves the deletes behind
	halfOwn        bool // scans do not see own deletes
	noReads        bool // serializable validates as snapshot isolation does
	noAbsent       bool // a key that is not there is not tracked
	noRanges       bool // ranges are tracked by the rows found in them
	noReverse      bool // backward scans are not tracked
	noPrefix       bool // prefix scans are not tracked
	noRangeDeletes bool // range deletes are not seen by validation
	noWrites       bool // snapshot isolation lets the last writer win
	noRangeWrites  bool // it does for range deletes
	noForUpdate    bool // it does not protect GetForUpdate
	oneSided       bool // it does so only for the second to commit
	noDeletes      bool // it does not validate deletes
	tooStrict      bool // snapshot isolation is serializable
	failsReaders   bool // transactions that only read are validated
	failsBlind     bool // serializable validates writes
	failsAll       bool // any commit in between is a conflict
}

func newModelDB(b modelBugs) *modelDB { return &modelDB{rows: map[string]string{}, bugs: b} }

// Begin implements isolationDB.
func (d *modelDB) Begin(l isolationLevel) (isolationTxn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &modelTxn{db: d, level: l, began: len(d.commits), rows: maps.Clone(d.rows)}, nil
}

// Disturb implements isolationDB: nothing goes on in the background.
func (d *modelDB) Disturb(uint64) error { return nil }

// Close implements isolationDB.
func (d *modelDB) Close() error { return nil }

type modelTxn struct {
	db     *modelDB
	level  isolationLevel
	began  int
	rows   map[string]string // its snapshot and its own writes
	reads  []modelOp
	writes []modelOp
}

// refresh moves the snapshot to the newest commits, if the bug is on.
func (x *modelTxn) refresh(bug bool) {
	runtime.Gosched() // so that transactions of goroutines overlap
	if bug || x.db.bugs.dirty {
		x.db.mu.Lock()
		x.rows = maps.Clone(x.db.rows)
		x.db.mu.Unlock()
		for i := range x.writes {
			x.writes[i].apply(x.rows)
		}
	}
}

func (x *modelTxn) get(key string, kind byte) (string, bool, error) {
	x.refresh(x.db.bugs.moving)
	v, ok := x.rows[key]
	if ok || !x.db.bugs.noAbsent {
		x.reads = append(x.reads, modelOp{lo: key, hi: key + "\x00", kind: kind})
	}
	return v, ok, nil
}

// Get and the others implement isolationTxn.
func (x *modelTxn) Get(key string) (string, bool, error)          { return x.get(key, 'r') }
func (x *modelTxn) GetForUpdate(key string) (string, bool, error) { return x.get(key, 'u') }

func (x *modelTxn) Scan(lo, hi string, how scanKind) (rows []isolationRow, err error) {
	b := &x.db.bugs
	x.refresh(b.moving || b.movingScans)
	from := x.rows
	if b.halfOwn {
		from = maps.Clone(from)
		for _, w := range x.writes {
			if v, ok := x.db.rows[w.lo]; ok && w.delete {
				from[w.lo] = v
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(from)) {
		if k >= lo && k < hi {
			rows = append(rows, isolationRow{k, from[k]})
		}
	}
	switch {
	case how == scanReverse && b.noReverse, how == scanPrefix && b.noPrefix:
	case b.noRanges:
		for _, r := range rows {
			x.reads = append(x.reads, modelOp{lo: r.key, hi: r.key + "\x00", kind: 'r'})
		}
	default:
		x.reads = append(x.reads, modelOp{lo: lo, hi: hi, kind: 's'})
	}
	return rows, nil
}

func (x *modelTxn) write(o modelOp) error {
	x.writes = append(x.writes, o)
	o.apply(x.rows)
	if x.db.bugs.dirty {
		x.db.mu.Lock()
		o.apply(x.db.rows)
		x.db.mu.Unlock()
	}
	return nil
}

func (x *modelTxn) Put(key, value string) error {
	return x.write(modelOp{lo: key, hi: key + "\x00", value: value, kind: 'w'})
}

func (x *modelTxn) Delete(key string) error {
	return x.write(modelOp{lo: key, hi: key + "\x00", delete: true, kind: 'd'})
}

func (x *modelTxn) DeleteRange(lo, hi string) error {
	return x.write(modelOp{lo: lo, hi: hi, delete: true, kind: 'D'})
}

func (x *modelTxn) Rollback() error {
	if x.db.bugs.rolledForward {
		x.db.mu.Lock()
		defer x.db.mu.Unlock()
		for _, w := range x.writes {
			if w.delete {
				w.apply(x.db.rows)
			}
		}
	}
	return nil
}

func (x *modelTxn) Commit() error {
	d := x.db
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(x.writes) == 0 && !d.bugs.failsReaders {
		return nil
	}
	for _, c := range d.commits[x.began:] {
		conflict := slices.ContainsFunc(c.asked, x.writesOver)
		for i := range c.writes {
			if conflict || x.depends(&c.writes[i]) {
				if d.bugs.applied && len(x.writes) > 0 {
					x.writes[0].apply(d.rows)
				}
				return seerdb.ErrConflict
			}
		}
	}
	for _, w := range x.writes {
		if !d.bugs.dirty { // else they are there
			w.apply(d.rows)
		}
	}
	asked := slices.DeleteFunc(slices.Clone(x.reads), func(r modelOp) bool { return r.kind != 'u' })
	d.commits = append(d.commits, modelCommit{x.writes, asked})
	return nil
}

// writesOver reports whether it is a conflict that a concurrent commit asked for
// something.
func (x *modelTxn) writesOver(asked modelOp) bool {
	b := &x.db.bugs
	if x.level == serializable || b.noForUpdate || b.oneSided {
		return false
	}
	return slices.ContainsFunc(x.writes, func(w modelOp) bool { return w.meets(&asked) })
}

// depends reports whether a concurrent write is a conflict.
func (x *modelTxn) depends(w *modelOp) bool {
	b := &x.db.bugs
	if b.failsAll {
		return true
	}
	if b.noRangeDeletes && w.kind == 'D' {
		return false
	}
	exact := x.level == serializable && !b.noReads || x.level == snapshotIsolation && b.tooStrict
	for i := range x.reads {
		r := &x.reads[i]
		if (exact || r.kind == 'u' && !b.noForUpdate) && r.meets(w) {
			return true
		}
	}
	if exact && !b.failsBlind || b.noWrites {
		return false
	}
	for i := range x.writes {
		o := &x.writes[i]
		if b.noRangeWrites && (o.kind == 'D' || w.kind == 'D') || b.noDeletes && o.kind == 'd' {
			continue
		}
		if o.meets(w) {
			return true
		}
	}
	return false
}

// brokenModels are ways to break the model. The suite must notice each, and not
// by accident: the case that must is named, and what it must say, which is that
// its anomaly is there unless something else is given.
var brokenModels = []struct {
	by    string
	level isolationLevel
	bugs  modelBugs
	says  string
}{
	{"G0", serializable, modelBugs{dirty: true}, ""},
	{"G0-range", serializable, modelBugs{dirty: true}, ""},
	{"G1a", serializable, modelBugs{dirty: true}, ""},
	{"G1b", serializable, modelBugs{dirty: true}, ""},
	{"G1c", snapshotIsolation, modelBugs{dirty: true}, ""},
	{"OTV", serializable, modelBugs{moving: true}, ""},
	{"PMP", serializable, modelBugs{moving: true}, ""},
	{"PMP-reverse", snapshotIsolation, modelBugs{movingScans: true}, ""},
	{"PMP-range-delete", serializable, modelBugs{movingScans: true}, ""},
	{"G-single", snapshotIsolation, modelBugs{moving: true}, ""},
	{"G-single-dependencies", serializable, modelBugs{moving: true}, ""},
	{"G-single-ranges", snapshotIsolation, modelBugs{movingScans: true}, ""},
	{"G-single-range-delete", snapshotIsolation, modelBugs{moving: true}, ""},
	{"own-writes-aborted", serializable, modelBugs{rolledForward: true}, "the store ends with"},
	{"P4", serializable, modelBugs{applied: true}, "the store ends with"},
	{"G1a-delete", serializable, modelBugs{rolledForward: true}, ""},
	{"own-writes", serializable, modelBugs{halfOwn: true}, "where its snapshot has"},
	{"G2-item", serializable, modelBugs{noReads: true}, ""},
	{"G2-item", serializable, modelBugs{noReads: true}, "no serial order"},
	{"G2-item-delete", serializable, modelBugs{noReads: true}, ""},
	{"G2-item-three", serializable, modelBugs{noReads: true}, ""},
	{"G2", serializable, modelBugs{noReads: true}, ""},
	{"read-only", serializable, modelBugs{noReads: true}, ""},
	{"G2-two-edges", serializable, modelBugs{noReads: true}, ""},
	{"G2-item-absent", serializable, modelBugs{noAbsent: true}, ""},
	{"P4-insert", serializable, modelBugs{noAbsent: true}, ""},
	{"G2", serializable, modelBugs{noRanges: true}, ""},
	{"G2-apart", serializable, modelBugs{noRanges: true}, ""},
	{"PMP-write", serializable, modelBugs{noRanges: true}, ""},
	{"G2-reverse", serializable, modelBugs{noReverse: true}, ""},
	{"G2-prefix", serializable, modelBugs{noPrefix: true}, ""},
	{"G2-range-delete", serializable, modelBugs{noRangeDeletes: true}, ""},
	{"G2-range-delete-get", serializable, modelBugs{noRangeDeletes: true}, ""},
	{"P4-range-delete", serializable, modelBugs{noRangeDeletes: true}, ""},
	{"P4", snapshotIsolation, modelBugs{noWrites: true}, ""},
	{"P4-scan", snapshotIsolation, modelBugs{noWrites: true}, ""},
	{"P4-three", snapshotIsolation, modelBugs{noWrites: true}, "committed over a concurrent commit"},
	{"P4-three", snapshotIsolation, modelBugs{noWrites: true}, ""},
	{"P4-for-update", snapshotIsolation, modelBugs{noWrites: true, noForUpdate: true}, ""},
	{"G-single-write", snapshotIsolation, modelBugs{noRangeWrites: true}, ""},
	{"PMP-write", snapshotIsolation, modelBugs{noRangeWrites: true}, ""},
	{"G2-item-for-update", snapshotIsolation, modelBugs{noForUpdate: true}, ""},
	{"G2-item-for-update-by-one", snapshotIsolation, modelBugs{oneSided: true}, ""},
	{"G2-item-for-update-by-one", snapshotIsolation, modelBugs{oneSided: true}, "committed over a concurrent commit"},
	{"G2-range-delete-for-update", snapshotIsolation, modelBugs{oneSided: true}, ""},
	{"P4-delete", snapshotIsolation, modelBugs{noDeletes: true}, ""},
	{"G-single-write-item", snapshotIsolation, modelBugs{noDeletes: true}, ""},
	{"G2-item", snapshotIsolation, modelBugs{tooStrict: true}, "never occurs"},
	{"G2", snapshotIsolation, modelBugs{tooStrict: true}, "never occurs"},
	{"readers", serializable, modelBugs{failsReaders: true}, "only read, and had a conflict"},
	{"blind-writes", serializable, modelBugs{failsBlind: true}, "in a case that has none"},
	{"disjoint", snapshotIsolation, modelBugs{failsAll: true}, "a conflict with no other"},
	{"neighbours", serializable, modelBugs{failsAll: true}, "in a case that has none"},
}

// TestIsolationCatches runs the named case against each broken model.
func TestIsolationCatches(t *testing.T) {
	for _, c := range brokenModels {
		t.Run(c.by+"/"+c.level.String(), func(t *testing.T) {
			i := slices.IndexFunc(anomalies, func(a anomaly) bool { return a.name == c.by })
			if c.says == "" {
				c.says = "the anomaly " + c.by + " is there"
			}
			found, _, err := anomalies[i].findings(newModelDB(c.bugs), c.level, 1000)
			dbtest.Must(t, err)
			if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, c.says) }) {
				t.Errorf("it is not noticed that %q with %+v; found: %q", c.says, c.bugs, found)
			}
		})
	}
}
