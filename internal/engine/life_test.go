package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// life is a database, opened again and again, beside the model of what is in it. One
// goroutine uses it, so each answer is known.
type life struct {
	t       *testing.T
	g       *testkit.Gen
	m       *testkit.Model
	fs      *memfs.FS
	change  func(*Options)
	e       *Engine
	ms      *atomic.Int64 // the time of the model; the engine asks from many goroutines
	snaps   []lifeSnapshot
	durable int // every commit up to here survives a power cut
	step    int
}

type lifeSnapshot struct {
	s *Snapshot
	v testkit.View
}

// lifeEpoch is the time at which models begin.
const lifeEpoch = 1_000_000

// lifeCounter holds the number of the commit that wrote it: after a power cut the
// database says itself which commits it has.
const lifeCounter = "\x00commit"

// TestLife does everything that an engine can do, in random order, with power cuts, and
// compares each answer with the model.
func TestLife(t *testing.T) {
	configs := map[string]func(*Options){
		"sync": func(*Options) {},
		"buffered": func(o *Options) {
			o.Durability, o.SyncInterval, o.MaxCompactions = Buffered, time.Millisecond, 2
		},
		"relaxed": func(o *Options) { o.Durability, o.MemtableSize, o.Partitions = Relaxed, 2<<10, 4 },
		"no-wal":  func(o *Options) { o.Durability, o.ValueThreshold = NoWAL, 1 },
		"packs":   func(o *Options) { o.PackFrom, o.PackedMax = -1, 2<<10 },
		"crowded": func(o *Options) { o.MemoryBudget, o.MemtableSize, o.TableSize, o.OpenFiles = 48<<10, 1<<10, 2<<10, 4 },
	}
	steps := 1500
	if testing.Short() {
		steps = 500
	}
	for name, change := range configs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			defer func() {
				if t.Failed() {
					t.Logf("the seed is %d", seed)
				}
			}()
			l := &life{t: t, g: testkit.NewGen(seed, 60, 60), m: testkit.NewModel(), fs: memfs.New(), change: change, ms: new(atomic.Int64)}
			l.g.Odd = 0
			l.m.UseMerger(testkit.Default, testkit.Counter)
			l.open()
			for l.step = range steps {
				l.once()
			}
			l.checkAll("at the end")
			l.close()
		})
	}
}

func (l *life) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("step %d: %v", l.step, err)
	}
}

func (l *life) options() Options {
	o := Options{
		FS: l.fs, Durability: Sync, MemoryBudget: 1 << 20, MemtableSize: 8 << 10, PageSize: 512, TableSize: 4 << 10, ValueThreshold: 100,
		L0Trigger: 2, L0Slowdown: 4, L0Stop: 8, BaseLevelBytes: 16 << 10, DeadMin: 2, FoldFrom: 2, PackFrom: 2, PackSlack: 1 << 10, FilterBits: 8,
		Merger: testkit.Counter.Operator(),
		Clock:  func() time.Time { return time.UnixMilli(lifeEpoch + l.ms.Load()) },
		Elapsed: func(time.Time) time.Duration {
			return time.Duration(l.ms.Load()) * time.Millisecond
		},
	}
	l.change(&o)
	return o.WithDefaults()
}

func (l *life) open() {
	e, err := Open("db", l.options())
	l.must(err)
	l.e = e
}

func (l *life) close() {
	for _, s := range l.snaps {
		l.must(s.s.Close())
	}
	l.snaps = nil
	l.must(l.e.Close())
	l.durable = l.m.Commits()
}

// keyspace is the keyspace with a number in the model.
func (l *life) keyspace(id int) *Keyspace {
	if id == testkit.Default {
		return l.e.Root()
	}
	k, err := l.e.Keyspace(l.m.KeyspaceName(id), KeyspaceChoice{Merger: l.m.Merger(id).Operator()}, false)
	l.must(err)
	return k
}

func (l *life) once() {
	ctx := context.Background()
	switch n := l.g.IntN(100); {
	case n < 36:
		l.commit()
	case n < 48:
		l.transact()
	case n < 62:
		l.get()
	case n < 70:
		l.scan()
	case n < 74:
		l.snapshots()
	case n < 77:
		l.must(l.e.Flush(ctx))
		l.durable = l.m.Commits()
	case n < 79:
		lo, hi := l.g.Bounds()
		l.must(l.keyspace(l.g.Keyspace(l.m)).Compact(ctx, lo, hi))
	case n < 81:
		l.load()
	case n < 85:
		l.keyspaces()
	case n < 90:
		l.m.Advance(l.g.Tick(l.m))
		l.ms.Store(l.m.Now())
	case n < 93:
		l.look()
	case n < 94:
		l.sync()
	case n < 96:
		l.checkAll("on the way")
	case n < 98:
		l.close()
		l.readOnly()
		l.open()
		l.checkAll("after reopening")
	default:
		l.cutPower()
	}
}

// add adds operations to a batch.
func (l *life) add(b *batch.Batch, ops []testkit.Op) {
	for _, op := range ops {
		o := OpsOn(b, l.keyspace(op.Keyspace), l.e)
		key, value := []byte(op.Key), []byte(op.Value)
		switch kind := op.Kind; {
		case op.Delete || kind == testkit.Delete:
			l.must(o.Delete(key))
		case kind == testkit.SingleDelete:
			l.must(o.SingleDelete(key))
		case kind == testkit.Merge:
			l.must(o.Merge(key, value))
		case kind == testkit.DeleteRange:
			l.must(o.DeleteRange(op.Range()))
		case kind == testkit.PutTTL && op.Expiry%2 == 0:
			l.must(o.PutUntil(key, value, time.UnixMilli(lifeEpoch+op.Expiry)))
		case kind == testkit.PutTTL:
			l.must(o.PutTTL(key, value, time.Duration(op.Expiry-l.m.Now())*time.Millisecond))
		default:
			l.must(o.Put(key, value))
		}
	}
}

// counted adds the counter to operations.
func (l *life) counted(ops []testkit.Op) []testkit.Op {
	n := binary.BigEndian.AppendUint64(nil, uint64(l.m.Commits()+1))
	return append(ops, testkit.Op{Key: lifeCounter, Value: string(n)})
}

func (l *life) commit() {
	ops := l.counted(l.g.Commit(l.m))
	b := new(batch.Batch)
	l.add(b, ops)
	d := DefaultDurability
	if l.e.Durability() != NoWAL && l.g.IntN(10) == 0 {
		d = Sync
	}
	_, err := l.e.Commit(b, d)
	l.must(err)
	l.m.Commit(ops)
	l.committed(d)
}

func (l *life) committed(d Durability) {
	if d == Sync || l.e.Durability() == Sync {
		l.durable = l.m.Commits()
	}
}

// transact runs a transaction, undoes a part of it, and now and then has another commit
// come in between.
func (l *life) transact() {
	var x Txn
	o := TxnOptions{Isolation: Isolation(l.g.IntN(2))}
	l.must(l.e.Begin(&x, o))
	defer x.Rollback()
	mine := l.m.Begin()
	for range 1 + l.g.IntN(6) {
		p, mp := x.Savepoint(), mine.Savepoint()
		for _, op := range l.g.AppendOp(nil, l.m) {
			if op.Kind == testkit.SingleDelete { // others may have put the key again
				op.Kind = testkit.Delete
			}
			l.must(x.Write(l.keyspace(op.Keyspace), func(b *batch.Batch) error {
				l.add(b, []testkit.Op{op})
				return nil
			}))
			mine.Write(op)
		}
		id := l.g.Keyspace(l.m)
		key := l.g.KeyOf(l.m, id)
		want, exists, merr := mine.Lookup(id, key)
		got, err := x.AppendGet(l.keyspace(id), nil, []byte(key))
		l.same("in a transaction, "+key, got, err, want, exists, merr)
		if l.g.IntN(3) == 0 {
			l.inTxn(&x, mine, id, key)
		}
		if l.g.IntN(4) == 0 {
			l.must(x.RollbackTo(p))
			mine.RollbackTo(mp)
		}
	}
	between := l.g.IntN(4) == 0
	if between {
		l.commit()
	}
	if l.g.IntN(5) == 0 {
		return
	}
	ops := l.counted(mine.Ops())
	l.must(x.Write(l.e.Root(), func(b *batch.Batch) error {
		l.add(b, ops[len(ops)-1:])
		return nil
	}))
	switch _, err := x.Commit(context.Background()); {
	case err == nil:
		l.m.Commit(ops)
		l.committed(DefaultDurability)
	case !between || !errors.Is(err, base.ErrConflict):
		l.t.Fatalf("step %d: commit of a transaction: %v", l.step, err)
	}
}

// inTxn reads a key for an update, and all rows, in a transaction.
func (l *life) inTxn(x *Txn, mine *testkit.Txn, id int, key string) {
	want, exists, merr := mine.LookupForUpdate(id, key)
	got, err := x.AppendGetForUpdate(l.keyspace(id), nil, []byte(key))
	l.same("for an update, "+key, got, err, want, exists, merr)
	var shown []byte
	err = x.View(l.keyspace(id), []byte(key), func(b []byte) error {
		shown = bytes.Clone(b)
		return nil
	})
	l.same("view in a transaction, "+key, shown, err, want, exists, merr)
	if ok, err := x.Has(l.keyspace(id), []byte(key)); err != nil || ok != mine.Has(id, key) {
		l.t.Fatalf("step %d: %q is there in a transaction: %v, %v", l.step, key, ok, err)
	}
	it, err := x.NewIter(l.keyspace(id), IterOptions{})
	l.must(err)
	l.rows(it, mine.Scan(testkit.Read{Keyspace: id, Span: testkit.Span{NoEnd: true}}))
}

// same compares an answer of a read with the model's.
func (l *life) same(what string, got []byte, err error, want string, exists bool, merr error) {
	l.t.Helper()
	switch {
	case merr != nil:
		if err == nil || errors.Is(err, base.ErrNotFound) {
			l.t.Fatalf("step %d, %s: %q, %v; the operator fails: %v", l.step, what, got, err, merr)
		}
	case exists && (err != nil || string(got) != want):
		l.t.Fatalf("step %d, %s: %q, %v; want %q", l.step, what, got, err, want)
	case !exists && !errors.Is(err, base.ErrNotFound):
		l.t.Fatalf("step %d, %s: %q, %v; want none", l.step, what, got, err)
	}
}

// get reads a key in each way, now or at a snapshot.
func (l *life) get() {
	id := l.g.Keyspace(l.m)
	k, key, v := l.keyspace(id), []byte(l.g.KeyOf(l.m, id)), l.m.View()
	get := func() ([]byte, error) { return k.AppendGet(nil, key, readstate.Newest) }
	has := func() (bool, error) { return k.Has(key, readstate.Newest) }
	view := func(fn func([]byte) error) error { return k.View(key, readstate.Newest, fn) }
	if len(l.snaps) > 0 && l.g.IntN(2) == 0 {
		s := l.snaps[l.g.IntN(len(l.snaps))]
		if !l.m.Live(id) {
			return
		}
		v = s.v
		get = func() ([]byte, error) { return s.s.AppendGet(k, nil, key) }
		has = func() (bool, error) { return s.s.Has(k, key) }
		view = func(fn func([]byte) error) error { return s.s.View(k, key, fn) }
	}
	want, exists, merr := l.m.Lookup(v, id, string(key))
	got, err := get()
	l.same(fmt.Sprintf("get %q", key), got, err, want, exists, merr)
	got = nil
	err = view(func(b []byte) error {
		got = bytes.Clone(b)
		return nil
	})
	l.same(fmt.Sprintf("view %q", key), got, err, want, exists, merr)
	if ok, err := has(); err != nil || ok != l.m.Has(v, id, string(key)) {
		l.t.Fatalf("step %d: has %q: %v, %v", l.step, key, ok, err)
	}
}

// scan compares the rows of a keyspace, forward and back.
func (l *life) scan() {
	id := l.g.Keyspace(l.m)
	lo, hi := l.g.Bounds()
	if hi != nil && bytes.Compare(lo, hi) > 0 {
		lo, hi = hi, lo
	}
	it, err := l.keyspace(id).NewIter(IterOptions{Lower: lo, Upper: hi, Bulk: l.g.IntN(2) == 0}, readstate.Newest)
	l.must(err)
	l.rows(it, l.m.Scan(l.m.View(), id, testkit.NewSpan(lo, hi)))
	_, err = l.keyspace(id).EstimateRange(lo, hi)
	l.must(err)
}

// rows compares what an iterator shows, and closes it.
func (l *life) rows(it *Iter, want []testkit.Row) {
	l.t.Helper()
	if i := slices.IndexFunc(want, func(r testkit.Row) bool { return r.Err != nil }); i >= 0 {
		_ = it.Close() // a merge fails; the walk ends there
		return
	}
	i := 0
	for ok := it.First(); ok; ok = it.Next() {
		if i == len(want) || string(it.Key()) != want[i].Key || string(it.Value()) != want[i].Value {
			l.t.Fatalf("step %d: row %d is %q=%q of %v", l.step, i, it.Key(), it.Value(), want)
		}
		i++
	}
	if i != len(want) || it.Err() != nil {
		l.t.Fatalf("step %d: %d rows of %v: %v", l.step, i, want, it.Err())
	}
	for ok := it.Last(); ok; ok = it.Prev() {
		if i--; i < 0 || string(it.Key()) != want[i].Key || string(it.Value()) != want[i].Value {
			l.t.Fatalf("step %d: going back row %d is %q=%q of %v", l.step, i, it.Key(), it.Value(), want)
		}
	}
	if i != 0 || it.Err() != nil {
		l.t.Fatalf("step %d: going back %d rows are missing: %v", l.step, i, it.Err())
	}
	l.must(it.Close())
}

func (l *life) snapshots() {
	if n := len(l.snaps); n > 4 || n > 0 && l.g.IntN(2) == 0 {
		i := l.g.IntN(n)
		l.must(l.snaps[i].s.Close())
		l.snaps = slices.Delete(l.snaps, i, i+1)
		return
	}
	l.snaps = append(l.snaps, lifeSnapshot{l.e.NewSnapshot(), l.m.View()})
}

// load loads rows, which are one commit, behind the newest counter.
func (l *life) load() {
	rows := map[string]string{}
	for range 1 + l.g.IntN(40) {
		rows["load"+l.g.Key()] = l.g.Value()
	}
	id := l.g.Keyspace(l.m)
	var keys []string
	for key := range rows {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	unsorted := l.g.IntN(2) == 0
	if unsorted {
		l.g.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	}
	var seq iter.Seq2[[]byte, []byte] = func(yield func([]byte, []byte) bool) {
		for _, key := range keys {
			if !yield([]byte(key), []byte(rows[key])) {
				return
			}
		}
	}
	st, err := l.keyspace(id).Load(context.Background(), seq, LoadOptions{Unsorted: unsorted})
	if l.must(err); st.Rows != uint64(len(keys)) {
		l.t.Fatalf("step %d: %d rows loaded of %d", l.step, st.Rows, len(keys))
	}
	// The load is durable, and all before it. Its counter follows in a commit that can
	// be lost; the model counts both as one, so that one is synced, or flushed.
	var ops []testkit.Op
	for _, key := range keys {
		ops = append(ops, testkit.Op{Keyspace: id, Key: key, Value: rows[key]})
	}
	ops = l.counted(ops)
	b := new(batch.Batch)
	l.add(b, ops[len(ops)-1:])
	_, err = l.e.Commit(b, DefaultDurability)
	l.must(err)
	l.m.Commit(ops)
	l.must(l.e.Flush(context.Background()))
	l.durable = l.m.Commits()
}

// keyspaces creates or drops one, alone or in a transaction.
func (l *life) keyspaces() {
	ctx := context.Background()
	inTxn := l.g.IntN(2) == 0
	var x Txn
	if inTxn {
		l.must(l.e.Begin(&x, TxnOptions{}))
		defer x.Rollback()
	}
	if name, m, ok := l.g.Create(l.m); ok && l.g.IntN(3) > 0 {
		c := KeyspaceChoice{Merger: m.Operator()}
		if inTxn {
			_, err := x.Keyspace(name, c, true)
			l.must(err)
			_, err = x.Commit(ctx)
			l.must(err)
		} else {
			_, err := l.e.Keyspace(name, c, true)
			l.must(err)
			l.sync()
			if l.e.Durability() == NoWAL {
				l.must(l.e.Flush(ctx))
				l.durable = l.m.Commits()
			}
		}
		l.m.CreateKeyspace(name, m)
	} else if id, ok := l.g.Drop(l.m); ok {
		name := l.m.KeyspaceName(id)
		if inTxn {
			l.must(x.DropKeyspace(name))
			_, err := x.Commit(ctx)
			l.must(err)
		} else {
			l.must(l.e.DropKeyspace(name))
		}
		l.m.DropKeyspace(id)
	}
	var want []string
	for _, id := range l.m.Keyspaces() {
		if id != testkit.Default {
			want = append(want, l.m.KeyspaceName(id))
		}
	}
	slices.Sort(want)
	if got, err := l.e.Keyspaces(); err != nil || !slices.Equal(got, want) {
		l.t.Fatalf("step %d: keyspaces %q, %v; want %q", l.step, got, err, want)
	}
}

// look asks for everything that describes the engine.
func (l *life) look() {
	m := l.e.Metrics()
	if m.Snapshots != int64(len(l.snaps)) || m.Iterators != 0 || m.Transactions != 0 || m.VisibleSeq < m.DurableSeq {
		l.t.Fatalf("step %d: %d snapshots, %d iterators, %d transactions; %d visible, %d durable",
			l.step, m.Snapshots, m.Iterators, m.Transactions, m.VisibleSeq, m.DurableSeq)
	}
	ctx := context.Background()
	_, err := l.e.IndexMetrics(ctx)
	l.must(err)
	if n := len(l.e.KeyspaceMetrics()); n != len(l.m.Keyspaces()) {
		l.t.Fatalf("step %d: figures of %d keyspaces", l.step, n)
	}
	if h := l.e.Health(); h.Err != nil {
		l.t.Fatalf("step %d: health: %v", l.step, h.Err)
	}
	r, err := l.e.Verify(ctx)
	l.must(err)
	if !r.Clean() {
		l.t.Fatalf("step %d: verify: %v", l.step, r.Damage)
	}
}

func (l *life) sync() {
	if l.e.Durability() == NoWAL {
		return
	}
	l.must(l.e.SyncLog())
	l.durable = l.m.Commits()
}

// readOnly opens the closed database to read.
func (l *life) readOnly() {
	if l.g.IntN(3) > 0 {
		return
	}
	o := l.options()
	o.ReadOnly, o.OpenFiles = true, 100
	e, err := Open("db", o)
	l.must(err)
	l.e = e
	l.checkAll("read only")
	b := new(batch.Batch)
	l.must(b.Put(0, []byte("k"), nil))
	if _, err := e.Commit(b, DefaultDurability); !errors.Is(err, base.ErrReadOnly) {
		l.t.Fatalf("step %d: a commit to what is open to read: %v", l.step, err)
	}
	l.must(e.Close())
}

// cutPower goes on with a disk that a power cut may have left.
func (l *life) cutPower() {
	keep := []float64{0, 0.5, 1}[l.g.IntN(3)]
	disk := l.fs.CrashClone(memfs.CrashOptions{Keep: keep, Rand: rand.New(rand.NewPCG(l.g.Uint64(), 1))})
	durable := l.durable
	l.close()
	l.fs = disk
	l.open()
	n := 0
	switch v, err := l.e.Root().AppendGet(nil, []byte(lifeCounter), readstate.Newest); {
	case err == nil:
		n = int(binary.BigEndian.Uint64(v))
	case !errors.Is(err, base.ErrNotFound):
		l.must(err)
	}
	if n < durable || n > l.m.Commits() {
		l.t.Fatalf("step %d: after a power cut commit %d is the newest; %d was durable, %d made", l.step, n, durable, l.m.Commits())
	}
	l.m.Truncate(n)
	l.durable = n
	l.checkAll("after a power cut")
}

// checkAll compares all rows of all keyspaces, now and at the snapshots.
func (l *life) checkAll(when string) {
	l.t.Helper()
	for _, id := range l.m.Keyspaces() {
		k := l.keyspace(id)
		it, err := k.NewIter(IterOptions{}, readstate.Newest)
		l.must(err)
		l.rows(it, l.m.Scan(l.m.View(), id, testkit.Span{NoEnd: true}))
		for _, s := range l.snaps {
			it, err := s.s.NewIter(k, IterOptions{})
			l.must(err)
			l.rows(it, l.m.Scan(s.v, id, testkit.Span{NoEnd: true}))
		}
	}
	if n := l.e.Metrics().Iterators; n != 0 {
		l.t.Fatalf("step %d, %s: %d iterators are open", l.step, when, n)
	}
}
