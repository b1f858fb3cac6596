package seerdb

import (
	"context"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/engine"
)

// Batch collects operations that Apply commits together, all or none. It encodes them as
// they are added, and Apply writes those bytes to the log. A Batch is for one goroutine; it
// may be reset and used again after Apply.
//
// A Batch belongs to one opening of a database: a Batch made by DB.NewBatch to that DB,
// whose clock PutTTL uses; a zero Batch to the opening of the first keyspace that it gets
// an operation on, again after each Reset. It refuses operations on keyspaces of any other
// opening, and Apply of any other DB refuses the Batch, both with ErrInvalidOptions.
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

// In returns a view of the batch that writes to k. It shares the batch: Len, Size, Reset,
// Each and DB.Apply cover all operations, in the order in which they were added. If k
// belongs to another database than the batch, or to another opening of it, its operations
// fail with ErrInvalidOptions, and so does Apply.
func (b *Batch) In(k *Keyspace) *Batch {
	return &Batch{writer{e: k.e, k: k.writer.k, b: b.operations()}}
}

// Len returns the number of operations.
func (b *Batch) Len() int { return b.operations().Count() }

// Size returns the length of the encoded batch in bytes, 0 while it is empty.
func (b *Batch) Size() int { return len(b.operations().Data) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	c := b.operations()
	c.Reset()
	c.in = nil
}

// Apply commits a batch atomically: readers, snapshots, iterators and crashes see all of it
// or nothing. d may ask for more durability than the database was opened with, never for
// less.
//
// A nil error means that the batch is visible and as durable as requested. Any other error
// but ErrCommitUnknown is definite: the batch will never appear.
func (db *DB) Apply(b *Batch, d Durability) error {
	return db.ApplyContext(context.Background(), b, d)
}

// ApplyContext is like Apply, but returns the error of ctx, with nothing applied, if ctx
// ends while writers are slowed or stopped because compaction is behind. Once the batch has
// its place in the log, ApplyContext ignores ctx.
func (db *DB) ApplyContext(ctx context.Context, b *Batch, d Durability) error {
	c := b.operations()
	if of := c.of(); of != nil && of != db.e {
		return db.e.Foreign(of, "the batch")
	}
	_, err := db.e.CommitContext(ctx, &c.Batch, engine.Durability(d))
	return err
}

// collected holds the operations of a batch.
type collected struct {
	batch.Batch
	e  *engine.Engine // of NewBatch; nil for the zero Batch
	in *engine.Engine // of the keyspaces written to; nil while there are none
}

// operations returns the operations of the batch. It makes them for a zero Batch.
func (w *writer) operations() *collected {
	if w.b == nil {
		w.b = new(collected)
	}
	return w.b
}

// of returns the opening that the batch belongs to, or nil.
func (c *collected) of() *engine.Engine {
	if c.e != nil {
		return c.e
	}
	return c.in
}

// claim makes a batch that belongs to no opening belong to e, that of k. If the batch
// belongs to another opening, claim refuses k.
func (c *collected) claim(k *engine.Keyspace, e *engine.Engine) {
	switch of := c.of(); of {
	case e:
	case nil:
		c.in = e
	default:
		c.Refuse(of.Foreign(e, k.Describe()))
	}
}

// OpKind is the kind of an operation.
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
	Key      []byte    // of a DeleteRange: the first key of the range
	Value    []byte    // of a Put, PutTTL or Merge
	End      []byte    // of a DeleteRange; nil = no end
	Expires  time.Time // of a PutTTL, in the form that PutUntil takes
}

// opKinds maps the kinds that a batch encodes to those of an Op.
var opKinds = [...]OpKind{
	base.KindPut: OpPut, base.KindDelete: OpDelete, base.KindSingleDelete: OpSingleDelete,
	base.KindRangeDelete: OpDeleteRange, base.KindMerge: OpMerge, base.KindPutTTL: OpPutTTL,
}

// Each calls fn for each operation in order until fn returns false. The slices of an Op are
// valid during that call of fn.
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
