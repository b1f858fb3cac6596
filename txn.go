package seerdb

import (
	"context"

	"github.com/seerdb-go/seerdb/internal/engine"
)

// Isolation determines which anomalies a transaction excludes.
type Isolation uint8

const (
	// Serializable transactions behave as if they had run one after the other, in the order
	// of real time. Commit fails with ErrConflict if another client wrote, since the
	// transaction began, what the transaction read.
	Serializable Isolation = iota
	// SnapshotIsolation checks only writes: of two concurrent writers of a key, the first
	// to commit succeeds. It allows write skew: two transactions that each read what the
	// other writes may both commit. See Txn.GetForUpdate.
	SnapshotIsolation
)

// TxnOptions configure a transaction. The zero value and nil mean defaults.
type TxnOptions struct {
	// Isolation is Serializable by default.
	Isolation Isolation
	// Durability is that of the commit, but never less than that of the database.
	Durability Durability
	// ReadOnly transactions cannot write, and cost as much as a snapshot.
	ReadOnly bool
}

// Txn is a transaction over all keyspaces. It reads the database as it was when the
// transaction began, with its own writes on top; Commit applies all of them or none. It is
// optimistic: it takes no locks and never waits for another transaction. Commit returns
// ErrConflict, with nothing applied, if a commit since the transaction began, whether of
// another transaction or not, touched data that it depends on. Transactions that only read,
// or that wrote nothing, never conflict.
//
// A Txn is for one goroutine, except that any may roll it back. It must be ended by Commit
// or Rollback, since an open one keeps old versions from being dropped; after that its
// methods return ErrTxnDone. Only the memory budget limits its size: past a quarter of the
// budget, operations return ErrTxnTooLarge.
//
// Its methods on keys use the default keyspace; see Txn.In for others.
type Txn struct {
	reader
	writer
}

func newTxn(e *engine.Engine, t *engine.Txn, k *engine.Keyspace) *Txn {
	return &Txn{reader{k: k, t: t}, writer{e: e, k: k, t: t}}
}

// Begin opens a transaction. Where it fits, Update is simpler: it begins, commits, and
// tries again after conflicts.
func (db *DB) Begin(o *TxnOptions) (*Txn, error) { return db.begin(o, engine.CallSite{}) }

// begin opens a transaction that was requested at site.
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

// In returns a view of the transaction that reads and writes k, so that a function written
// for the default keyspace can work in another. It shares the transaction: Commit,
// Rollback, savepoints and keyspaces are those of the whole. Reads and writes in a keyspace
// of another database, or of another opening of this one, fail with ErrInvalidOptions.
func (t *Txn) In(k *Keyspace) *Txn { return newTxn(t.e, t.writer.t, k.reader.k) }

// Keyspace opens the keyspace with that name, creating it if it is missing, and returns a
// view of the transaction in it, as In does. See DB.Keyspace for the name and the options.
// Other clients see a new keyspace only after Commit, and never after Rollback; after
// Commit, DB.Keyspace returns their handle to it.
//
// A name means the keyspace that has it in the database now, or that the transaction gave
// it to, not the one in the transaction's snapshot. Looking up a name is not a read that
// can conflict. But Commit fails with ErrConflict if another client created or dropped a
// keyspace of a name that the transaction created or dropped. If the keyspace exists,
// Keyspace opens it as DB.Keyspace does: its options then hold for all clients, even after
// a Rollback.
//
// Commit of a transaction that created or dropped keyspaces is durable in every mode, as a
// BulkLoad is. It first writes the memtables to tables, and it holds back other commits
// while it writes the data of the transaction: for milliseconds, or longer if there is
// much.
func (t *Txn) Keyspace(name string, o *KeyspaceOptions) (*Txn, error) {
	choice, create := o.engine()
	k, err := t.writer.t.Keyspace(name, choice, create)
	if err != nil {
		return nil, err
	}
	return newTxn(t.e, t.writer.t, k), nil
}

// DropKeyspace removes a keyspace and all its keys when the transaction commits: see
// Keyspace. To other transactions this counts as a deletion of all its keys; those that
// continue to use it get ErrNoKeyspace, after which Update does not try again. In the
// transaction it is gone immediately: operations on it return ErrNoKeyspace, and another
// keyspace can take the name.
func (t *Txn) DropKeyspace(name string) error { return t.writer.t.DropKeyspace(name) }

// Keyspaces returns the names of all keyspaces but the default one, sorted, as Commit will
// leave them. See Keyspace.
func (t *Txn) Keyspaces() ([]string, error) { return t.writer.t.Keyspaces() }

// GetForUpdate is like Get, but of this transaction and a concurrent one that writes the
// key, only the first to commit succeeds. With SnapshotIsolation it prevents write skew.
// Serializable transactions do not need it: they are protected for every key that they
// read.
func (t *Txn) GetForUpdate(key []byte) ([]byte, error) {
	return copied(t.writer.t.AppendGetForUpdate(t.writer.k, nil, key))
}

// Savepoint is a position in a transaction.
type Savepoint struct{ s engine.Savepoint }

// Savepoint returns the current position in the transaction.
func (t *Txn) Savepoint() Savepoint { return Savepoint{t.writer.t.Savepoint()} }

// RollbackTo undoes the writes made since s, and may do so again later. Reads made since s
// still count for conflicts, and open iterators continue to show what they showed.
func (t *Txn) RollbackTo(s Savepoint) error { return t.writer.t.RollbackTo(s.s) }

// Commit applies the writes atomically, with the durability of TxnOptions. ErrConflict
// means that nothing was applied, and that the same work may succeed in a new transaction.
// The transaction is over whatever Commit returns.
func (t *Txn) Commit() error { return t.CommitContext(context.Background()) }

// CommitContext is like Commit, but returns the error of ctx, with nothing applied, if ctx
// ends while writers are slowed or stopped.
func (t *Txn) CommitContext(ctx context.Context) error {
	_, err := t.writer.t.Commit(ctx)
	return err
}

// Rollback ends the transaction and applies nothing. After Commit or Rollback it does
// nothing, so it can be deferred.
func (t *Txn) Rollback() { t.writer.t.Rollback() }

// Seq returns the sequence number at which the transaction reads.
func (t *Txn) Seq() uint64 { return uint64(t.writer.t.Seq()) }

// Update runs fn in a serializable transaction and commits it. After a conflict it tries
// again in a new transaction, which sees the commit that the one before conflicted with. So
// fn may run several times and should have no other effects. Updates that lost over the
// same key try again one after the other, in the order in which they lost.
//
// Update gives up with the error of ctx when ctx ends, and with ErrConflict after 10,000
// tries. If fn returns an error, Update rolls back and returns that error unchanged, but
// tries again if it is ErrConflict. fn must not end the transaction itself.
func (db *DB) Update(ctx context.Context, fn func(*Txn) error) error {
	return db.UpdateWith(ctx, nil, fn)
}

// UpdateWith is like Update, with options for the transactions.
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
