package seerdb

import (
	"context"

	"github.com/seerdb-go/seerdb/internal/engine"
)

// Isolation says which anomalies a transaction excludes.
type Isolation uint8

const (
	// Serializable transactions behave as if they had run one after the other,
	// in the order of real time. A transaction that read what another client
	// wrote before it committed fails with ErrConflict.
	Serializable Isolation = iota
	// SnapshotIsolation looks only at what is written: the first of two
	// concurrent writers of a key commits. It allows write skew: two
	// transactions that each read what the other writes may both commit. See
	// Txn.GetForUpdate.
	SnapshotIsolation
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
// From then on its methods return ErrTxnDone. There is no limit to its size but the
// memory budget: past a quarter of it operations return ErrTxnTooLarge.
//
// Its methods on keys work on the default keyspace; see Txn.In for others.
type Txn struct {
	reader
	writer
}

func newTxn(e *engine.Engine, t *engine.Txn, k *engine.Keyspace) *Txn {
	return &Txn{reader{k: k, t: t}, writer{e: e, k: k, t: t}}
}

// Begin opens a transaction. Update is simpler where it fits: it begins,
// commits, and tries again after conflicts.
func (db *DB) Begin(o *TxnOptions) (*Txn, error) { return db.begin(o, engine.CallSite{}) }

// begin opens a transaction for a caller.
func (db *DB) begin(o *TxnOptions, site engine.CallSite) (*Txn, error) {
	if o == nil {
		o = &TxnOptions{}
	}
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
	x.Txn = *newTxn(db.e, &x.e, db.e.Root())
	return &x.Txn, nil
}

// In returns the transaction with its reads and writes in a keyspace, so that a function
// that is written for the default keyspace can work in another. It is no transaction of
// its own: Commit, Rollback, savepoints and keyspaces are those of the whole one. Reads
// and writes in a keyspace of another database, or of another opening of this one, fail
// with ErrInvalidOptions.
func (t *Txn) In(k *Keyspace) *Txn { return newTxn(t.e, t.writer.t, k.reader.k) }

// Keyspace opens the keyspace of that name and returns the transaction in it, as In
// does. It creates the keyspace if it is missing: see DB.Keyspace for the name and the
// options. One that is created is seen by no other client before Commit, and never after
// Rollback; its handle for others is what DB.Keyspace returns from then on.
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
func (t *Txn) Keyspace(name string, o *KeyspaceOptions) (*Txn, error) {
	choice, create := o.engine()
	k, err := t.writer.t.Keyspace(name, choice, create)
	if err != nil {
		return nil, err
	}
	return newTxn(t.e, t.writer.t, k), nil
}

// DropKeyspace removes a keyspace and all that is in it, when the transaction is
// committed: see Keyspace. To other transactions that counts as a deletion of all
// its keys; those that go on to use it get ErrNoKeyspace, which Update returns and
// does not try again. In the transaction it is gone at once: operations on it return
// ErrNoKeyspace, and the name is free for another keyspace.
func (t *Txn) DropKeyspace(name string) error { return t.writer.t.DropKeyspace(name) }

// Keyspaces lists the names of all keyspaces but the default one, sorted, as the
// transaction will leave them. See Keyspace.
func (t *Txn) Keyspaces() ([]string, error) { return t.writer.t.Keyspaces() }

// GetForUpdate is Get, and of this transaction and a concurrent one that writes
// the key only the first commits. Serializable transactions have what they need
// of that for every key they read; with SnapshotIsolation it prevents write skew.
func (t *Txn) GetForUpdate(key []byte) ([]byte, error) {
	return copied(t.writer.t.AppendGetForUpdate(t.writer.k, nil, key))
}

// Savepoint is a place in a transaction.
type Savepoint struct{ s engine.Savepoint }

// Savepoint marks the place where the transaction is now.
func (t *Txn) Savepoint() Savepoint { return Savepoint{t.writer.t.Savepoint()} }

// RollbackTo undoes the writes made since a savepoint, which can be rolled back
// to again. What was read since still counts for conflicts; iterators that are
// open show what they showed.
func (t *Txn) RollbackTo(s Savepoint) error { return t.writer.t.RollbackTo(s.s) }

// Commit applies the writes atomically, with the durability that was asked
// for. ErrConflict means that nothing was applied, and that the same work may
// succeed in a new transaction. The transaction is over whatever Commit
// returns.
func (t *Txn) Commit() error { return t.CommitContext(context.Background()) }

// CommitContext is Commit, and gives up with the error of ctx, with nothing
// applied, if that ends while writers are slowed or stopped.
func (t *Txn) CommitContext(ctx context.Context) error {
	_, err := t.writer.t.Commit(ctx)
	return err
}

// Rollback ends the transaction and applies nothing. After Commit, or a second
// time, it does nothing, so that it can be deferred.
func (t *Txn) Rollback() { t.writer.t.Rollback() }

// Seq returns the sequence number that the transaction reads at.
func (t *Txn) Seq() uint64 { return uint64(t.writer.t.Seq()) }

// Update runs fn in a serializable transaction and commits it. After a conflict
// it does so again, in a new transaction, which sees what the one before lost to;
// so fn may run several times and should have no other effects. Those that lose
// over the same key try again one after the other, in the order in which they
// lost. Update gives up with the error of ctx when that ends, and with ErrConflict
// after 10,000 tries. An error of fn rolls back and is returned as it is, unless
// it is ErrConflict. fn must not end the transaction itself.
func (db *DB) Update(ctx context.Context, fn func(*Txn) error) error {
	return db.UpdateWith(ctx, nil, fn)
}

// UpdateWith is Update with options for the transactions.
func (db *DB) UpdateWith(ctx context.Context, o *TxnOptions, fn func(*Txn) error) error {
	site := engine.Caller(0, 2)
	return db.lanes.Do(ctx, func() (over uint64, err error) {
		t, err := db.begin(o, site)
		if err != nil {
			return 0, err
		}
		defer t.Rollback() // fn may panic
		if err := fn(t); err != nil {
			return 0, err
		}
		err = t.CommitContext(ctx)
		return t.writer.t.Over(), err
	})
}
