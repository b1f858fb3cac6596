package seerdb

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// Batch collects operations that are applied together, all or none. It is
// encoded as it grows; Apply hands those very bytes to the log. A Batch is
// used by one goroutine; it may be reset and used again after Apply.
type Batch struct{ b batch.Batch }

// Put sets key to value. Both are copied. The last operation on a key wins.
func (b *Batch) Put(key, value []byte) error { return b.b.Put(0, key, value) }

// Delete removes key. Deleting a key that is not there is no error.
func (b *Batch) Delete(key []byte) error { return b.b.Delete(0, key) }

// Len is the number of operations.
func (b *Batch) Len() int { return b.b.Count() }

// Size is the number of bytes of the encoded batch.
func (b *Batch) Size() int { return b.b.Len() }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.b.Reset() }

// Each calls fn for each operation in order, with value nil for a delete,
// until it returns false. The slices are valid during the call.
func (b *Batch) Each(fn func(key, value []byte, deleted bool) bool) error {
	for r := b.b.Reader(); ; {
		op, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		if !fn(op.Key, op.Value, op.Kind == base.KindDelete) {
			return nil
		}
	}
}
