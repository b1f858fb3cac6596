package engine

import (
	"sync"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/txn"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// txnBuffers is a transaction's working memory, pooled across transactions and
// databases: without the pool a small transaction allocates 2 KB in eight pieces,
// which is a third of its cost.
//
// One Txn owns it, as its work, and uses it only with its mu held. The call of Commit
// or Rollback that ends the transaction takes it from the Txn, and recycles it once
// no reader can read it:
//
//   - the pipeline holds the batch from its place in the queue until it is published,
//     and commit.Pipeline.Commit returns after that; the log, the memtable and the
//     tracker copy;
//   - the tracker releases conflict in End;
//   - iterators read all of it while they are open, even after the transaction is over:
//     buffers that an iterator used are left to the garbage collector.
type txnBuffers struct {
	conflict txn.Txn
	batch    batch.Batch
	own      writeset.Set
	spaces   spaceEdits
	shared   bool // with iterators
}

var txnPool = sync.Pool{New: func() any { return new(txnBuffers) }}

// The buffers of larger transactions are not pooled.
const (
	keepTxnBytes = 64 << 10
	keepTxnRefs  = 128
)

// take takes the memory from the transaction, which is then over.
func (t *Txn) take() *txnBuffers {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.work
	t.work = nil
	return w
}

// end ends a transaction whose memory was taken.
func (t *Txn) end(w *txnBuffers) {
	e := t.e
	if !t.o.ReadOnly {
		e.commit.EndTxn(&w.conflict)
		if e.dropped.any.Load() {
			e.dropped.forget()
		}
	}
	e.store.Snapshots.Drop(t.held)
	e.open.Remove(&t.pin)
	if t.charged != 0 && !e.store.Closed() {
		e.cache.Charge(cache.Transactions, -t.charged)
	}
	w.recycle()
}

// recycle returns the memory to the pool.
func (w *txnBuffers) recycle() {
	if w.shared || w.conflict.Bytes() > keepTxnBytes || cap(w.batch.Data) > keepTxnBytes || w.own.Room() > keepTxnRefs {
		return
	}
	if invariant.Enabled { // a stray reader then sees garbage
		data := w.batch.Data[:cap(w.batch.Data)]
		for i := range data {
			data[i] = 0xdb
		}
	}
	w.batch.Reset()
	w.own.Reset()
	w.spaces.reset()
	txnPool.Put(w)
}
