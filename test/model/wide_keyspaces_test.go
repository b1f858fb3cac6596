package model

import (
	"errors"
	"slices"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/testkit"
)

// spacesInTxn creates a keyspace and drops one in a transaction with other writes, to
// both of them too, and commits it, or rolls it back.
func (r *wideRun) spacesInTxn() {
	if r.c.spaces == 0 || r.side != nil {
		return
	}
	x, err := r.DB.Begin(nil)
	r.must("begin", err)
	defer x.Rollback()
	created := r.createIn(x)
	undo := func() {
		if x.Rollback(); created != 0 {
			r.Model.DropKeyspace(created)
		}
	}
	c := r.Model.Commits() + 1
	ops := append(r.g.Commit(r.Model), dbtest.CounterOp(c))
	for i := range ops {
		err := dbtest.Do(r.takerIn(x, created, ops[i].Keyspace), &ops[i], r.Model.Now())
		if r.tooLarge(err) {
			undo()
			return
		}
		r.must("write in a transaction", err)
	}
	r.expires = r.expires || slices.ContainsFunc(ops, func(op testkit.Op) bool { return op.Kind == testkit.PutTTL })
	dropped, drop := r.g.Drop(r.Model)
	if drop = drop && r.g.IntN(2) == 0; drop {
		err := x.DropKeyspace(r.Model.KeyspaceName(dropped))
		if r.tooLarge(err) {
			undo()
			return
		}
		r.must("drop in a transaction", err)
	}
	if r.g.IntN(5) == 0 {
		undo()
		return
	}
	plain := created == 0 && !drop
	if drop && dropped != created {
		r.gone = r.opened(dropped).(*seerdb.Keyspace)
	}
	r.must("commit of a transaction with keyspaces", x.Commit())
	r.Model.Commit(ops)
	if r.operations += len(ops); !plain || r.syncs() {
		r.durable = c
	}
	if drop {
		r.Model.DropKeyspace(dropped)
		delete(r.Trees, dropped)
	}
}

// tooLarge reports whether err says that a transaction is larger than its share, a fourth
// of the memory budget, where what a commit draws may be.
func (r *wideRun) tooLarge(err error) bool {
	return errors.Is(err, seerdb.ErrTxnTooLarge) && r.c.o.MemoryBudget > 0 && r.c.o.MemoryBudget <= 16<<10
}

// createIn creates a keyspace in a transaction, and returns its number in the model,
// 0 for none.
func (r *wideRun) createIn(x *seerdb.Txn) int {
	name, m, ok := r.g.Create(r.Model)
	if !ok {
		return 0
	}
	if r.c.barred {
		m = nil
	}
	id := r.Model.CreateKeyspace(name, m)
	_, err := x.Keyspace(name, r.Options(id))
	r.must("create in a transaction", err)
	return id
}

// takerIn is a keyspace in a transaction that created one.
func (r *wideRun) takerIn(x *seerdb.Txn, created, id int) dbtest.Taker {
	switch id {
	case testkit.Default:
		return x
	case created:
		in, err := x.Keyspace(r.Model.KeyspaceName(id), nil)
		r.must("find in a transaction", err)
		return in
	}
	return x.In(r.opened(id).(*seerdb.Keyspace))
}
