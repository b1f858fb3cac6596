package model

import (
	"context"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/testkit"
)

// The steps of TestTxnModel that are outside of transactions.

// plain commits without a transaction.
func (r *txnRun) plain() {
	ops := r.g.Commit(r.Model)
	b, err := r.Batch(ops)
	r.must("batch", err)
	r.Model.Commit(ops)
	r.must("commit", r.DB.Apply(b, seerdb.DefaultDurability))
}

// conditional does a PutIfAbsent or CompareAndSwap.
func (r *txnRun) conditional() {
	id := r.g.Keyspace(r.Model)
	t, err := r.Tree(id)
	r.must("open a keyspace", err)
	s := t.(interface {
		PutIfAbsent(key, value []byte) (bool, error)
		CompareAndSwap(key, old, value []byte) (bool, error)
	})
	op := testkit.Op{Kind: testkit.Put, Keyspace: id, Key: r.g.KeyOf(r.Model, id)}
	if r.Model.Merger(id) != testkit.Counter && r.Model.Merger(id) != testkit.Union {
		op.Value = r.g.Value()
	}
	now, exists, nowErr := r.Model.Lookup(r.Model.View(), id, op.Key)
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
		if done || !dbtest.IsMergeError(err) {
			r.fail("conditional %v: %v, %v; want %v", op, done, err, nowErr)
		}
	case err != nil || done != want:
		r.fail("conditional %v: %v, %v; want %v", op, done, err, want)
	case done:
		r.Model.Commit([]testkit.Op{op})
	}
}

func (r *txnRun) compact() {
	lo, hi := r.g.Bounds()
	if r.g.IntN(2) == 0 {
		lo, hi = nil, nil
	}
	t, err := r.Tree(r.g.Keyspace(r.Model))
	r.must("open a keyspace", err)
	r.must("compact", t.Compact(context.Background(), lo, hi))
}

func (r *txnRun) tick() {
	r.Model.Advance(r.g.Tick(r.Model))
	r.clock.Set(r.Model.Now())
}

func (r *txnRun) create() {
	name, m, ok := r.g.Create(r.Model)
	if !ok {
		return
	}
	id := r.Model.CreateKeyspace(name, m)
	k, err := r.DB.Keyspace(name, r.Options(id))
	r.must("create a keyspace", err)
	r.Trees[id] = k
}

func (r *txnRun) drop() {
	if id, ok := r.g.Drop(r.Model); ok {
		r.must("drop a keyspace", r.DB.DropKeyspace(r.Model.KeyspaceName(id)))
		r.Model.DropKeyspace(id)
		delete(r.Trees, id)
		for _, p := range r.open {
			p.loose = true // what it read there may still be a conflict, or not
		}
	}
}

func (r *txnRun) checkAll() {
	for _, id := range r.Model.Keyspaces() {
		r.must("now", r.Check(nil, r.Model.View(), id))
	}
}

func (r *txnRun) end() {
	for len(r.open) > 0 {
		r.commit(r.open[0])
	}
	r.checkAll()
	r.must("close", r.DB.Close())
}
