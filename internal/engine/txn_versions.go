package engine

import "github.com/seerdb-go/seerdb/internal/base"

// versions asks the tree for what package txn wants to know.
type versions struct{ e *Engine }

// NewestSeq implements txn.Tree.
func (v versions) NewestSeq(keyspace uint32, key []byte) (base.SeqNum, error) {
	t, err := v.e.tree(keyspace)
	if err != nil || t.s == nil {
		return t.newest, err
	}
	defer t.s.LetGo(t.shard)
	return t.s.NewestSeq(keyspace, key)
}

// AnyNewer implements txn.Tree.
func (v versions) AnyNewer(keyspace uint32, lo, hi []byte, after base.SeqNum) (bool, error) {
	t, err := v.e.tree(keyspace)
	if err != nil || t.s == nil {
		return t.newest > after, err
	}
	defer t.s.LetGo(t.shard)
	return t.s.AnyNewer(keyspace, lo, hi, after)
}
