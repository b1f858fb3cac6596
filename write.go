package seerdb

import (
	"context"
	"iter"
	"time"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/engine"
)

// writer writes to one tree of keys: it commits each operation, or adds it to a transaction
// or a batch.
type writer struct {
	e *engine.Engine   // nil in the zero Batch
	k *engine.Keyspace // nil in a Batch without In, which writes to the default keyspace
	t *engine.Txn      // the transaction to add operations to, or nil
	b *collected       // the batch to add operations to, or nil, as in a zero Batch at first
}

// Put sets key to value. It copies both. The last operation on a key wins.
func (w *writer) Put(key, value []byte) error {
	return w.write(func(o engine.Ops) error { return o.Put(key, value) })
}

// Delete removes key. Deleting a missing key is not an error.
func (w *writer) Delete(key []byte) error {
	return w.write(func(o engine.Ops) error { return o.Delete(key) })
}

// SingleDelete removes a key that was put at most once, and neither merged, nor given an
// expiry, nor deleted by Delete, since the last SingleDelete or DeleteRange of it, or ever.
// The caller must ensure this. In return the tombstone disappears together with the value
// that it hides, whereas a tombstone of Delete has to reach the bottom of the tree. If a
// caller breaks the rule, an older value of this key may come back; other keys are not
// affected, and the database counts the cases that it notices.
func (w *writer) SingleDelete(key []byte) error {
	return w.write(func(o engine.Ops) error { return o.SingleDelete(key) })
}

// DeleteRange removes the keys lo <= key < hi, including those put before in the same batch
// or transaction; a nil hi means no end. The cost does not depend on the number of keys. A
// range in which hi is not above lo is empty.
func (w *writer) DeleteRange(lo, hi []byte) error {
	return w.write(func(o engine.Ops) error { return o.DeleteRange(lo, hi) })
}

// Merge adds an operand to the value of key without reading it. The merge operator of
// Options or KeyspaceOptions combines them when the key is read or compacted. If there is
// none, the commit, and reads of the key in the transaction, fail with ErrInvalidOptions.
func (w *writer) Merge(key, operand []byte) error {
	return w.write(func(o engine.Ops) error { return o.Merge(key, operand) })
}

// PutTTL sets key to value for the time d from this call, in milliseconds rounded up. Reads
// that begin later find key deleted, and compactions reclaim its space. A snapshot keeps
// the time at which it was taken. A later Put clears the expiry. Once a value expires,
// operands merged onto it stay, and are applied to nothing.
func (w *writer) PutTTL(key, value []byte, d time.Duration) error {
	return w.write(func(o engine.Ops) error { return o.PutTTL(key, value, d) })
}

// PutUntil is like PutTTL, but key expires at the time at, in milliseconds rounded up, the
// precision of Iter.Expiry and Op.Expires. If that time has passed, key is gone
// immediately. The zero time means no expiry, whatever KeyspaceOptions.TTL says.
func (w *writer) PutUntil(key, value []byte, at time.Time) error {
	return w.write(func(o engine.Ops) error { return o.PutUntil(key, value, at) })
}

// write adds an operation to the batch or the transaction of w, or commits it.
func (w *writer) write(add func(engine.Ops) error) error {
	if w.t == nil && (w.b != nil || w.e == nil) {
		c := w.operations()
		if w.k != nil {
			c.claim(w.k, w.e)
		}
		return add(engine.OpsOn(&c.Batch, w.k, w.e))
	}
	do := func(b *batch.Batch) error { return add(engine.OpsOn(b, w.k, w.e)) }
	if w.t != nil {
		return w.t.Write(w.k, do)
	}
	return w.e.Write(do)
}

// store reads and writes one tree of keys of a database.
type store struct {
	reader
	writer
}

func newStore(e *engine.Engine, k *engine.Keyspace) store {
	return store{reader{k: k}, writer{e: e, k: k}}
}

// PutIfAbsent sets key to value if key has no value, and reports whether it did.
func (s *store) PutIfAbsent(key, value []byte) (bool, error) {
	return s.reader.k.WriteIf(key, nil, func(o engine.Ops) error { return o.Put(key, value) })
}

// CompareAndSwap sets key to value if the value of key equals old, and reports whether it
// did. A nil old means that key has no value; a nil value removes key. To Get, GetFunc and
// iterators an empty value is not nil, but AppendGet with a nil dst returns nil for it.
func (s *store) CompareAndSwap(key, old, value []byte) (bool, error) {
	return s.reader.k.WriteIf(key, old, func(o engine.Ops) error {
		if value == nil {
			return o.Delete(key)
		}
		return o.Put(key, value)
	})
}

// BulkOptions configure BulkLoad. The zero value is for rows in order.
type BulkOptions struct {
	// Unsorted accepts rows in any order. BulkLoad first sorts them, in a part of
	// Options.MemoryBudget and, beyond that, in temporary files in the directory of the
	// database. Of rows with the same key the last one wins, with its expiry.
	Unsorted bool
	// Expires, if set, returns when a row expires, as PutUntil takes it. If it is nil,
	// KeyspaceOptions.TTL applies as for Put, counted from the start of the call for all
	// rows. BulkLoad calls Expires once for each row, in the goroutine of its caller,
	// before it asks for the next row. So Expires may ask the source of the rows about the
	// current one, as Rows.Expiry does. It must not retain or modify the slices.
	Expires func(key, value []byte) time.Time
	// Progress, if set, is called about every megabyte and at the end of each phase, in the
	// goroutine of the caller of BulkLoad.
	Progress func(BulkProgress)
}

// BulkProgress describes how far a BulkLoad is.
type BulkProgress struct {
	// Sorting is true in the first phase of an unsorted load, which takes and counts all
	// rows. The second phase writes the sorted rows to tables and counts them anew.
	Sorting bool
	Rows    uint64 // of this phase
	Bytes   uint64 // of their keys and values
}

// BulkStats describes what a BulkLoad did.
type BulkStats struct {
	Rows         uint64 // loaded
	Bytes        uint64 // of their keys and values
	Duplicates   uint64 // rows that a later one with the same key replaced
	Tables       int
	ValueFiles   int
	FileBytes    uint64 // of tables and value files
	SpilledBytes uint64 // written to temporary files
	// Level is the level of the new tables. It is the last level if no other key of the
	// tree was between the loaded ones, and as low as 0 if every level had some.
	Level int
	// Seq is the sequence number of the load, as VisibleSeq counts; 0 without rows.
	Seq uint64
}

// BulkLoad adds rows as if all had been put in one commit at the end of the load: they
// appear together, newer than everything that was there before, or not at all. Snapshots
// and iterators made before do not see them. BulkLoad writes rows to tables directly, past
// log and memtables: it is several times as fast as batches, and in an empty part of the
// tree it leaves nothing to compact. Its memory is bounded however many rows there are.
//
// Rows must come in strictly ascending order of their keys, or BulkLoad fails with
// ErrKeyOrder, unless BulkOptions.Unsorted is set. BulkLoad is done with key and value
// before it asks for the next row, so the source may reuse them.
//
// A nil error means that the load and all commits before it are visible and durable, in
// every durability mode. Any other error but ErrCommitUnknown is definite, as with Apply.
// No file is left behind. To give up, the sequence cancels ctx before it ends; BulkLoad
// then returns context.Cause(ctx).
//
// Commits continue while rows are written, and wait for some syncs at the end. Close ends a
// load when its next row comes.
func (s *store) BulkLoad(ctx context.Context, rows iter.Seq2[[]byte, []byte], o *BulkOptions) (BulkStats, error) {
	if o == nil {
		o = &BulkOptions{}
	}
	lo := engine.LoadOptions{Unsorted: o.Unsorted, Expires: s.reader.k.LoadExpires()}
	if expires := o.Expires; expires != nil {
		lo.Expires = func(key, value []byte) uint64 { return engine.Expiry(expires(key, value)) }
	}
	if progress := o.Progress; progress != nil {
		lo.Progress = func(p engine.LoadProgress) { progress(BulkProgress(p)) }
	}
	st, err := s.reader.k.Load(ctx, rows, lo)
	return BulkStats(st), err
}

// Compact rewrites the tables that hold keys in [lo, hi) when the call begins, until each
// of those keys is in one place, in few files; nil means unbounded. It ends however fast
// others write, and is never needed for correctness.
func (s *store) Compact(ctx context.Context, lo, hi []byte) error {
	return s.reader.k.Compact(ctx, lo, hi)
}
