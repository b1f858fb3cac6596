package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/txn"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// Isolation says which anomalies a transaction excludes.
type Isolation uint8

// The levels.
const (
	Serializable Isolation = iota
	SnapshotIsolation
)

// TxnOptions configure a transaction.
type TxnOptions struct {
	Isolation  Isolation
	Durability Durability
	ReadOnly   bool
	Own        bool          // lives only during one call: the program cannot leak it
	Site       pins.CallSite // where it was begun; the zero value means the caller of Begin's caller
}

// Txn is an optimistic transaction: it reads its own writes over a snapshot, and
// keeps the writes in a batch until Commit. Package txn decides whether the batch may
// be committed. One goroutine uses a Txn, but any goroutine may end it.
//
// A Txn is not reused, so calls on one that is over fail; its working memory is
// reused.
type Txn struct {
	e    *Engine
	o    TxnOptions
	held readstate.Point // as taken by Begin; at may get a time later
	over uint64          // see Over; set by Commit
	hold readstate.Hold
	pin  pins.Pin

	mu      sync.Mutex
	at      readstate.Point // guarded by mu
	undone  []undo          // guarded by mu
	undos   int             // guarded by mu; how often writes were undone
	charged int64           // guarded by mu; bytes charged to the budget
	work    *txnBuffers     // guarded by mu; nil once the transaction is over
}

// chargeGrain is the step in which a transaction is charged to the budget.
const chargeGrain = 64 << 10

// Begin makes t, which must be zero, a transaction that reads what is visible now.
func (e *Engine) Begin(t *Txn, o TxnOptions) error {
	if o.Isolation > SnapshotIsolation {
		return fmt.Errorf("%w: unknown isolation %d", base.ErrInvalidOptions, o.Isolation)
	}
	if _, err := e.commit.Resolve(o.Durability); err != nil {
		return err
	}
	if o.Site.Zero() {
		o.Site = pins.Caller(1, 2)
	}
	w := txnPool.Get().(*txnBuffers)
	e.clock.IfUsed()
	if e.store.Closed() {
		txnPool.Put(w)
		return base.ErrClosed
	}
	t.e, t.o, t.work = e, o, w
	if o.ReadOnly {
		t.held = e.store.Snapshots.Take(&t.hold)
	} else {
		t.held = e.commit.BeginTxn(&w.conflict, &t.hold)
	}
	t.at = t.held
	e.open.AddTxn(&t.pin, o.Own, o.Site)
	return nil
}

// Seq returns the sequence at which the transaction reads.
func (t *Txn) Seq() base.SeqNum { return t.held.Seq }

// enter locks the transaction for a call and returns its working memory. The caller
// unlocks mu.
func (t *Txn) enter() (*txnBuffers, error) {
	t.mu.Lock()
	switch {
	case t.work == nil:
		t.mu.Unlock()
		return nil, base.ErrTxnDone
	case t.e.store.Closed():
		t.mu.Unlock()
		return nil, base.ErrClosed
	}
	return t.work, nil
}

// enterIn is enter for a call on a keyspace.
func (t *Txn) enterIn(k *Keyspace) (*txnBuffers, error) {
	if err := t.e.foreign(k); err != nil {
		return nil, err
	}
	w, err := t.enter()
	if err == nil && w.spaces.gone != nil {
		if err = w.spaces.usable(k); err != nil {
			t.mu.Unlock()
			return nil, err
		}
	}
	return w, err
}

// enterToWrite is enterIn for a call that writes.
func (t *Txn) enterToWrite(k *Keyspace) (*txnBuffers, error) {
	w, err := t.enterIn(k)
	if err == nil && t.o.ReadOnly {
		t.mu.Unlock()
		return nil, fmt.Errorf("%w: the transaction is read-only", base.ErrReadOnly)
	}
	return w, err
}

// AppendGet is Keyspace.AppendGet in the transaction.
func (t *Txn) AppendGet(k *Keyspace, dst, key []byte) ([]byte, error) {
	return t.lookup(k, dst, key, true, t.o.Isolation == Serializable)
}

// Has is Keyspace.Has in the transaction.
func (t *Txn) Has(k *Keyspace, key []byte) (bool, error) {
	_, err := t.lookup(k, nil, key, false, t.o.Isolation == Serializable)
	if err == base.ErrNotFound {
		return false, nil
	}
	return err == nil, err
}

// View is Keyspace.View in the transaction. The value is a copy, because fn runs
// without mu, and may use the transaction or end it.
func (t *Txn) View(k *Keyspace, key []byte, fn func(value []byte) error) error {
	buf := viewBuffers.Get().(*[]byte)
	b, err := t.AppendGet(k, (*buf)[:0], key)
	if err == nil {
		err = fn(b)
	}
	if cap(b) <= viewBufferMax {
		*buf = b
		viewBuffers.Put(buf)
	}
	return err
}

// AppendGetForUpdate is AppendGet for a key that the transaction depends on: whatever
// its isolation, it fails to commit if another client writes the key before it commits.
func (t *Txn) AppendGetForUpdate(k *Keyspace, dst, key []byte) ([]byte, error) {
	w, err := t.enterToWrite(k)
	if err != nil {
		return dst, err
	}
	defer t.mu.Unlock()
	if !t.fits(w, txn.KeySize+len(key), 0) {
		return dst, base.ErrTxnTooLarge
	}
	if err := w.conflict.Ask(k.ID(), key); err != nil {
		return dst, err
	}
	return t.lookupIn(w, k, dst, key, true, false)
}

func (t *Txn) lookup(k *Keyspace, dst, key []byte, want, track bool) ([]byte, error) {
	w, err := t.enterIn(k)
	if err != nil {
		return dst, err
	}
	defer t.mu.Unlock()
	return t.lookupIn(w, k, dst, key, want, track)
}

// lookupIn looks a key up among the transaction's own writes, then in the snapshot.
// If its own writes alone decide the result, the read is not tracked.
func (t *Txn) lookupIn(w *txnBuffers, k *Keyspace, dst, key []byte, want, track bool) ([]byte, error) {
	r, deleted := w.own.Get(k.ID(), key)
	switch {
	case deleted:
		return dst, base.ErrNotFound
	case r != nil && r.Trailer.Kind() != base.KindMerge:
		return t.ownValue(dst, r, want)
	}
	if track && !t.o.ReadOnly {
		if err := w.conflict.Key(k.ID(), key); err != nil {
			return dst, err
		}
	}
	switch {
	case r == nil:
		return k.lookup(dst, key, t.at, want)
	case !want:
		return dst, nil
	}
	return k.getMerged(dst, key, t.at, &w.own)
}

// ownValue returns the value that a write of the transaction itself gives a key.
func (t *Txn) ownValue(dst []byte, r *writeset.Op, want bool) ([]byte, error) {
	value := r.Value
	switch r.Trailer.Kind() {
	case base.KindPut:
	case base.KindPutTTL:
		expiry, rest, err := base.SplitExpiry(value)
		if err != nil {
			return dst, err
		}
		if expiry <= t.time() {
			return dst, base.ErrNotFound
		}
		value = rest
	default:
		return dst, base.ErrNotFound
	}
	if want {
		dst = append(dst, value...)
	}
	return dst, nil
}

// time returns the transaction's time. A transaction that began before any value had an
// expiry gets its time with its own first expiry.
func (t *Txn) time() uint64 {
	if t.at.Time == 0 {
		t.at.Time = t.e.clock.Now()
	}
	return t.at.Time
}

// NewIter is Keyspace.NewIter in the transaction: the iterator shows the snapshot and
// the writes made so far.
func (t *Txn) NewIter(k *Keyspace, o dbiter.Options) (*dbiter.Iter, error) {
	w, err := t.enterIn(k)
	if err != nil {
		return nil, err
	}
	defer t.mu.Unlock()
	w.shared = true
	it, err := k.newIter(o, t.at, &w.own)
	if err == nil && t.o.Isolation == Serializable && !t.o.ReadOnly {
		it.Track(&w.conflict.ReadSet)
	}
	return it, err
}

// Write calls add with the batch, to add an operation on a keyspace.
func (t *Txn) Write(k *Keyspace, add func(*batch.Batch) error) error {
	w, err := t.enterToWrite(k)
	if err != nil {
		return err
	}
	defer t.mu.Unlock()
	off, count := max(len(w.batch.Data), batch.HeaderSize), w.batch.Count()
	mark := w.batch.Mark()
	if err := add(&w.batch); err != nil {
		w.batch.Rollback(mark) // a refused write leaves the others unchanged
		return err
	}
	if w.batch.Count() == count {
		return nil
	}
	if !t.fits(w, 0, 0) {
		w.batch.Truncate(mark)
		return fmt.Errorf("%w: it has written %d bytes, a %dth of the memory budget", base.ErrTxnTooLarge, off, commit.TxnShare)
	}
	op, err := w.batch.OpAt(off)
	if err != nil {
		return err
	}
	if op.Kind == base.KindPutTTL && t.at.Time == 0 {
		t.e.clock.Use()
		t.time()
	}
	w.own.Add(&op)
	t.charge(w)
	return nil
}

// fits reports whether the transaction stays within its share of the budget with more
// bytes in its read set and spaces more for keyspaces that it creates and drops. With
// snapshot isolation its writes enter the set at its commit: fits counts them before,
// so that the commit does not become too large.
func (t *Txn) fits(w *txnBuffers, more, spaces int) bool {
	size := int64(len(w.batch.Data)) + int64(w.spaces.bytes) + int64(spaces)
	if t.o.Isolation == SnapshotIsolation {
		size += int64(w.batch.Count())*txn.KeySize + int64(w.conflict.Bytes()) + int64(more)
	}
	return size <= t.e.opts.MemoryBudget/commit.TxnShare
}

// charge charges the memory of the transaction to the budget.
func (t *Txn) charge(w *txnBuffers) {
	n := int64(len(w.batch.Data)) + w.own.Bytes() + int64(w.conflict.Bytes()) + int64(w.spaces.bytes)
	if n-t.charged >= chargeGrain {
		t.e.cache.Charge(cache.Transactions, n-t.charged)
		t.charged = n
	}
}

// Savepoint is a point to which a transaction can be rolled back.
type Savepoint struct {
	t           *Txn
	mark        batch.Mark
	ops, spaces int // operations, and keyspaces created and dropped, before it
	undos       int // Txn.undos at that time
}

// steps returns how many steps of the transaction precede the savepoint.
func (s *Savepoint) steps() int { return s.ops + s.spaces }

// undo records one RollbackTo: its ordinal, and how many steps it kept. A
// transaction keeps a record only while no later RollbackTo kept as few steps.
type undo struct{ n, steps int }

// Savepoint returns the current point of the transaction. If the transaction is over,
// RollbackTo refuses the savepoint.
func (t *Txn) Savepoint() Savepoint {
	w, err := t.enter()
	if err != nil {
		return Savepoint{}
	}
	defer t.mu.Unlock()
	return Savepoint{t, w.batch.Mark(), w.batch.Count(), len(w.spaces.list), t.undos}
}

// stands reports whether the steps before a savepoint are unchanged since it was
// made.
func (t *Txn) stands(s *Savepoint) bool {
	i, _ := slices.BinarySearchFunc(t.undone, s.undos+1, func(u undo, n int) int { return cmp.Compare(u.n, n) })
	return s.t == t && (i == len(t.undone) || t.undone[i].steps >= s.steps())
}

// noteUndo records a RollbackTo that kept so many steps.
func (t *Txn) noteUndo(steps int) {
	for n := len(t.undone); n > 0 && t.undone[n-1].steps >= steps; n-- {
		t.undone = t.undone[:n-1]
	}
	t.undos++
	t.undone = append(t.undone, undo{t.undos, steps})
}

// RollbackTo undoes the writes since a savepoint. Reads since then still count in
// conflict checks.
func (t *Txn) RollbackTo(s Savepoint) error {
	w, err := t.enter()
	if err != nil {
		return err
	}
	defer t.mu.Unlock()
	if !t.stands(&s) {
		return fmt.Errorf("%w: the savepoint is of another transaction, or was undone itself", base.ErrInvalidOptions)
	}
	if w.shared {
		w.batch.Rollback(s.mark)
	} else {
		w.batch.Truncate(s.mark) // no open iterator may read the truncated part
	}
	t.noteUndo(s.steps())
	w.spaces.rollback(s.spaces)
	if w.own.Rollback(s.ops) {
		return nil
	}
	w.own.Reset()
	for r := w.batch.Reader(); ; {
		op, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		w.own.Add(&op)
	}
}

// Commit applies the writes atomically. If a commit since the snapshot touched a key
// that the transaction depends on, Commit applies nothing and returns
// base.ErrConflict. The transaction is over in any case.
func (t *Txn) Commit(ctx context.Context) (base.SeqNum, error) {
	w := t.take()
	if w == nil {
		return 0, base.ErrTxnDone
	}
	defer t.end(w)
	switch {
	case t.e.store.Closed():
		return 0, base.ErrClosed
	case w.batch.Count() == 0 && w.spaces.none():
		return t.held.Seq, nil // as if the transaction had run at its snapshot
	}
	var spaces *spaceCommit
	if !w.spaces.none() {
		var err error
		if spaces, err = t.e.newSpaceCommit(w); err != nil {
			return 0, err
		}
	}
	if t.o.Isolation == SnapshotIsolation {
		if err := w.conflict.Batch(&w.batch); err != nil {
			return 0, err
		}
	}
	if err := w.conflict.Seal(); err != nil {
		return 0, err
	}
	var seq base.SeqNum
	var err error
	if spaces != nil {
		seq, err = spaces.run(ctx)
	} else {
		seq, err = t.e.commit.Commit(ctx, &w.batch, t.o.Durability, &w.conflict)
	}
	if errors.Is(err, base.ErrConflict) { // the transaction has ended: commits no longer read w
		t.over = w.conflict.Over()
	}
	return seq, err
}

// Over returns, after a Commit with a conflict, a number that is equal for transactions
// with a conflict over the same key, as far as the key is known. Only the goroutine that
// called Commit may call it.
func (t *Txn) Over() uint64 { return t.over }

// Rollback ends the transaction without applying anything. It is idempotent,
// and does nothing after Commit.
func (t *Txn) Rollback() {
	if w := t.take(); w != nil {
		t.end(w)
	}
}
