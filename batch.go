package seerdb

import (
	"context"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/engine"
)

// Batch collects operations that are applied together, all or none. It is
// encoded as it grows; Apply hands those very bytes to the log. A Batch is
// used by one goroutine; it may be reset and used again after Apply.
//
// A Batch belongs to one opening of a database: that of DB.NewBatch, from which
// PutTTL takes the time, or, for the zero Batch, that of the first keyspace that
// it was given an operation on since it was last reset. Keyspaces of another are
// refused, and Apply refuses the batch of another, both with ErrInvalidOptions.
//
// Its operations are on the default keyspace; see Batch.In for others.
type Batch struct{ writer }

// NewBatch returns an empty batch.
func (db *DB) NewBatch() *Batch {
	x := new(struct { // in one piece
		Batch
		collected
	})
	x.collected.e = db.e
	x.Batch.writer = writer{e: db.e, b: &x.collected}
	return &x.Batch
}

// In returns the batch with its writes in a keyspace. It is no batch of its own: Len,
// Size, Reset, Each and DB.Apply are about all operations, in the order in which they
// were added. The keyspace must be of the database that the batch belongs to, and of the
// same opening: else its operations are refused with ErrInvalidOptions, and so is the
// batch.
func (b *Batch) In(k *Keyspace) *Batch {
	return &Batch{writer{e: k.e, k: k.writer.k, b: b.operations()}}
}

// Len returns the number of operations.
func (b *Batch) Len() int { return b.operations().Count() }

// Size returns the number of bytes of the encoded batch, 0 while it is empty.
func (b *Batch) Size() int { return len(b.operations().Data) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	c := b.operations()
	c.Reset()
	c.in = nil
}

// Apply commits a batch atomically: readers, snapshots, iterators and crashes
// see all of it or nothing. d may ask for more durability than the database
// was opened with, never for less.
//
// A nil error means that the batch is visible and as durable as asked. Any
// other error is definite, the batch will never appear, unless it is
// ErrCommitUnknown.
func (db *DB) Apply(b *Batch, d Durability) error {
	return db.ApplyContext(context.Background(), b, d)
}

// ApplyContext is Apply, and gives up with the error of ctx, with nothing
// applied, if that ends while writers are slowed or stopped because compaction
// is behind. From the moment the batch has its place in the log it is carried
// through.
func (db *DB) ApplyContext(ctx context.Context, b *Batch, d Durability) error {
	c := b.operations()
	if of := c.of(); of != nil && of != db.e {
		return db.e.Foreign(of, "the batch")
	}
	_, err := db.e.CommitContext(ctx, &c.Batch, engine.Durability(d))
	return err
}

// collected are the operations of a batch.
type collected struct {
	batch.Batch
	e  *engine.Engine // of NewBatch; nil for the zero Batch
	in *engine.Engine // of the keyspaces written to; nil while there are none
}

// operations are the batch's own, which the zero Batch does not have yet.
func (w *writer) operations() *collected {
	if w.b == nil {
		w.b = new(collected)
	}
	return w.b
}

// of is the opening that the batch belongs to, or nil.
func (c *collected) of() *engine.Engine {
	if c.e != nil {
		return c.e
	}
	return c.in
}

// claim refuses operations on a keyspace that the batch may not write to.
func (c *collected) claim(k *engine.Keyspace, e *engine.Engine) {
	switch of := c.of(); of {
	case e:
	case nil:
		c.in = e
	default:
		c.Refuse(of.Foreign(e, k.Describe()))
	}
}

// OpKind says what an operation does.
type OpKind uint8

// The kinds of operations.
const (
	OpPut OpKind = iota
	OpDelete
	OpSingleDelete
	OpDeleteRange
	OpMerge
	OpPutTTL
)

// Op is an operation of a batch. Its slices belong to the batch.
type Op struct {
	Kind     OpKind
	Keyspace uint32    // number of the keyspace; 0 is the default one
	Key      []byte    // of a DeleteRange: where it begins
	Value    []byte    // of a Put, PutTTL or Merge
	End      []byte    // of a DeleteRange; nil = no end
	Expires  time.Time // of a PutTTL; PutUntil takes it
}

// opKinds are the kinds of operations as they are encoded.
var opKinds = [...]OpKind{
	base.KindPut: OpPut, base.KindDelete: OpDelete, base.KindSingleDelete: OpSingleDelete,
	base.KindRangeDelete: OpDeleteRange, base.KindMerge: OpMerge, base.KindPutTTL: OpPutTTL,
}

// Each calls fn for each operation in order, until it returns false. The slices
// are valid during the call.
func (b *Batch) Each(fn func(Op) bool) error {
	for r := b.operations().Reader(); ; {
		o, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		op := Op{Kind: opKinds[o.Kind], Keyspace: o.Keyspace, Key: o.Key, Value: o.Value}
		switch op.Kind {
		case OpDeleteRange:
			op.Value = nil
			if len(o.Value) > 0 {
				op.End = o.Value
			}
		case OpPutTTL:
			var expiry uint64
			expiry, op.Value = o.Expiry()
			op.Expires = time.UnixMilli(int64(expiry))
		}
		if !fn(op) {
			return nil
		}
	}
}
