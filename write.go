package seerdb

import (
	"context"
	"iter"
	"time"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/engine"
)

// writer writes to one tree of keys: each operation is a commit, or goes into a
// transaction or a batch.
type writer struct {
	e *engine.Engine   // nil in the zero Batch
	k *engine.Keyspace // nil in a Batch that is in none, which writes to the default one
	t *engine.Txn      // operations go into it, unless it is nil
	b *collected       // or into this; nil in the zero Batch until then
}

// Put sets key to value. Both are copied. The last operation on a key wins.
func (w *writer) Put(key, value []byte) error {
	return w.write(func(o engine.Ops) error { return o.Put(key, value) })
}

// Delete removes key. Deleting a key that is not there is no error.
func (w *writer) Delete(key []byte) error {
	return w.write(func(o engine.Ops) error { return o.Delete(key) })
}

// SingleDelete removes a key that was put at most once, and neither merged, nor
// given an expiry, nor deleted by Delete, since the last SingleDelete or
// DeleteRange of it, or ever: that is the caller's promise. The tombstone then
// goes away together with what it hides, where that of Delete has to travel to
// the bottom of the tree. A broken promise can bring an older value of this key
// back, and affects no other key; it is counted where it is noticed.
func (w *writer) SingleDelete(key []byte) error {
	return w.write(func(o engine.Ops) error { return o.SingleDelete(key) })
}

// DeleteRange removes the keys lo <= key < hi, those put before in the same batch or
// transaction too; a nil hi means no end. It costs the same however many there are. A
// range in which hi is not above lo is empty.
func (w *writer) DeleteRange(lo, hi []byte) error {
	return w.write(func(o engine.Ops) error { return o.DeleteRange(lo, hi) })
}

// Merge adds an operand to the value of key, without reading it: the merge
// operator of Options or KeyspaceOptions puts them together when the key is
// read or compacted. Without one the commit, and reads of the key in the transaction,
// are refused with ErrInvalidOptions.
func (w *writer) Merge(key, operand []byte) error {
	return w.write(func(o engine.Ops) error { return o.Merge(key, operand) })
}

// PutTTL sets key to value for the time d from this call, in milliseconds rounded up.
// Then the key is gone as if it had been deleted, for every read that begins later,
// and its space comes back with compactions. A snapshot keeps the time at which it
// was taken. A Put that follows clears the expiry; operands merged onto a value
// that expires are left, on top of nothing.
func (w *writer) PutTTL(key, value []byte, d time.Duration) error {
	return w.write(func(o engine.Ops) error { return o.PutTTL(key, value, d) })
}

// PutUntil is PutTTL up to a moment, in milliseconds rounded up: what
// Iter.Expiry and Op.Expires tell is kept to the millisecond. After a moment that
// has passed the key is gone at once. The zero time is no expiry, whatever
// KeyspaceOptions.TTL says.
func (w *writer) PutUntil(key, value []byte, at time.Time) error {
	return w.write(func(o engine.Ops) error { return o.PutUntil(key, value, at) })
}

// write adds an operation to where those of the writer go.
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

// PutIfAbsent sets key to value if it has none, and reports whether it did.
func (s *store) PutIfAbsent(key, value []byte) (bool, error) {
	return s.reader.k.WriteIf(key, nil, func(o engine.Ops) error { return o.Put(key, value) })
}

// CompareAndSwap sets key to value if its value is old, where nil means that it
// has none, and reports whether it did. A nil value removes the key. What Get, GetFunc
// and iterators give is not nil for an empty value; what AppendGet appends to nil is.
func (s *store) CompareAndSwap(key, old, value []byte) (bool, error) {
	return s.reader.k.WriteIf(key, old, func(o engine.Ops) error {
		if value == nil {
			return o.Delete(key)
		}
		return o.Put(key, value)
	})
}

// BulkOptions say how BulkLoad works. The zero value is for rows in order.
type BulkOptions struct {
	// Unsorted takes rows in any order: they are sorted first, in a part of
	// Options.MemoryBudget and, beyond that, in temporary files in the
	// directory of the database. Of rows with the same key the last one wins, with
	// its expiry.
	Unsorted bool
	// Expires, if set, says when a row is gone, as PutUntil takes it. Without it
	// KeyspaceOptions.TTL holds as for Put, at one moment for all rows: that time
	// after the call began. It is called once for each row that is taken, by the
	// goroutine that called BulkLoad, before the next row is asked for; so it may ask
	// the source of the rows about the one that it is at, as Rows.Expiry does. It must
	// not keep or modify the slices.
	Expires func(key, value []byte) time.Time
	// Progress, if set, is called about every megabyte and at the end of each
	// phase, by the goroutine that called BulkLoad.
	Progress func(BulkProgress)
}

// BulkProgress is how far a BulkLoad is.
type BulkProgress struct {
	// Sorting is the first phase of an unsorted load, in which rows are taken.
	// It counts them all; then sorted rows are written to tables, and counted
	// anew.
	Sorting bool
	Rows    uint64 // of this phase
	Bytes   uint64 // of their keys and values
}

// BulkStats is what a BulkLoad did.
type BulkStats struct {
	Rows         uint64 // loaded
	Bytes        uint64 // of their keys and values
	Duplicates   uint64 // rows that a later one with the same key replaced
	Tables       int
	ValueFiles   int
	FileBytes    uint64 // of tables and value files
	SpilledBytes uint64 // written to temporary files
	// Level is where the tables went: the last level if no other key of the
	// tree was among the loaded ones, down to 0 if some were in all levels.
	Level int
	// Seq is the load's sequence, as VisibleSeq counts; 0 for one without rows.
	Seq uint64
}

// BulkLoad adds rows, as if all had been put in one commit at the end of the
// load: they appear at once, over everything that was there before, or not at
// all. Snapshots and iterators that were made before do not see them. Rows are
// written to tables directly, past log and memtables: several times as fast as
// batches, and for an empty part of the tree with nothing left to compact.
// Memory is bounded however many rows there are.
//
// Rows must come in strictly ascending order of their keys, else BulkLoad ends
// with ErrKeyOrder; but see BulkOptions.Unsorted. Key and value are taken before
// the next row is asked for, and may be reused then.
//
// A nil error means that the load is visible and durable, in every durability
// mode, and all commits before it too. Any other error is definite, as with
// Apply, unless it is ErrCommitUnknown; no file is left behind. To give up, a
// sequence cancels ctx before it ends; what context.Cause says of it is returned.
//
// Commits go on while rows are written, and wait for some syncs at the end. Close
// ends a load when the next row comes.
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

// Compact rewrites the tables that hold keys in [lo, hi) when it begins until
// each of those keys is in one place, in few files; nil means unbounded. It ends
// however fast others write, and is never needed for correctness.
func (s *store) Compact(ctx context.Context, lo, hi []byte) error {
	return s.reader.k.Compact(ctx, lo, hi)
}
