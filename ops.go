package seerdb

import (
	"bytes"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/engine"
)

// ops are the operations that a batch takes, on one keyspace.
type ops struct {
	b   *batch.Batch
	k   uint32
	e   *engine.Engine // tells the time; nil: the system does
	ttl time.Duration  // of a put; 0 = for ever
}

// opsOn are the operations that b takes on a keyspace.
func opsOn(b *batch.Batch, k *engine.Keyspace, e *engine.Engine) ops {
	return ops{b, k.ID(), e, k.TTL()}
}

func (o ops) put(key, value []byte) error {
	if o.ttl != 0 {
		return o.putTTL(key, value, o.ttl)
	}
	return o.b.Put(o.k, key, value)
}

func (o ops) delete(key []byte) error         { return o.b.Delete(o.k, key) }
func (o ops) singleDelete(key []byte) error   { return o.b.SingleDelete(o.k, key) }
func (o ops) merge(key, operand []byte) error { return o.b.Merge(o.k, key, operand) }

// deleteRange leaves out what deletes nothing. In the encoding an end that is
// empty is none.
func (o ops) deleteRange(lo, hi []byte) error {
	if hi != nil && bytes.Compare(lo, hi) >= 0 {
		return nil
	}
	return o.b.DeleteRange(o.k, lo, hi)
}

func (o ops) putTTL(key, value []byte, d time.Duration) error {
	now := uint64(max(time.Now().UnixMilli(), 0))
	if o.e != nil {
		now = o.e.Now()
	}
	return o.b.PutTTL(o.k, key, value, expiryAfter(now, d))
}

// putUntil stores no expiry of 0, which is none where expiries are told.
func (o ops) putUntil(key, value []byte, at time.Time) error {
	if at.IsZero() {
		return o.b.Put(o.k, key, value)
	}
	return o.b.PutTTL(o.k, key, value, expiryAt(at))
}

// expiryOrNone is expiryAt, and 0, which is no expiry, of the zero time.
func expiryOrNone(at time.Time) uint64 {
	if at.IsZero() {
		return 0
	}
	return expiryAt(at)
}

// The first and the last moment of expiry: the one has passed, and the other will
// not.
var firstExpiry, lastExpiry = time.UnixMilli(1), time.UnixMilli(1 << 62)

// expiryAt is a moment, in milliseconds rounded up.
func expiryAt(at time.Time) uint64 {
	switch at = at.Add(time.Millisecond - 1); {
	case at.Before(firstExpiry):
		at = firstExpiry
	case at.After(lastExpiry):
		at = lastExpiry
	}
	return uint64(at.UnixMilli())
}

// expiryAfter is d after now, in milliseconds rounded up, so that nothing
// expires early.
func expiryAfter(now uint64, d time.Duration) uint64 {
	if d <= 0 {
		return now
	}
	ms := uint64(d / time.Millisecond)
	if d%time.Millisecond != 0 {
		ms++
	}
	return now + ms
}

// Put sets key to value. Both are copied. The last operation on a key wins.
func (b *Batch) Put(key, value []byte) error { return b.ops(0).put(key, value) }

// Delete removes key. Deleting a key that is not there is no error.
func (b *Batch) Delete(key []byte) error { return b.ops(0).delete(key) }

// SingleDelete is DB.SingleDelete in the batch.
func (b *Batch) SingleDelete(key []byte) error { return b.ops(0).singleDelete(key) }

// DeleteRange is DB.DeleteRange in the batch. It covers what earlier
// operations of the batch put.
func (b *Batch) DeleteRange(lo, hi []byte) error { return b.ops(0).deleteRange(lo, hi) }

// Merge is DB.Merge in the batch. Where there is no merge operator Apply refuses the
// batch.
func (b *Batch) Merge(key, operand []byte) error { return b.ops(0).merge(key, operand) }

// PutTTL is DB.PutTTL in the batch. The time runs from this call.
func (b *Batch) PutTTL(key, value []byte, d time.Duration) error {
	return b.ops(0).putTTL(key, value, d)
}

// PutUntil is DB.PutUntil in the batch.
func (b *Batch) PutUntil(key, value []byte, at time.Time) error {
	return b.ops(0).putUntil(key, value, at)
}

func (b *Batch) ops(k uint32) ops { return ops{b: &b.b, k: k, e: b.e} }

// BatchIn adds operations on one keyspace to a batch. See Batch.In.
type BatchIn struct {
	b *Batch
	k *Keyspace
}

// In returns what adds operations on a keyspace to the batch. The keyspace must
// be of the database that the batch belongs to, and of the same opening: else
// all operations are refused with ErrInvalidOptions, and so is the batch.
func (b *Batch) In(k *Keyspace) BatchIn { return BatchIn{b, k} }

// ops are the operations on the keyspace, if it may be written to by the batch.
func (b BatchIn) ops() ops {
	e := b.k.e
	switch of := b.b.of(); of {
	case e:
	case nil:
		b.b.in = e
	default:
		b.b.b.Refuse(of.Foreign(e, b.k.k.Describe()))
	}
	return opsOn(&b.b.b, b.k.k, e)
}

// Put is Batch.Put in the keyspace.
func (b BatchIn) Put(key, value []byte) error { return b.ops().put(key, value) }

// Delete is Batch.Delete in the keyspace.
func (b BatchIn) Delete(key []byte) error { return b.ops().delete(key) }

// SingleDelete is Batch.SingleDelete in the keyspace.
func (b BatchIn) SingleDelete(key []byte) error { return b.ops().singleDelete(key) }

// DeleteRange is Batch.DeleteRange in the keyspace.
func (b BatchIn) DeleteRange(lo, hi []byte) error { return b.ops().deleteRange(lo, hi) }

// Merge is Batch.Merge in the keyspace.
func (b BatchIn) Merge(key, operand []byte) error { return b.ops().merge(key, operand) }

// PutTTL is Batch.PutTTL in the keyspace.
func (b BatchIn) PutTTL(key, value []byte, d time.Duration) error {
	return b.ops().putTTL(key, value, d)
}

// PutUntil is Batch.PutUntil in the keyspace.
func (b BatchIn) PutUntil(key, value []byte, at time.Time) error {
	return b.ops().putUntil(key, value, at)
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

// Each calls fn for each operation in order, until it returns false. The slices
// are valid during the call.
func (b *Batch) Each(fn func(Op) bool) error {
	for r := b.b.Reader(); ; {
		op, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		if !fn(publicOp(&op)) {
			return nil
		}
	}
}

func publicOp(op *batch.Op) Op {
	out := Op{Keyspace: op.Keyspace, Key: op.Key}
	switch op.Kind {
	case base.KindPut:
		out.Kind, out.Value = OpPut, op.Value
	case base.KindDelete:
		out.Kind = OpDelete
	case base.KindSingleDelete:
		out.Kind = OpSingleDelete
	case base.KindMerge:
		out.Kind, out.Value = OpMerge, op.Value
	case base.KindRangeDelete:
		out.Kind = OpDeleteRange
		if len(op.Value) > 0 {
			out.End = op.Value
		}
	case base.KindPutTTL:
		expiry, value := op.Expiry()
		out.Kind, out.Value, out.Expires = OpPutTTL, value, time.UnixMilli(int64(expiry))
	}
	return out
}
