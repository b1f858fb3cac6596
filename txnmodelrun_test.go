package seerdb_test

import (
	"context"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/testkit"
)

// The steps of TestTxnModel that are outside of transactions.

// plain commits without a transaction.
func (r *txnRun) plain() {
	ops := r.g.Commit(r.m)
	b, err := r.batch(ops)
	r.must("batch", err)
	r.m.Commit(ops)
	r.must("commit", r.db.Apply(b, seerdb.DefaultDurability))
}

// conditional does a PutIfAbsent or CompareAndSwap.
func (r *txnRun) conditional() {
	id := r.g.Keyspace(r.m)
	t, err := r.tree(id)
	r.must("open a keyspace", err)
	s := t.(interface {
		PutIfAbsent(key, value []byte) (bool, error)
		CompareAndSwap(key, old, value []byte) (bool, error)
	})
	op := testkit.Op{Kind: testkit.Put, Keyspace: id, Key: r.g.KeyOf(r.m, id)}
	if r.m.Merger(id) != testkit.Counter && r.m.Merger(id) != testkit.Union {
		op.Value = r.g.Value()
	}
	now, exists, nowErr := r.m.Lookup(r.m.View(), id, op.Key)
	var done, want bool
	if r.g.IntN(2) == 0 {
		want = !exists
		value := []byte(op.Value)
		if op.Value == "" {
			value = nil
		}
		done, err = s.PutIfAbsent([]byte(op.Key), value)
	} else {
		var old, value []byte
		if r.g.IntN(3) > 0 {
			old = []byte(now)
		}
		if value = []byte(op.Value); r.g.IntN(4) == 0 {
			value, op.Value, op.Kind = nil, "", testkit.Delete
		}
		want = exists == (old != nil) && string(old) == now
		done, err = s.CompareAndSwap([]byte(op.Key), old, value)
	}
	switch {
	case nowErr != nil:
		if done || !isMergeError(err) {
			r.fail("conditional %v: %v, %v; want %v", op, done, err, nowErr)
		}
	case err != nil || done != want:
		r.fail("conditional %v: %v, %v; want %v", op, done, err, want)
	case done:
		r.m.Commit([]testkit.Op{op})
	}
}

func (r *txnRun) compact() {
	lo, hi := r.g.Bounds()
	if r.g.IntN(2) == 0 {
		lo, hi = nil, nil
	}
	t, err := r.tree(r.g.Keyspace(r.m))
	r.must("open a keyspace", err)
	r.must("compact", t.Compact(context.Background(), lo, hi))
}

func (r *txnRun) tick() {
	r.m.Advance(r.g.Tick(r.m))
	r.clock.set(r.m.Now())
}

func (r *txnRun) create() {
	name, m, ok := r.g.Create(r.m)
	if !ok {
		return
	}
	id := r.m.CreateKeyspace(name, m)
	k, err := r.db.Keyspace(name, r.options(id))
	r.must("create a keyspace", err)
	r.trees[id] = k
}

func (r *txnRun) drop() {
	if id, ok := r.g.Drop(r.m); ok {
		r.must("drop a keyspace", r.db.DropKeyspace(r.m.KeyspaceName(id)))
		r.m.DropKeyspace(id)
		delete(r.trees, id)
		for _, p := range r.open {
			p.loose = true // what it read there may still be a conflict, or not
		}
	}
}

func (r *txnRun) checkAll() {
	for _, id := range r.m.Keyspaces() {
		r.must("now", r.check(nil, r.m.View(), id))
	}
}

func (r *txnRun) end() {
	for len(r.open) > 0 {
		r.commit(r.open[0])
	}
	r.checkAll()
	r.must("close", r.db.Close())
}
