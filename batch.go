package seerdb

import (
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/engine"
)

// Batch collects operations that are applied together, all or none. It is
// encoded as it grows; Apply hands those very bytes to the log. A Batch is
// used by one goroutine; it may be reset and used again after Apply.
//
// A Batch from DB.NewBatch takes the time, for PutTTL, from that database.
type Batch struct {
	b batch.Batch
	e *engine.Engine // nil for the zero Batch
}

// Len is the number of operations.
func (b *Batch) Len() int { return b.b.Count() }

// Size is the number of bytes of the encoded batch.
func (b *Batch) Size() int { return b.b.Len() }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.b.Reset() }
