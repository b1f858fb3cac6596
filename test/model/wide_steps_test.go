package model

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// The steps of TestWideModel.

// wideSnapshot is a snapshot, and what it sees.
type wideSnapshot struct {
	s    *seerdb.Snapshot
	v    testkit.View
	side []testkit.Row // of the filtered keyspace, as it was when it was taken
}

func (r *wideRun) openDB() {
	o, t := r.c.o, r.c.t
	t.FS, t.Clock, t.Elapsed = r.fs, r.clock.Now, r.clock.Since
	o.Merger = r.c.root.Operator()
	if r.Watch != nil {
		o.CompactionFilter = r.Watch.Filter(testkit.Default)
		r.readersChanged()
	}
	db, err := seerdb.Open("db", dbtest.With(o, t))
	r.must("open", err)
	r.DB, r.Trees, r.gone, r.expires = db, map[int]dbtest.FullTree{}, nil, false
	if r.side != nil {
		r.sideDB, err = db.Keyspace(dbtest.FilteredName, &seerdb.KeyspaceOptions{CompactionFilter: filterRemoving, ValueThreshold: 30})
		r.must("open the filtered keyspace", err)
	}
}

// opened is a keyspace that can be used.
func (r *wideRun) opened(id int) dbtest.FullTree {
	t, err := r.Tree(id)
	r.must("open a keyspace", err)
	return t
}

// syncs says whether a commit is durable by itself.
func (r *wideRun) syncs() bool { return r.c.o.Durability == seerdb.DefaultDurability }

func (r *wideRun) commit() {
	ops := r.g.Commit(r.Model)
	r.operations += len(ops)
	r.expires = r.expires || slices.ContainsFunc(ops, func(op testkit.Op) bool { return op.Kind == testkit.PutTTL })
	if len(ops) == 1 && r.side == nil && r.syncs() && !ops[0].Span().Contains(dbtest.CounterKey) && r.g.IntN(8) == 0 {
		r.commitOne(ops)
		return
	}
	c := r.Model.Commits() + 1
	ops = append(ops, dbtest.CounterOp(c))
	b, err := r.Batch(ops)
	r.must("batch", err)
	r.Model.Commit(ops)
	if r.side != nil {
		r.Watch.Committed(r.Model, ops)
		r.commitSide(b)
	}
	d := seerdb.DefaultDurability
	if r.c.o.Durability != seerdb.NoWAL && r.g.IntN(20) == 0 {
		d = seerdb.Sync
	}
	r.must("commit", r.DB.Apply(b, d))
	if d == seerdb.Sync || r.syncs() {
		r.durable = c
	}
}

// commitOne commits an operation without a batch. It is durable at once, so
// that its number need not be in the database.
func (r *wideRun) commitOne(ops []testkit.Op) {
	r.must("operation", dbtest.Do(r.opened(ops[0].Keyspace), &ops[0], r.Model.Now()))
	r.bare = r.Model.Commit(ops)
	r.durable = r.bare
}

// bulk loads rows into a keyspace, in order or not, and some that expire.
func (r *wideRun) bulk() {
	id := r.g.Keyspace(r.Model)
	ops := make([]testkit.Op, 1+r.g.IntN(40))
	expires := r.g.Weights[testkit.PutTTL] > 0 && r.g.IntN(2) == 0
	for i := range ops {
		value := r.g.Value()
		if m := r.Model.Merger(id); m == testkit.Counter || m == testkit.Union {
			value = r.g.Operand(m)
		}
		ops[i] = testkit.Op{Keyspace: id, Key: r.g.KeyOf(r.Model, id), Value: value}
		if expires && r.g.IntN(2) == 0 {
			ops[i].Kind, ops[i].Expiry = testkit.PutTTL, r.Model.Now()+r.g.TTL()
		}
	}
	c := r.Model.Commits() + 1
	if id == testkit.Default {
		ops = append(ops, dbtest.CounterOp(c))
	} else {
		r.bare = c
	}
	o := &seerdb.BulkOptions{Unsorted: r.g.IntN(2) == 0}
	if !o.Unsorted {
		slices.SortStableFunc(ops, func(a, b testkit.Op) int { return strings.Compare(a.Key, b.Key) })
		slices.Reverse(ops) // the last of equals stays
		ops = slices.CompactFunc(ops, func(a, b testkit.Op) bool { return a.Key == b.Key })
		slices.Reverse(ops)
	}
	r.Model.Commit(ops)
	if r.side != nil {
		r.Watch.Committed(r.Model, ops)
		r.side.m.Commit(nil)
	}
	var at *testkit.Op // the row that the sequence is at
	rows := func(yield func(k, v []byte) bool) {
		for i := range ops {
			if at = &ops[i]; !yield([]byte(ops[i].Key), []byte(ops[i].Value)) {
				return
			}
		}
	}
	if expires {
		r.expires = true
		o.Expires = func(k, v []byte) time.Time {
			if string(k) != at.Key || string(v) != at.Value {
				r.fail("asked for the expiry of %q while the sequence is at %v", k, at)
			}
			if at.Kind != testkit.PutTTL {
				return time.Time{}
			}
			return time.UnixMilli(dbtest.Epoch + at.Expiry)
		}
	}
	st, err := r.opened(id).BulkLoad(context.Background(), rows, o)
	if r.must("bulk load", err); int(st.Rows+st.Duplicates) != len(ops) {
		r.fail("bulk load of %d rows: %+v", len(ops), st)
	}
	r.operations += len(ops)
	r.durable = c
}

// commitSide adds a commit of the same number to the filtered keyspace.
func (r *wideRun) commitSide(b *seerdb.Batch) {
	var ops []testkit.Op
	if r.g.IntN(3) == 0 {
		ops = r.side.draw(r.Model.Now())
	}
	for i := range ops {
		r.must("batch", dbtest.Do(b.In(r.sideDB), &ops[i], r.Model.Now()))
	}
	r.side.m.Commit(ops)
	r.operations += len(ops)
}

// reader draws a keyspace, now or at a snapshot.
func (r *wideRun) reader() (src dbtest.Reader, id int, v testkit.View) {
	var s *seerdb.Snapshot
	v = r.Model.View()
	if n := len(r.snaps); n > 0 && r.g.IntN(3) == 0 {
		snap := r.snaps[r.g.IntN(n)]
		s, v = snap.s, snap.v
	}
	id = r.g.Keyspace(r.Model)
	src, err := r.At(s, id)
	r.must("open a keyspace", err)
	return src, id, v
}

func (r *wideRun) get() {
	src, id, v := r.reader()
	for range 1 + r.g.IntN(4) {
		r.operations++
		key := r.g.KeyOf(r.Model, id)
		want, exists, wantErr := r.Model.Lookup(v, id, key)
		got, err := src.AppendGet([]byte("x"), []byte(key))
		same := err == nil && string(got) == "x"+want
		switch {
		case wantErr != nil:
			same = dbtest.IsMergeError(err)
		case !exists:
			same = errors.Is(err, seerdb.ErrNotFound)
		}
		if !same {
			r.fail("get %d/%q at %+v: %q, %v; want %q, %v, %v", id, key, v, got, err, want, exists, wantErr)
		}
		if has, err := src.Has([]byte(key)); err != nil || has != exists {
			r.fail("has %d/%q at %+v: %v, %v; want %v", id, key, v, has, err, exists)
		}
	}
}

// walk moves an iterator, new or one that was left open, at random.
func (r *wideRun) walk() {
	if n := len(r.iters); n > 0 && r.g.IntN(3) == 0 {
		i := r.g.IntN(n)
		r.move(r.iters[i])
		if r.g.IntN(3) == 0 {
			_ = r.iters[i].Iter.Close()
			r.iters[i] = r.iters[n-1]
			r.iters = r.iters[:n-1]
		}
		return
	}
	src, id, v := r.reader()
	span := r.g.Spanned(r.Model, id)
	lo, hi := span.Bounds()
	if span.Lo == "" && r.g.IntN(2) == 0 {
		lo = nil
	}
	o := &seerdb.IterOptions{LowerBound: lo, UpperBound: hi, KeysOnly: r.g.IntN(4) == 0, Bulk: r.g.IntN(2) == 0}
	it, err := src.NewIter(o)
	r.must("iterator", err)
	rows := r.Model.Scan(v, id, span)
	if o.KeysOnly {
		rows = testkit.KeysOnly(rows)
	}
	w := &dbtest.ModelIter{Iter: it, Cursor: testkit.NewCursor(rows),
		What: fmt.Sprintf("keyspace %d at %+v over [%q, %q), keys only %v", id, v, lo, hi, o.KeysOnly)}
	r.move(w)
	if len(r.iters) < 4 && r.g.IntN(4) == 0 {
		r.iters = append(r.iters, w)
		return
	}
	_ = it.Close()
}

func (r *wideRun) move(w *dbtest.ModelIter) {
	for range 1 + r.g.IntN(30) {
		r.operations++
		if diff := w.Step(r.g.IntN(12), 8, r.g.Key()); diff != "" {
			r.fail("%s", diff)
		}
	}
}

// rows reads a range, a prefix, or the keys of one, by range-over-func.
func (r *wideRun) rows() {
	id := r.g.Keyspace(r.Model)
	t, v := r.opened(id), r.Model.View()
	span := r.g.Spanned(r.Model, id)
	rows := t.Range(span.Bounds())
	if key := r.g.KeyOf(r.Model, id); r.g.IntN(2) == 0 {
		key = key[:r.g.IntN(len(key)+1)]
		span, rows = testkit.PrefixSpan(key), t.Prefix([]byte(key))
	}
	want := r.Model.Scan(v, id, span)
	r.operations += len(want)
	if r.g.IntN(3) > 0 {
		limit := r.g.IntN(2) * (1 + r.g.IntN(10))
		err := dbtest.CompareSeq(rows, want, r.g.IntN(2) == 0, limit)
		if err != nil {
		}
		r.must(fmt.Sprintf("rows of %d in %+v", id, span), err)
		return
	}
	i := 0
	for k := range rows.Keys() {
		if expiry := dbtest.ModelTime(rows.Expiry()); i >= len(want) || want[i].Key != string(k) || want[i].Expiry != expiry {
			r.fail("keys of %d in %+v: key %d is %q until %d", id, span, i, k, expiry)
		}
		i++
	}
	if i != len(want) || rows.Err() != nil {
		r.fail("keys of %d in %+v: %d, want %d (%v)", id, span, i, len(want), rows.Err())
	}
}

func (r *wideRun) tick() {
	r.Model.Advance(r.g.Tick(r.Model))
	r.clock.Set(r.Model.Now())
	r.readersChanged()
}

// readersChanged tells the filter who reads.
func (r *wideRun) readersChanged() {
	if r.Watch == nil {
		return
	}
	views := make([]testkit.View, len(r.snaps))
	for i, s := range r.snaps {
		views[i] = s.v
	}
	idle := r.DB == nil || r.DB.Metrics().Compactions.Running == 0
	r.Watch.Readers(r.Model.Now(), views, idle)
}

func (r *wideRun) takeSnapshot() {
	if len(r.snaps) < 6 {
		s := wideSnapshot{s: r.DB.NewSnapshot(), v: r.Model.View()}
		if r.side != nil {
			var err error
			s.side, err = sideRows(s.s.In(r.sideDB))
			r.must("rows of the filtered keyspace", err)
		}
		r.snaps = append(r.snaps, s)
		r.readersChanged()
	}
}

func (r *wideRun) dropSnapshot() {
	n := len(r.snaps)
	if n == 0 {
		return
	}
	i := r.g.IntN(n)
	s := r.snaps[i].s
	r.snaps[i] = r.snaps[n-1]
	r.snaps = r.snaps[:n-1]
	r.readersChanged()
	r.must("close a snapshot", s.Close())
}

// letGo closes snapshots and iterators.
func (r *wideRun) letGo() {
	for _, w := range r.iters {
		_ = w.Iter.Close()
	}
	snaps := r.snaps
	r.iters, r.snaps = nil, nil
	r.readersChanged()
	for _, s := range snaps {
		r.must("close a snapshot", s.s.Close())
	}
}

func (r *wideRun) flush() {
	r.must("flush", r.DB.Flush(context.Background()))
	r.durable = r.Model.Commits()
}

func (r *wideRun) compact() {
	lo, hi := r.g.Bounds()
	if r.g.IntN(3) == 0 {
		lo, hi = nil, nil
	}
	var t dbtest.FullTree = r.sideDB
	if r.side == nil || r.g.IntN(3) > 0 {
		t = r.opened(r.g.Keyspace(r.Model))
	}
	r.must("compact", t.Compact(context.Background(), lo, hi))
	r.durable = r.Model.Commits()
}

func (r *wideRun) sync() {
	if r.c.o.Durability != seerdb.NoWAL {
		r.must("sync", r.DB.Sync())
		r.durable = r.Model.Commits()
	}
}

func (r *wideRun) create() {
	if r.c.spaces == 0 {
		return
	}
	name, m, ok := r.g.Create(r.Model)
	if !ok {
		return
	}
	if r.c.barred {
		m = nil
	}
	if _, err := r.DB.Keyspace(name, &seerdb.KeyspaceOptions{ErrorIfMissing: true}); !errors.Is(err, seerdb.ErrNoKeyspace) {
		r.fail("keyspace %q is there: %v", name, err)
	}
	id := r.Model.CreateKeyspace(name, m)
	k, err := r.DB.Keyspace(name, r.Options(id))
	r.must("create a keyspace", err)
	r.Trees[id] = k
	if !r.syncs() {
		r.fresh = append(r.fresh, id)
	}
}

func (r *wideRun) drop() {
	id, ok := r.g.Drop(r.Model)
	if !ok {
		return
	}
	r.gone = r.opened(id).(*seerdb.Keyspace)
	r.must("drop a keyspace", r.DB.DropKeyspace(r.Model.KeyspaceName(id)))
	r.Model.DropKeyspace(id)
	delete(r.Trees, id)
}

// adopt gives a keyspace that has none a merge operator.
func (r *wideRun) adopt() {
	for _, id := range r.Model.Keyspaces() {
		if r.c.barred || r.Model.Merger(id) != nil {
			continue
		}
		r.opened(id)
		r.Model.UseMerger(id, testkit.AppendComma)
		_, err := r.DB.Keyspace(r.Model.KeyspaceName(id), r.Options(id))
		r.must("give a keyspace an operator", err)
		return
	}
}

// refused does what must be refused and leave nothing.
func (r *wideRun) refused() {
	b := r.DB.NewBatch()
	id := r.g.Keyspace(r.Model)
	key := []byte(r.g.KeyOf(r.Model, id))
	disorder := func(yield func(k, v []byte) bool) { _ = yield([]byte("b"), nil) && yield([]byte("a"), nil) }
	if _, err := r.opened(id).BulkLoad(context.Background(), disorder, nil); !errors.Is(err, seerdb.ErrKeyOrder) {
		r.fail("bulk load out of order: %v", err)
	}
	r.must("put", b.Put([]byte(dbtest.CounterKey), []byte("refused")))
	r.must("delete", b.DeleteRange(nil, nil))
	if r.gone != nil && r.g.IntN(2) == 0 {
		r.must("put", b.In(r.gone).Put(key, nil))
		if err := r.DB.Apply(b, seerdb.DefaultDurability); !errors.Is(err, seerdb.ErrNoKeyspace) {
			r.fail("commit to a keyspace that was dropped: %v", err)
		}
		_, err := r.gone.Get(key)
		_, iterErr := r.gone.NewIter(nil)
		if !errors.Is(err, seerdb.ErrNoKeyspace) || !errors.Is(iterErr, seerdb.ErrNoKeyspace) {
			r.fail("reads of a keyspace that was dropped: %v, %v", err, iterErr)
		}
		return
	}
	t := r.opened(id)
	other := testkit.Max
	if r.Model.Merger(id) == other {
		other = testkit.Min
	}
	if r.Model.Merger(id) != nil {
		if id != testkit.Default {
			_, err := r.DB.Keyspace(r.Model.KeyspaceName(id), &seerdb.KeyspaceOptions{Merger: other.Operator()})
			if !errors.Is(err, seerdb.ErrInvalidOptions) {
				r.fail("keyspace %d was opened with another operator: %v", id, err)
			}
		}
		return
	}
	if k, ok := t.(*seerdb.Keyspace); ok {
		r.must("merge", b.In(k).Merge(key, nil))
	} else {
		r.must("merge", b.Merge(key, nil))
	}
	if err := r.DB.Apply(b, seerdb.DefaultDurability); !errors.Is(err, seerdb.ErrInvalidOptions) {
		r.fail("merge into %d without an operator: %v", id, err)
	}
}

// reopen closes and opens, now and then with a clock that was set back. The
// database remembers the time if something in it may expire.
func (r *wideRun) reopen() {
	r.letGo()
	_ = r.DB.NewBatch().PutTTL(nil, nil, 0) // makes it look at the clock
	r.must("close", r.DB.Close())
	r.durable, r.fresh = r.Model.Commits(), nil
	r.clock.Set(r.Model.Now())
	if r.expires && r.g.IntN(2) == 0 {
		r.clock.SetBack(r.Model.Now(), int64(r.g.IntN(10_000)))
	}
	r.openDB()
	r.checkNew()
}

// crash cuts the power: what was not synced survives by chance.
func (r *wideRun) crash() {
	keep := []float64{0, 1, 0.5, 0.9}[r.g.IntN(4)]
	disk := r.fs.CrashClone(memfs.CrashOptions{Keep: keep, Rand: rand.New(rand.NewPCG(r.g.Uint64(), 1))})
	r.letGo()
	_ = r.DB.Close() // the old machine goes on beside, on its own disk
	r.fs = disk
	r.clock.Set(r.Model.Now())
	r.openDB()
	got, err := r.Counter()
	r.must("counter", err)
	got = max(got, r.bare)
	if got < r.durable || got > r.Model.Commits() {
		r.fail("after a crash (keep %v) commit %d is the newest; %d was durable, %d issued", keep, got, r.durable, r.Model.Commits())
	}
	r.Model.Truncate(got)
	if r.side != nil {
		r.side.m.Truncate(got)
	}
	r.durable = got
	r.forgetFresh()
	r.checkNew()
}

// forgetFresh drops from the model the keyspaces that a power cut took back.
func (r *wideRun) forgetFresh() {
	names, err := r.DB.Keyspaces()
	r.must("keyspaces", err)
	for _, id := range r.fresh {
		if r.Model.Live(id) && !slices.Contains(names, r.Model.KeyspaceName(id)) && !r.Model.Wrote(id) {
			r.Model.DropKeyspace(id)
			delete(r.Trees, id)
		}
	}
	r.fresh = nil
}

// checkNew compares a database that was just opened. Keyspaces stay closed by
// chance, so that jobs meet some whose operators were never named.
func (r *wideRun) checkNew() {
	r.must("after opening", r.Names())
	for _, id := range r.Model.Keyspaces() {
		if id == testkit.Default || r.g.IntN(3) > 0 {
			r.must("after opening", r.Check(nil, r.Model.View(), id))
		}
	}
	r.checkSide()
}

func (r *wideRun) checkSide() {
	if r.side == nil {
		return
	}
	r.side.m.Advance(r.Model.Now() - r.side.m.Now())
	r.must("now", r.side.check(r.sideDB, r.Model.View()))
	for _, s := range r.snaps {
		r.must("at a snapshot", r.side.check(s.s.In(r.sideDB), s.v))
		rows, err := sideRows(s.s.In(r.sideDB))
		if r.must("at a snapshot", err); !slices.Equal(rows, s.side) {
			r.fail("the filter moved the snapshot at %+v: %v, and then %v", s.v, s.side, rows)
		}
	}
}

// checkAll compares everything, both ways, now and at all snapshots.
func (r *wideRun) checkAll() {
	r.must("keyspaces", r.Names())
	for _, id := range r.Model.Keyspaces() {
		r.must("now", r.Check(nil, r.Model.View(), id))
		for _, s := range r.snaps {
			r.must("at a snapshot", r.Check(s.s, s.v, id))
		}
	}
	r.checkSide()
}

func (r *wideRun) verify() {
	report, err := r.DB.Verify(context.Background())
	r.must("verify", err)
	if !report.Clean() {
		r.fail("verify: %v", report.Damage)
	}
}
