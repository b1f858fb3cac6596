package seerdb_test

import (
	"slices"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/testkit"
)

// spacesInTxn creates a keyspace and drops one in a transaction with other writes, to
// both of them too, and commits it, or rolls it back.
func (r *wideRun) spacesInTxn() {
	if r.c.spaces == 0 || r.side != nil {
		return
	}
	x, err := r.db.Begin(nil)
	r.must("begin", err)
	defer x.Rollback()
	created := r.createIn(x)
	c, ops := r.m.Commits()+1, r.g.Commit(r.m)
	for i := range ops {
		r.must("write in a transaction", wideDo(r.takerIn(x, created, ops[i].Keyspace), &ops[i], r.m.Now()))
	}
	r.expires = r.expires || slices.ContainsFunc(ops, func(op testkit.Op) bool { return op.Kind == testkit.PutTTL })
	ops = append(ops, counterOp(c))
	r.must("count in a transaction", x.Put([]byte(counterKey), []byte(ops[len(ops)-1].Value)))
	dropped, drop := r.g.Drop(r.m)
	if drop = drop && r.g.IntN(2) == 0; drop {
		r.must("drop in a transaction", x.DropKeyspace(r.m.KeyspaceName(dropped)))
	}
	if r.g.IntN(5) == 0 {
		if x.Rollback(); created != 0 {
			r.m.DropKeyspace(created)
		}
		return
	}
	plain := created == 0 && !drop
	if drop && dropped != created {
		r.gone = r.opened(dropped).(*seerdb.Keyspace)
	}
	r.must("commit of a transaction with keyspaces", x.Commit())
	r.m.Commit(ops)
	if r.operations += len(ops); !plain || r.syncs() {
		r.durable = c
	}
	if drop {
		r.m.DropKeyspace(dropped)
		delete(r.trees, dropped)
	}
}

// createIn creates a keyspace in a transaction, and returns its number in the model,
// 0 for none.
func (r *wideRun) createIn(x *seerdb.Txn) int {
	name, m, ok := r.g.Create(r.m)
	if !ok {
		return 0
	}
	if r.c.barred {
		m = nil
	}
	id := r.m.CreateKeyspace(name, m)
	_, err := x.Keyspace(name, r.options(id))
	r.must("create in a transaction", err)
	return id
}

// takerIn is a keyspace in a transaction that created one.
func (r *wideRun) takerIn(x *seerdb.Txn, created, id int) wideTaker {
	switch id {
	case testkit.Default:
		return x
	case created:
		in, err := x.Keyspace(r.m.KeyspaceName(id), nil)
		r.must("find in a transaction", err)
		return in
	}
	return x.In(r.opened(id).(*seerdb.Keyspace))
}
