package engine

import (
	"sync"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/txn"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// txnBuffers is what a transaction works in. Later ones, of whatever database, use
// it again: without that a small transaction allocates 2 KB in eight pieces,
// which is a third of what it costs.
//
// It is owned by the one Txn whose work it is, and used only with its mu
// held. Commit and Rollback take it out of there, so that it is one of them, and
// give it back once no reader can look at it any more:
//
//   - the pipeline has the batch from its place in the queue until it is published,
//     and commit.Pipeline.Commit returns after that; the log, the memtable and the
//     tracker copy;
//   - the tracker lets go of conflict in End;
//   - iterators look at all of it for as long as they are open, and after the
//     transaction is over: what had one is left to the garbage collector.
type txnBuffers struct {
	conflict txn.Txn
	batch    batch.Batch
	own      writeset.Set
	spaces   spaceEdits
	shared   bool // with iterators
}

var txnPool = sync.Pool{New: func() any { return new(txnBuffers) }}

// Of larger transactions the memory is not kept.
const (
	keepTxnBytes = 64 << 10
	keepTxnRefs  = 128
)

// take takes the memory out of the transaction, which is over then.
func (t *Txn) take() *txnBuffers {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.work
	t.work = nil
	return w
}

// end ends a transaction whose memory was taken out of it.
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

// recycle gives the memory to transactions to come.
func (w *txnBuffers) recycle() {
	if w.shared || w.conflict.Bytes() > keepTxnBytes || cap(w.batch.Data) > keepTxnBytes || w.own.Room() > keepTxnRefs {
		return
	}
	if invariant.Enabled { // so that a reader that still looks sees nonsense
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
