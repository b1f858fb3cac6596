package engine

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
)

// TestDroppedKeyspaceIsLetGo: the last transaction for whose sake a keyspace that
// is dropped is kept ends before it could see that. No later one may come, which
// would let it go.
func TestDroppedKeyspaceIsLetGo(t *testing.T) {
	e := openSmall(t, func(o *Options) { o.OpenFiles = 8 })
	k, err := e.Keyspace("short-lived", KeyspaceChoice{}, true)
	if err != nil {
		t.Fatal(err)
	}
	var x Txn
	if err := e.Begin(&x, TxnOptions{}); err != nil {
		t.Fatal(err)
	}
	var b batch.Batch
	if err := b.Put(k.ID(), []byte("key"), nil); err != nil {
		t.Fatal(err)
	}
	newest, err := e.Commit(&b, DefaultDurability)
	if err != nil {
		t.Fatal(err)
	}
	x.Rollback() // while DropKeyspace, which found it open, is on its way
	e.versions.Lock()
	e.dropped.keep(k.Keyspace, newest)
	e.versions.Unlock()
	if e.dropped.any.Load() {
		t.Error("a keyspace is kept for transactions, and there are none")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if !letGo(e) {
		t.Error("a state is pinned after Close")
	}
}

// letGo reports whether the memory of a closed engine was given back, which waits for
// the last pinned state. A cache that is gone keeps no page.
func letGo(e *Engine) bool {
	key := cache.Key{File: cache.NewFileID()}
	for range 2 {
		h, state := e.cache.Acquire(key, 64, false)
		if state == cache.Hit {
			h.Release()
			return false
		}
		h.Publish()
		h.Release()
	}
	return true
}
