package seerdb

import (
	"context"

	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/engine"
)

// Batch collects operations that are applied together, all or none. It is
// encoded as it grows; Apply hands those very bytes to the log. A Batch is
// used by one goroutine; it may be reset and used again after Apply.
//
// A Batch belongs to one opening of a database: that of DB.NewBatch, from which
// PutTTL takes the time, or, for the zero Batch, that of the first keyspace that
// it was given an operation on since it was last reset. Keyspaces of another are refused, and Apply
// refuses the batch of another, both with ErrInvalidOptions.
type Batch struct {
	b  batch.Batch
	e  *engine.Engine // of NewBatch; nil for the zero Batch
	in *engine.Engine // of the keyspaces written to; nil while there are none
}

// Len is the number of operations.
func (b *Batch) Len() int { return b.b.Count() }

// Size is the number of bytes of the encoded batch, 0 while it is empty.
func (b *Batch) Size() int {
	if b.b.Empty() {
		return 0
	}
	return b.b.Len()
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.b.Reset()
	b.in = nil
}

// of is the opening that the batch belongs to, or nil.
func (b *Batch) of() *engine.Engine {
	if b.e != nil {
		return b.e
	}
	return b.in
}

// apply commits the batch to a database, if it is one of it.
func (db *DB) apply(ctx context.Context, b *Batch, d Durability) error {
	if of := b.of(); of != nil && of != db.e {
		return db.e.Foreign(of, "the batch")
	}
	_, err := db.e.CommitContext(ctx, &b.b, engine.Durability(d))
	return err
}
