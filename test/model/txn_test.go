package model

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestTxnModel interleaves several open transactions, plain commits, flushes
// and compactions in one goroutine, and compares every answer, and the outcome
// of every commit, with the model.
func TestTxnModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	steps := *modelOps
	if steps == 0 {
		steps = 4000
		if testing.Short() {
			steps = 800
		}
	}
	for i, c := range txnConfigs() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if t.Failed() {
					t.Logf("reproduce with: go test ./test/model -run 'TestTxnModel/%s$' -model.seed %d -model.ops %d", quoteName(c.name), seed, steps)
				}
			}()
			r := newTxnRun(t, c, testkit.NewGen(seed+uint64(i), 60, 60))
			for r.step = range steps {
				r.once()
			}
			r.end()
			t.Logf("seed %d; %d committed, conflicts: %d that must be, %d that may be; steps %v",
				seed, r.committed, r.must2conflict, r.mayConflict, r.done)
		})
	}
}

// txnConfigs have tiny memtables, pages and tables, and budgets with which the
// history of transactions is kept, or lost at once.
func txnConfigs() []config {
	var out []config
	for i, budget := range []int64{1 << 20, 256 << 10, 64 << 10} {
		for _, index := range []sstable.IndexMode{sstable.IndexFences, sstable.IndexLearned} {
			c := config{name: fmt.Sprintf("budget-%dk-index-%d", budget>>10, index)}
			c.o, c.t = dbtest.Tiny()
			c.o.MemtableSize, c.o.PageSize, c.o.TableSize, c.o.MemoryBudget = 2<<10, 80, 2<<10, budget
			c.o.Durability = []seerdb.Durability{seerdb.Relaxed, seerdb.NoWAL, seerdb.Buffered}[i]
			c.o.ValueThreshold = []int{30, -1, 1}[i]
			c.t.Index, c.t.L0Trigger, c.t.BaseLevel, c.t.Partitions = index, 2, 4<<10, 1<<(2*i)
			out = append(out, c)
		}
	}
	return out
}

// txnRun is one run under one set of options.
type txnRun struct {
	dbtest.ModelDB
	t     testing.TB
	g     *testkit.Gen
	clock *dbtest.Clock
	open  []*txnPair
	step  int
	done  map[string]int

	committed, must2conflict, mayConflict int
}

// txnPair is a transaction and its model.
type txnPair struct {
	x        *seerdb.Txn
	m        *testkit.Txn
	si       bool
	readOnly bool
	saves    []txnSave
	iters    []*txnIter
	loose    bool // it has read farther than the model says: beyond an error, or in a dropped keyspace
	log      []string
}

type txnSave struct {
	s      seerdb.Savepoint
	m      int
	undone bool
}

type txnIter struct {
	dbtest.ModelIter
	keyspace int
}

func newTxnRun(t testing.TB, c config, g *testkit.Gen) *txnRun {
	m := testkit.NewModel()
	m.UseMerger(testkit.Default, testkit.AppendComma)
	g.MaxKeyspaces, g.Odd = 4, 100
	r := &txnRun{ModelDB: dbtest.ModelDB{Model: m, Trees: map[int]dbtest.FullTree{}}, t: t, g: g, clock: dbtest.NewClock(), done: map[string]int{}}
	c.o.Merger, c.t.FS, c.t.Clock = testkit.AppendComma.Operator(), memfs.New(), r.clock.Now
	db, err := seerdb.Open("db", dbtest.With(c.o, c.t))
	dbtest.Must(t, err)
	r.DB = db
	return r
}

func (r *txnRun) fail(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("step %d, commit %d, time %d: %s", r.step, r.Model.Commits(), r.Model.Now(), fmt.Sprintf(format, args...))
}

func (r *txnRun) must(what string, err error) {
	if err != nil {
		r.t.Helper()
		r.fail("%s: %v", what, err)
	}
}

var txnSteps = []struct {
	name   string
	weight int
	f      func(*txnRun)
	txn    func(*txnRun, *txnPair)
}{
	{name: "begin", weight: 40, f: (*txnRun).begin},
	{name: "plain", weight: 60, f: (*txnRun).plain},
	{name: "conditional", weight: 20, f: (*txnRun).conditional},
	{name: "flush", weight: 15, f: func(r *txnRun) { r.must("flush", r.DB.Flush(context.Background())) }},
	{name: "compact", weight: 6, f: (*txnRun).compact},
	{name: "tick", weight: 20, f: (*txnRun).tick},
	{name: "create", weight: 6, f: (*txnRun).create},
	{name: "drop", weight: 3, f: (*txnRun).drop},
	{name: "check", weight: 3, f: (*txnRun).checkAll},
	{name: "write", weight: 150, txn: (*txnRun).write},
	{name: "get", weight: 90, txn: (*txnRun).get},
	{name: "rows", weight: 20, txn: (*txnRun).rows},
	{name: "iterator", weight: 40, txn: (*txnRun).iterator},
	{name: "move", weight: 80, txn: (*txnRun).move},
	{name: "savepoint", weight: 20, txn: (*txnRun).savepoint},
	{name: "rollback-to", weight: 12, txn: (*txnRun).rollbackTo},
	{name: "commit", weight: 30, txn: (*txnRun).commit},
	{name: "rollback", weight: 4, txn: (*txnRun).rollback},
}

// once does one random step.
func (r *txnRun) once() {
	total := 0
	for i := range txnSteps {
		total += txnSteps[i].weight
	}
	n := r.g.IntN(total)
	for i := range txnSteps {
		s := &txnSteps[i]
		if n -= s.weight; n >= 0 {
			continue
		}
		r.done[s.name]++
		switch {
		case s.f != nil:
			s.f(r)
		case len(r.open) == 0:
			r.begin()
		default:
			s.txn(r, r.open[r.g.IntN(len(r.open))])
		}
		return
	}
}

func (r *txnRun) begin() {
	if len(r.open) == 5 {
		return
	}
	p := &txnPair{si: r.g.IntN(3) == 0, readOnly: r.g.IntN(12) == 0}
	o := &seerdb.TxnOptions{ReadOnly: p.readOnly}
	if p.si {
		o.Isolation = seerdb.SnapshotIsolation
	}
	var err error
	p.x, err = r.DB.Begin(o)
	r.must("begin", err)
	p.m = r.Model.Begin()
	r.open = append(r.open, p)
}

// note adds to what is shown of a transaction that differs.
func (p *txnPair) note(format string, args ...any) {
	p.log = append(p.log, fmt.Sprintf(format, args...))
}

func (r *txnRun) failTxn(p *txnPair, format string, args ...any) {
	r.t.Helper()
	r.fail("%s\ntransaction at %+v, snapshot isolation %v, read-only %v:\n%s", fmt.Sprintf(format, args...),
		p.m.View(), p.si, p.readOnly, strings.Join(p.log, "\n"))
}

// txnTaker is one keyspace of a transaction.
type txnTaker interface {
	dbtest.Reader
	dbtest.Taker
	Get(key []byte) ([]byte, error)
	GetForUpdate(key []byte) ([]byte, error)
	Range(lo, hi []byte) *seerdb.Rows
}

func (r *txnRun) in(p *txnPair, id int) txnTaker {
	if id == testkit.Default {
		return p.x
	}
	t, err := r.Tree(id)
	r.must("open a keyspace", err)
	return p.x.In(t.(*seerdb.Keyspace))
}

func (r *txnRun) write(p *txnPair) {
	n := 1
	if r.g.IntN(6) == 0 {
		n += r.g.IntN(20)
	}
	for range n {
		ops := r.g.AppendOp(slices.Clone(p.m.Ops()), r.Model)
		if len(ops) == len(p.m.Ops()) {
			return
		}
		op := ops[len(ops)-1]
		err := dbtest.Do(r.in(p, op.Keyspace), &op, r.Model.Now())
		if p.readOnly {
			if !errors.Is(err, seerdb.ErrReadOnly) && !op.Span().Empty() {
				r.failTxn(p, "a write of a read-only transaction: %v", err)
			}
			return
		}
		p.note("%v", op)
		if errors.Is(err, seerdb.ErrTxnTooLarge) {
			r.done["too large"]++
			return // as if it had not been
		}
		r.must("write", err)
		p.m.Write(op)
	}
	if r.g.IntN(8) == 0 {
		id := r.g.Keyspace(r.Model)
		if err := r.in(p, id).Put(make([]byte, 1<<17), nil); !errors.Is(err, seerdb.ErrKeyTooLarge) {
			r.failTxn(p, "a key that is too large: %v", err)
		}
	}
}

func (r *txnRun) get(p *txnPair) {
	id := r.g.Keyspace(r.Model)
	key := r.g.KeyOf(r.Model, id)
	if ops := p.m.Ops(); len(ops) > 0 && r.g.IntN(3) == 0 {
		if op := ops[r.g.IntN(len(ops))]; r.Model.Live(op.Keyspace) {
			id, key = op.Keyspace, op.Key
		}
	}
	s := r.in(p, id)
	var got []byte
	var err error
	var want string
	var exists bool
	var wantErr error
	how := r.g.IntN(3)
	switch how {
	case 0:
		has, err := s.Has([]byte(key))
		if want := p.m.Has(id, key); err != nil || has != want {
			r.failTxn(p, "has %d/%q: %v, %v; want %v", id, key, has, err, want)
		}
		p.note("has %d/%q", id, key)
		return
	case 1:
		got, err = s.GetForUpdate([]byte(key))
		if p.readOnly {
			if !errors.Is(err, seerdb.ErrReadOnly) {
				r.failTxn(p, "GetForUpdate: %v", err)
			}
			return
		}
		want, exists, wantErr = p.m.LookupForUpdate(id, key)
		p.note("get for update %d/%q", id, key)
	default:
		got, err = s.Get([]byte(key))
		want, exists, wantErr = p.m.Lookup(id, key)
		p.note("get %d/%q", id, key)
	}
	same := err == nil && string(got) == want
	switch {
	case errors.Is(err, seerdb.ErrTxnTooLarge):
		r.done["too large"]++
		r.rollback(p)
		return
	case wantErr != nil:
		same = dbtest.IsMergeError(err)
	case !exists:
		same = errors.Is(err, seerdb.ErrNotFound)
	}
	if !same {
		r.failTxn(p, "get %d/%q: %q, %v; want %q, %v, %v", id, key, got, err, want, exists, wantErr)
	}
}

// rows reads a range by range-over-func, up to a limit.
func (r *txnRun) rows(p *txnPair) {
	id := r.g.Keyspace(r.Model)
	read := testkit.Read{Keyspace: id, Span: r.g.Spanned(r.Model, id), Reverse: r.g.IntN(2) == 0, KeysOnly: r.g.IntN(4) == 0}
	if r.g.IntN(2) == 0 {
		read.Limit = 1 + r.g.IntN(5)
	}
	read.Reverse = read.Reverse && !read.KeysOnly
	rows := r.in(p, id).Range(read.Span.Bounds())
	p.note("rows %+v", read)
	want := p.m.Scan(read)
	i := 0
	take := func(k, v []byte) bool {
		if i >= len(want) || want[i].Err != nil || want[i].Key != string(k) || want[i].Value != string(v) {
			r.failTxn(p, "rows %+v: row %d is %q=%q, want %v", read, i, k, v, want)
		}
		i++
		return i != read.Limit
	}
	switch {
	case read.KeysOnly:
		for k := range rows.Keys() {
			if !take(k, nil) {
				break
			}
		}
	case read.Reverse:
		rows.Backward()(take)
	default:
		rows.All()(take)
	}
	stopped := i < len(want) && want[i].Err != nil && dbtest.IsMergeError(rows.Err())
	p.loose = p.loose || stopped
	if !stopped && (i != len(want) || rows.Err() != nil) {
		r.failTxn(p, "rows %+v: %d rows, %v; want %v", read, i, rows.Err(), want)
	}
}

func (r *txnRun) iterator(p *txnPair) {
	if len(p.iters) == 3 {
		r.closeIter(p, r.g.IntN(3))
		return
	}
	id := r.g.Keyspace(r.Model)
	span := r.g.Spanned(r.Model, id)
	lo, hi := span.Bounds()
	if r.g.IntN(10) == 0 {
		lo, hi, span = []byte{}, []byte{}, testkit.Span{}
	}
	if span.Lo == "" && r.g.IntN(2) == 0 {
		lo = nil
	}
	o := &seerdb.IterOptions{LowerBound: lo, UpperBound: hi, KeysOnly: r.g.IntN(4) == 0, Bulk: r.g.IntN(2) == 0}
	it, err := r.in(p, id).NewIter(o)
	r.must("iterator", err)
	w := &txnIter{keyspace: id, ModelIter: dbtest.ModelIter{Iter: it, Cursor: p.m.Cursor(id, span, o.KeysOnly),
		What: fmt.Sprintf("keyspace %d over [%q, %q), nil %v %v, keys only %v", id, lo, hi, lo == nil, hi == nil, o.KeysOnly)}}
	p.note("iterator of %s", w.What)
	p.iters = append(p.iters, w)
	r.move(p)
}

func (r *txnRun) closeIter(p *txnPair, i int) {
	_ = p.iters[i].Iter.Close()
	p.note("closed the iterator of %s", p.iters[i].What)
	p.iters = slices.Delete(p.iters, i, i+1)
}

func (r *txnRun) move(p *txnPair) {
	if len(p.iters) == 0 {
		return
	}
	i := r.g.IntN(len(p.iters))
	w := p.iters[i]
	if !r.Model.Live(w.keyspace) { // it goes on, but the model has forgotten
		r.closeIter(p, i)
		return
	}
	for range 1 + r.g.IntN(12) {
		diff := w.Step(r.g.IntN(14), 9, r.g.KeyOf(r.Model, w.keyspace))
		p.note("%s: %s", w.What, w.Path[len(w.Path)-1])
		p.loose = p.loose || w.Cursor.Err() != nil
		if diff != "" {
			r.failTxn(p, "%s", diff)
		}
	}
}

func (r *txnRun) savepoint(p *txnPair) {
	p.saves = append(p.saves, txnSave{s: p.x.Savepoint(), m: p.m.Savepoint()})
	p.note("savepoint")
}

func (r *txnRun) rollbackTo(p *txnPair) {
	if len(p.saves) == 0 {
		return
	}
	s := p.saves[r.g.IntN(len(p.saves))]
	err := p.x.RollbackTo(s.s)
	p.note("rollback to %d (undone %v)", s.m, s.undone)
	if s.undone {
		if !errors.Is(err, seerdb.ErrInvalidOptions) {
			r.failTxn(p, "rolled back to a savepoint that was undone: %v", err)
		}
		return
	}
	if err != nil {
		r.failTxn(p, "roll back: %v", err)
	}
	p.m.RollbackTo(s.m)
	for i := range p.saves {
		p.saves[i].undone = p.saves[i].undone || p.saves[i].m > s.m
	}
}

// forget takes a transaction off the list and closes its iterators.
func (r *txnRun) forget(p *txnPair) {
	r.open = slices.DeleteFunc(r.open, func(o *txnPair) bool { return o == p })
	for _, w := range p.iters {
		_ = w.Iter.First() // over, or at the snapshot; not undefined
		_ = w.Iter.Close()
	}
}

func (r *txnRun) rollback(p *txnPair) {
	p.x.Rollback()
	r.forget(p)
}

// keeps says whether what single deletes of a transaction promise still holds.
func (r *txnRun) keeps(ops []testkit.Op) bool {
	for i := range ops {
		if ops[i].Kind == testkit.SingleDelete && r.Model.Live(ops[i].Keyspace) && !r.Model.MaySingleDelete(ops[:i], ops[i].Keyspace, ops[i].Key) {
			return false
		}
	}
	return true
}

func (r *txnRun) commit(p *txnPair) {
	ops := p.m.Ops()
	if !r.keeps(ops) {
		r.rollback(p)
		return
	}
	verdict := p.m.Serializable()
	if p.si {
		verdict = p.m.SnapshotIsolation()
	}
	dead := slices.ContainsFunc(ops, func(op testkit.Op) bool { return !r.Model.Live(op.Keyspace) })
	if r.g.IntN(3) > 0 {
		for len(p.iters) > 0 {
			r.closeIter(p, 0)
		}
	}
	err := p.x.Commit()
	switch {
	case dead && len(ops) > 0:
		if !errors.Is(err, seerdb.ErrNoKeyspace) && !errors.Is(err, seerdb.ErrConflict) {
			r.failTxn(p, "commit to a keyspace that was dropped: %v", err)
		}
	case errors.Is(err, seerdb.ErrConflict):
		if verdict == testkit.MustCommit && !p.loose {
			r.failTxn(p, "a false conflict")
		}
		if verdict == testkit.MustConflict {
			r.must2conflict++
		} else {
			r.mayConflict++
		}
	case err != nil:
		r.failTxn(p, "commit: %v", err)
	case verdict == testkit.MustConflict:
		r.failTxn(p, "committed, and had to conflict")
	case len(ops) > 0:
		r.committed++
		p.m.Commit()
	}
	r.forget(p)
}
