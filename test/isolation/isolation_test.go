package isolation

// This file and those beside it ask a transactional store for the anomalies of weak
// isolation, after Hermitage (Kleppmann, 2014) and the taxonomy of Adya (1999), told for
// keys and ranges of keys. Each case is two or three small scripts; a schedule interleaves
// their steps, their beginnings and their ends. Steps run one after the other in one
// goroutine, so a schedule and its outcome follow from a seed, and a failure prints both.

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

var isolationSchedules = flag.Int("isolation.schedules", 1000, "schedules of each isolation case")

type isolationLevel int

const (
	serializable isolationLevel = iota
	snapshotIsolation
)

func (l isolationLevel) String() string { return [...]string{"serializable", "snapshot"}[l] }

// isolationDB is what the suite needs from a store.
type isolationDB interface {
	// Begin opens a transaction; what it reads is as of now.
	Begin(isolationLevel) (isolationTxn, error)
	// Disturb lets the store do, between two steps, what it does in the
	// background; n chooses what. Like Begin it is safe for concurrent use.
	Disturb(n uint64) error
	Close() error
}

// isolationTxn is a transaction of one goroutine.
type isolationTxn interface {
	Get(key string) (value string, ok bool, err error)
	GetForUpdate(key string) (value string, ok bool, err error)
	Put(key, value string) error
	Delete(key string) error
	DeleteRange(lo, hi string) error
	// Scan lists [lo, hi), in ascending order however it was read.
	Scan(lo, hi string, how scanKind) ([]isolationRow, error)
	// Commit returns seerdb.ErrConflict if a concurrent commit made it apply nothing.
	Commit() error
	Rollback() error
}

type isolationRow struct{ key, value string }

// scanKind is the method by which a range is read.
type scanKind int

const (
	scanForward scanKind = iota
	scanReverse
	scanPrefix // lo is the prefix, and hi ends it
)

// isolationStore is a store that the suite runs against.
type isolationStore struct {
	name string
	open func(testing.TB) isolationDB
}

// isolationStores are the stores whose isolation is tested.
func isolationStores() []isolationStore {
	return []isolationStore{
		{"model", func(testing.TB) isolationDB { return newModelDB(modelBugs{}) }},
		{"tracker", func(testing.TB) isolationDB { return newTrackerDB(1 << 20) }},
		{"tracker without memory", func(testing.TB) isolationDB { return newTrackerDB(0) }},
		{"engine", func(t testing.TB) isolationDB { return newEngineDB(t, false, 1<<20) }},
		{"engine, another keyspace", func(t testing.TB) isolationDB { return newEngineDB(t, true, 1<<20) }},
		{"engine, history forgotten", func(t testing.TB) isolationDB { return newEngineDB(t, false, 8<<10) }},
	}
}

// step is one operation of a script.
type step struct {
	text   string // as written
	op     byte   // b begin, r get, u get for update, w put, d delete, D delete range, s S p scans, c commit, a abort
	lo, hi string // a key, or a range
	value  string
}

// script parses the operations of one transaction:
//
//	r1     get key 1                 s1-3  scan [1, 3) forward
//	u1     get key 1 for update      S1-3  backward
//	w1=11  put                       p3    by the prefix 3
//	d1     delete                    D1-3  delete the range [1, 3)
//	c, a   commit, abort
//
// It begins where it is first scheduled.
func script(text string) (steps []step) {
	for _, f := range append([]string{"b"}, strings.Fields(text)...) {
		s := step{text: f, op: f[0]}
		s.lo, s.value, _ = strings.Cut(f[1:], "=")
		s.lo, s.hi, _ = strings.Cut(s.lo, "-")
		switch s.op {
		case 'p':
			s.hi = s.lo + "~" // after everything that begins so
		case 'r', 'u', 'w', 'd':
			s.hi = s.lo + "\x00"
		}
		steps = append(steps, s)
	}
	return steps
}

func (s *step) reads() bool  { return strings.IndexByte("rusSp", s.op) >= 0 }
func (s *step) writes() bool { return strings.IndexByte("wdD", s.op) >= 0 }
func (s *step) meets(o *step) bool {
	return s.lo < o.hi && o.lo < s.hi
}

// scheduled is one transaction of a schedule.
type scheduled struct {
	steps   []step
	next    int
	txn     isolationTxn
	results []string // one for each step done; "" for writes
	began   int      // how many had committed when it began
	ended   int      // its place among the steps of the schedule, 0 while open
	start   int
	state   map[string]string // what it must see: its snapshot and its own writes
	outcome byte              // c committed, a aborted, x conflict
	against []*scheduled      // who committed while it was open
}

func (x *scheduled) writes() bool {
	return slices.ContainsFunc(x.steps, func(s step) bool { return s.writes() })
}

// result returns the result of the nth step that is written as text.
func (x *scheduled) result(text string, nth int) string {
	for i := range x.results {
		if x.steps[i].text == text {
			if nth--; nth < 0 {
				return x.results[i]
			}
		}
	}
	return "not reached"
}

// schedule is one run of a case.
type schedule struct {
	db     isolationDB
	level  isolationLevel
	prefix string // of all keys, so that schedules do not meet
	txns   []*scheduled
	rows   map[string]string // what was there before
	state  map[string]string // what is committed
	final  map[string]string // what the store ends with
	order  []*scheduled      // in which they committed
	log    []string
	found  []flaw
}

// flaw is what is wrong with a schedule; kind is the same for its likes.
type flaw struct{ kind, text string }

// runSchedule interleaves the scripts of a case.
func runSchedule(db isolationDB, level isolationLevel, a *anomaly, seed uint64) (*schedule, error) {
	rng := rand.New(rand.NewPCG(seed, 77))
	s := &schedule{db: db, level: level, prefix: fmt.Sprintf("%s/%d/%06d/", a.name, level, seed), state: map[string]string{}}
	for _, text := range a.txns {
		s.txns = append(s.txns, &scheduled{steps: script(text)})
	}
	if err := s.setup(a.rows); err != nil {
		return nil, err
	}
	for {
		var ready []*scheduled
		for _, x := range s.txns {
			if x.next < len(x.steps) {
				ready = append(ready, x)
			}
		}
		if len(ready) == 0 {
			break
		}
		if rng.IntN(10) == 0 {
			if err := db.Disturb(rng.Uint64()); err != nil {
				return nil, err
			}
		}
		if err := s.step(ready[rng.IntN(len(ready))]); err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
	}
	return s, s.finish()
}

func (s *schedule) setup(rows string) error {
	t, err := s.db.Begin(s.level)
	if err != nil {
		return err
	}
	for f := range strings.FieldsSeq(rows) {
		k, v, _ := strings.Cut(f, "=")
		s.state[k] = v
		if err := t.Put(s.prefix+k, v); err != nil {
			return err
		}
	}
	s.rows = maps.Clone(s.state)
	return t.Commit()
}

// step runs the next step of a transaction and compares its result with what the
// transaction must see.
func (s *schedule) step(x *scheduled) error {
	st := &x.steps[x.next]
	x.next++
	got, err := s.perform(x, st)
	if err != nil {
		return err
	}
	x.results = append(x.results, got)
	text := fmt.Sprintf("%d:%s", slices.Index(s.txns, x)+1, st.text)
	if got != "" {
		text += "→" + strings.ReplaceAll(got, " ", ",")
	}
	s.log = append(s.log, text)
	switch st.op {
	case 'b':
		x.state, x.start, x.began = maps.Clone(s.state), len(s.log), len(s.order)
	case 'c', 'a':
		x.ended = len(s.log)
		x.against = s.order[x.began:len(s.order):len(s.order)]
		if x.outcome == 'c' {
			for i := range x.steps {
				x.steps[i].apply(s.state)
			}
			s.order = append(s.order, x)
		}
	default:
		if want := st.apply(x.state); got != want {
			s.fail("%s: read %q where its snapshot has %q", text, got, want)
		}
	}
	return nil
}

func (s *schedule) fail(format string, args ...any) {
	s.found = append(s.found, flaw{format, fmt.Sprintf(format, args...)})
}

// perform runs a step in the store.
func (s *schedule) perform(x *scheduled, st *step) (got string, err error) {
	lo, hi := s.prefix+st.lo, s.prefix+st.hi
	switch st.op {
	case 'b':
		x.txn, err = s.db.Begin(s.level)
	case 'r', 'u':
		read := x.txn.Get
		if st.op == 'u' {
			read = x.txn.GetForUpdate
		}
		v, ok, err := read(lo)
		if !ok {
			v = "-"
		}
		return v, err
	case 's', 'S', 'p':
		rows, err := x.txn.Scan(lo, hi, scanKind(strings.IndexByte("sSp", st.op)))
		for i, r := range rows {
			rows[i].key = strings.TrimPrefix(r.key, s.prefix)
		}
		return rowsText(rows), err
	case 'w':
		err = x.txn.Put(lo, st.value)
	case 'd':
		err = x.txn.Delete(lo)
	case 'D':
		err = x.txn.DeleteRange(lo, hi)
	case 'a':
		x.outcome = 'a'
		err = x.txn.Rollback()
	case 'c':
		x.outcome = 'c'
		if err = x.txn.Commit(); errors.Is(err, seerdb.ErrConflict) {
			x.outcome = 'x'
			return "conflict", nil
		}
	}
	return "", err
}

func rowsText(rows []isolationRow) string {
	var b strings.Builder
	for i, r := range rows {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(r.key + "=" + r.value)
	}
	if len(rows) == 0 {
		return "none"
	}
	return b.String()
}

// apply applies a step to a map, and returns its result.
func (s *step) apply(state map[string]string) string {
	switch s.op {
	case 'r', 'u':
		if v, ok := state[s.lo]; ok {
			return v
		}
		return "-"
	case 's', 'S', 'p':
		var rows []isolationRow
		for _, k := range slices.Sorted(maps.Keys(state)) {
			if k >= s.lo && k < s.hi {
				rows = append(rows, isolationRow{k, state[k]})
			}
		}
		return rowsText(rows)
	case 'w':
		state[s.lo] = s.value
	case 'd', 'D':
		maps.DeleteFunc(state, func(k, _ string) bool { return k >= s.lo && k < s.hi })
	}
	return ""
}

// finish checks the schedule as a whole, and removes its rows.
func (s *schedule) finish() error {
	t, err := s.db.Begin(s.level)
	if err != nil {
		return err
	}
	rows, err := t.Scan(s.prefix, s.prefix+"~", scanForward)
	if err != nil {
		return err
	}
	if err := t.DeleteRange(s.prefix, s.prefix+"~"); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("a transaction that was alone: %w", err)
	}
	s.final = map[string]string{}
	for _, r := range rows {
		s.final[strings.TrimPrefix(r.key, s.prefix)] = r.value
	}
	if !maps.Equal(s.final, s.state) {
		s.fail("the store ends with %v, and the commits make %v", s.final, s.state)
	}
	for _, x := range s.txns {
		s.judge(x)
	}
	if s.level == serializable && !s.serial(nil, s.rows) {
		s.fail("no serial order explains it")
	}
	return nil
}

// judge checks one transaction's end: a conflict must have a reason, and under
// snapshot isolation the first that writes a key wins, or of one that writes it
// and one that asks for it, if that writes something.
func (s *schedule) judge(x *scheduled) {
	cause := func(reasons func(*step) bool) bool {
		for i := range x.steps {
			for _, o := range x.against {
				for j := range o.steps {
					st, ot := &x.steps[i], &o.steps[j]
					asked := s.level == snapshotIsolation && st.writes() && ot.op == 'u' && o.writes()
					if (reasons(st) && ot.writes() || asked) && st.meets(ot) {
						return true
					}
				}
			}
		}
		return false
	}
	wins := cause(func(st *step) bool { return st.writes() || st.op == 'u' })
	reason := wins
	if s.level == serializable {
		reason = cause((*step).reads)
	}
	n := slices.Index(s.txns, x) + 1
	switch {
	case x.outcome == 'x' && !x.writes():
		s.fail("transaction %d only read, and had a conflict", n)
	case x.outcome == 'x' && !reason:
		s.fail("transaction %d had a conflict with no other", n)
	case x.outcome == 'c' && x.writes() && s.level == snapshotIsolation && wins:
		s.fail("transaction %d committed over a concurrent commit", n)
	}
}

// serial looks for an order of all committed transactions that agrees with
// real time and explains what each of them read, and the end.
func (s *schedule) serial(done []*scheduled, state map[string]string) bool {
	if len(done) == len(s.order) {
		return maps.Equal(state, s.state)
	}
	for _, x := range s.order {
		early := slices.ContainsFunc(s.order, func(o *scheduled) bool {
			return o != x && !slices.Contains(done, o) && o.ended < x.start
		})
		if early || slices.Contains(done, x) {
			continue
		}
		after := maps.Clone(state)
		same := true
		for i := range x.steps[:len(x.results)] {
			got := x.steps[i].apply(after)
			same = same && (!x.steps[i].reads() || got == x.results[i])
		}
		if same && s.serial(append(slices.Clip(done), x), after) {
			return true
		}
	}
	return false
}

func (s *schedule) String() string { return strings.Join(s.log, " ") }

// findings runs a case and returns what is wrong, the first of each kind, and
// how often its anomaly was there.
func (a *anomaly) findings(db isolationDB, level isolationLevel, schedules int) (found []string, shown int, err error) {
	kinds := map[string]bool{}
	for seed := range uint64(schedules) {
		s, err := runSchedule(db, level, a, seed)
		if err != nil {
			return found, shown, err
		}
		if a.shown != nil && a.shown(s) {
			shown++
			if level == serializable || !a.skew {
				s.fail("the anomaly %s is there", a.name)
			}
		}
		if a.free && level == serializable && slices.ContainsFunc(s.txns, func(x *scheduled) bool { return x.outcome == 'x' }) {
			s.fail("a conflict in a case that has none")
		}
		for _, f := range s.found {
			if !kinds[f.kind] {
				kinds[f.kind] = true
				found = append(found, fmt.Sprintf("%s under %s, seed %d: %s\n\t%s", a.name, level, seed, f.text, s))
			}
		}
	}
	if level == snapshotIsolation && a.skew && shown == 0 {
		found = append(found, fmt.Sprintf("%s never occurs under %s, which allows it", a.name, level))
	}
	return found, shown, nil
}

// TestIsolation runs every case against every store.
func TestIsolation(t *testing.T) {
	schedules := *isolationSchedules
	if testing.Short() {
		schedules = min(schedules, 200)
	}
	for _, store := range isolationStores() {
		for _, level := range []isolationLevel{serializable, snapshotIsolation} {
			t.Run(store.name+"/"+level.String(), func(t *testing.T) {
				db := store.open(t)
				var log []string
				for i := range anomalies {
					a := &anomalies[i]
					found, shown, err := a.findings(db, level, schedules)
					dbtest.Must(t, err)
					for _, f := range found {
						t.Error(f)
					}
					log = append(log, fmt.Sprintf("%s %d", a.name, shown))
				}
				dbtest.Must(t, db.Close())
				t.Logf("%d cases, %d schedules each; how often each anomaly was there: %s", len(anomalies), schedules, strings.Join(log, ", "))
			})
		}
	}
}
