package engine

import "github.com/seerdb-go/seerdb/internal/base"

// storedVersions asks the tree for what package txn wants to know.
type storedVersions struct{ e *Engine }

// NewestSeq implements txn.Tree.
func (v storedVersions) NewestSeq(keyspace uint32, key []byte) (base.SeqNum, error) {
	t, err := v.e.tree(keyspace)
	if err != nil || t.s == nil {
		return t.newest, err
	}
	defer t.s.LetGo(t.shard)
	return t.s.NewestSeq(keyspace, key)
}

// AnyNewer implements txn.Tree.
func (v storedVersions) AnyNewer(keyspace uint32, lo, hi []byte, after base.SeqNum) (bool, error) {
	t, err := v.e.tree(keyspace)
	if err != nil || t.s == nil {
		return t.newest > after, err
	}
	defer t.s.LetGo(t.shard)
	return t.s.AnyNewer(keyspace, lo, hi, after)
}
