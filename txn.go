package seerdb

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/engine"
)

// Isolation says which anomalies a transaction excludes.
type Isolation uint8

const (
	// Serializable transactions behave as if they had run one after the other,
	// in the order of real time. A transaction that read what another client
	// wrote before it committed fails with ErrConflict.
	Serializable = Isolation(engine.Serializable)
	// SnapshotIsolation looks only at what is written: the first of two
	// concurrent writers of a key commits. It allows write skew: two
	// transactions that each read what the other writes may both commit. See
	// Txn.GetForUpdate.
	SnapshotIsolation = Isolation(engine.SnapshotIsolation)
)

// TxnOptions configure a transaction. The zero value, and nil, are good
// defaults.
type TxnOptions struct {
	// Isolation, Serializable by default.
	Isolation Isolation
	// Durability of the commit; never less than that of the database.
	Durability Durability
	// ReadOnly transactions cannot write, and cost what a snapshot costs.
	ReadOnly bool
}

// Txn is a transaction over all keyspaces. It reads the database as it was when
// the transaction began, and through it its own writes; Commit applies them all
// or none. It is optimistic: it takes no locks and never waits for another
// transaction, and Commit returns ErrConflict, with nothing applied, if a
// commit since its beginning, of a transaction or not, touched what it depends
// on. Transactions that only read, or that wrote nothing, never conflict.
//
// A Txn is used by one goroutine, though any may roll it back, and must be ended
// by Commit or Rollback: an open one keeps old versions from being dropped.
// From then on its methods return ErrTxnDone.
// There is no limit to its size but the memory budget: past a quarter of it
// operations return ErrTxnTooLarge.
//
// Its methods on keys work on the default keyspace; see Txn.In for others.
type Txn struct{ txnSpace }

// txnSpace is one keyspace in a transaction.
type txnSpace struct {
	t *engine.Txn
	k *engine.Keyspace
	e *engine.Engine
}

// TxnIn is one keyspace in a transaction. See Txn.In.
type TxnIn struct{ txnSpace }

// Begin opens a transaction. Update is simpler where it fits: it begins,
// commits, and tries again after conflicts.
func (db *DB) Begin(o *TxnOptions) (*Txn, error) {
	if o == nil {
		o = &TxnOptions{}
	}
	return db.begin(o, engine.CallSite{})
}

// begin opens a transaction for a caller.
func (db *DB) begin(o *TxnOptions, site engine.CallSite) (*Txn, error) {
	x := new(struct { // in one piece
		Txn
		e engine.Txn
	})
	err := db.e.Begin(&x.e, engine.TxnOptions{
		Isolation: engine.Isolation(o.Isolation), Durability: engine.Durability(o.Durability), ReadOnly: o.ReadOnly, Site: site,
	})
	if err != nil {
		return nil, err
	}
	x.txnSpace = txnSpace{t: &x.e, k: db.k, e: db.e}
	return &x.Txn, nil
}

// In returns the transaction on another keyspace. Operations on one of another
// database, or of another opening of this one, fail with ErrInvalidOptions.
func (t *Txn) In(k *Keyspace) *TxnIn { return &TxnIn{txnSpace{t: t.t, k: k.k, e: t.e}} }

// Keyspace opens the keyspace of that name in the transaction, and creates it if it
// is missing: see DB.Keyspace for the name and the options. One that is created is
// seen by no other client before Commit, and never after Rollback; its handle for
// others is what DB.Keyspace returns from then on.
//
// Names mean what they mean in the database now, and what the transaction made of
// them: they do not go with its snapshot, and what it found is no read that later
// conflicts. But Commit fails with ErrConflict if another client created or dropped
// a keyspace of a name that the transaction created or dropped. One that exists is
// opened as DB.Keyspace does it, with its options from then on for all, whatever
// becomes of the transaction.
//
// The Commit of a transaction that created or dropped keyspaces is durable in every
// mode, as a BulkLoad is. It writes the memtables to tables first, and holds other
// commits back while it writes what the transaction wrote: milliseconds, and more
// for a large one.
func (t *Txn) Keyspace(name string, o *KeyspaceOptions) (*TxnIn, error) {
	if o == nil {
		o = &KeyspaceOptions{}
	}
	k, err := t.t.Keyspace(name, o.choice(), !o.ErrorIfMissing)
	if err != nil {
		return nil, err
	}
	return &TxnIn{txnSpace{t: t.t, k: k, e: t.e}}, nil
}

// DropKeyspace removes a keyspace and all that is in it, when the transaction is
// committed: see Keyspace. To other transactions that counts as a deletion of all
// its keys; those that go on to use it get ErrNoKeyspace, which Update returns and
// does not try again. In the transaction it is gone at once: operations on it return
// ErrNoKeyspace, and the name is free for another keyspace.
func (t *Txn) DropKeyspace(name string) error { return t.t.DropKeyspace(name) }

// Keyspaces lists the names of all keyspaces but the default one, sorted, as the
// transaction will leave them. See Keyspace.
func (t *Txn) Keyspaces() ([]string, error) { return t.t.Keyspaces() }

// Get returns a copy of the value of key, or ErrNotFound.
func (t *txnSpace) Get(key []byte) ([]byte, error) { return copied(t.t.AppendGet(t.k, nil, key)) }

// AppendGet appends the value of key to dst and returns the result, or dst and
// ErrNotFound.
func (t *txnSpace) AppendGet(dst, key []byte) ([]byte, error) { return t.t.AppendGet(t.k, dst, key) }

// GetFunc calls fn with the value of key, which is valid during the call and
// must not be modified; it returns what fn returns, or ErrNotFound. It saves the
// allocation of Get. fn may use the transaction.
func (t *txnSpace) GetFunc(key []byte, fn func(value []byte) error) error {
	return t.t.View(t.k, key, fn)
}

// GetForUpdate is Get, and of this transaction and a concurrent one that writes
// the key only the first commits. Serializable transactions have what they need
// of that for every key they read; with SnapshotIsolation it prevents write skew.
func (t *txnSpace) GetForUpdate(key []byte) ([]byte, error) {
	return copied(t.t.AppendGetForUpdate(t.k, nil, key))
}

// Has reports whether key has a value.
func (t *txnSpace) Has(key []byte) (bool, error) { return t.t.Has(t.k, key) }

// Expiry is DB.Expiry in the transaction.
func (t *txnSpace) Expiry(key []byte) (at time.Time, expires bool, err error) {
	return expiryOf(t, key)
}

// ValueLen is DB.ValueLen in the transaction.
func (t *txnSpace) ValueLen(key []byte) (int, error) { return valueLenOf(t, key) }

func (t *txnSpace) open(o engine.IterOptions) (*engine.Iter, error) { return t.t.NewIter(t.k, o) }

// NewIter opens an iterator over the snapshot and the writes made so far;
// later writes do not show in it before Iter.Refresh. It must be closed before Commit.
func (t *txnSpace) NewIter(o *IterOptions) (*Iter, error) {
	return newIter(t, o)
}

// Range is the keys lo <= key < hi; nil means unbounded. See Rows.
func (t *txnSpace) Range(lo, hi []byte) *Rows {
	return rowsOf(t, lo, hi)
}

// Prefix is the keys that begin with p. See Rows.
func (t *txnSpace) Prefix(p []byte) *Rows { return t.Range(p, PrefixEnd(p)) }

func (t *txnSpace) write(fn func(ops) error) error {
	return t.t.Write(t.k, func(b *batch.Batch) error { return fn(opsOn(b, t.k, t.e)) })
}

// Put sets key to value. Both are copied.
func (t *txnSpace) Put(key, value []byte) error {
	return t.write(func(o ops) error { return o.put(key, value) })
}

// Delete removes key.
func (t *txnSpace) Delete(key []byte) error {
	return t.write(func(o ops) error { return o.delete(key) })
}

// SingleDelete is DB.SingleDelete in the transaction.
func (t *txnSpace) SingleDelete(key []byte) error {
	return t.write(func(o ops) error { return o.singleDelete(key) })
}

// DeleteRange is DB.DeleteRange in the transaction.
func (t *txnSpace) DeleteRange(lo, hi []byte) error {
	return t.write(func(o ops) error { return o.deleteRange(lo, hi) })
}

// Merge is DB.Merge in the transaction. It is no read: transactions that only
// merge into the same key do not conflict when they are Serializable. Where there is
// no merge operator reads of the key, and Commit, are refused.
func (t *txnSpace) Merge(key, operand []byte) error {
	return t.write(func(o ops) error { return o.merge(key, operand) })
}

// PutTTL is DB.PutTTL in the transaction. The time runs from this call.
func (t *txnSpace) PutTTL(key, value []byte, d time.Duration) error {
	return t.write(func(o ops) error { return o.putTTL(key, value, d) })
}

// PutUntil is DB.PutUntil in the transaction.
func (t *txnSpace) PutUntil(key, value []byte, at time.Time) error {
	return t.write(func(o ops) error { return o.putUntil(key, value, at) })
}

// Savepoint is a place in a transaction.
type Savepoint struct{ s engine.Savepoint }

// Savepoint marks the place where the transaction is now.
func (t *Txn) Savepoint() Savepoint { return Savepoint{t.t.Savepoint()} }

// RollbackTo undoes the writes made since a savepoint, which can be rolled back
// to again. What was read since still counts for conflicts; iterators that are
// open show what they showed.
func (t *Txn) RollbackTo(s Savepoint) error { return t.t.RollbackTo(s.s) }

// Commit applies the writes atomically, with the durability that was asked
// for. ErrConflict means that nothing was applied, and that the same work may
// succeed in a new transaction. The transaction is over whatever Commit
// returns.
func (t *Txn) Commit() error { return t.CommitContext(context.Background()) }

// CommitContext is Commit, and gives up with the error of ctx, with nothing
// applied, if that ends while writers are slowed or stopped.
func (t *Txn) CommitContext(ctx context.Context) error {
	_, err := t.t.Commit(ctx)
	return err
}

// Rollback ends the transaction and applies nothing. After Commit, or a second
// time, it does nothing, so that it can be deferred.
func (t *Txn) Rollback() { t.t.Rollback() }

// Seq is the sequence number that the transaction reads at.
func (t *Txn) Seq() uint64 { return uint64(t.t.Seq()) }

// View runs fn with a snapshot, which it closes.
func (db *DB) View(fn func(*Snapshot) error) error {
	s := db.NewSnapshot()
	if s.s.Closed() {
		return ErrClosed
	}
	defer func() { _ = s.Close() }()
	return fn(s)
}

// PutIfAbsent sets key to value if it has none, and reports whether it did.
func (s *space) PutIfAbsent(key, value []byte) (bool, error) {
	return s.putIf(key, func(_ []byte, exists bool) bool { return !exists }, func(o ops) error { return o.put(key, value) })
}

// CompareAndSwap sets key to value if its value is old, where nil means that it
// has none, and reports whether it did. A nil value removes the key. What Get, GetFunc
// and iterators give is not nil for an empty value; what AppendGet appends to nil is.
func (s *space) CompareAndSwap(key, old, value []byte) (bool, error) {
	cond := func(now []byte, exists bool) bool { return exists == (old != nil) && string(now) == string(old) }
	return s.putIf(key, cond, func(o ops) error {
		if value == nil {
			return o.delete(key)
		}
		return o.put(key, value)
	})
}

// putIf writes a key on a condition. A client that wins the race for the key has
// made progress, so trying again ends. What that one wrote is visible only once
// it is durable: the pauses, which grow to a millisecond, are there to wait for a
// sync without asking all the time.
func (s *space) putIf(key []byte, cond func(now []byte, exists bool) bool, write func(ops) error) (bool, error) {
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		did, err := s.tryPutIf(key, cond, write)
		if !errors.Is(err, ErrConflict) {
			return did, err
		}
		time.Sleep(rand.N(pause))
	}
}

// tryPutIf is one try of putIf.
func (s *space) tryPutIf(key []byte, cond func(now []byte, exists bool) bool, write func(ops) error) (bool, error) {
	t := new(engine.Txn)
	if err := s.e.Begin(t, engine.TxnOptions{Own: true}); err != nil {
		return false, err
	}
	defer t.Rollback() // a merge operator may panic
	now, err := t.AppendGet(s.k, nil, key)
	if err != nil && !errors.Is(err, ErrNotFound) || !cond(now, err == nil) {
		return false, ignoreNotFound(err)
	}
	err = t.Write(s.k, func(b *batch.Batch) error { return write(opsOn(b, s.k, s.e)) })
	if err == nil {
		_, err = t.Commit(context.Background())
	}
	return err == nil, err
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
