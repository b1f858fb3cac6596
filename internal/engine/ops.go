package engine

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// Ops adds operations on one keyspace to a batch.
type Ops struct {
	b   *batch.Batch
	k   uint32
	ttl time.Duration // of a put; 0 = no expiry
	e   *Engine       // its clock is used; nil = the system's
}

// OpsOn returns Ops that add operations on a keyspace to b; a nil k is the default
// keyspace. TTLs count from the time of e's clock, or of the system's if e is nil.
func OpsOn(b *batch.Batch, k *Keyspace, e *Engine) Ops {
	if k == nil {
		return Ops{b: b, e: e}
	}
	return Ops{b, k.ID(), k.TTL(), e}
}

// Put sets key to value, for the keyspace's TTL.
func (o Ops) Put(key, value []byte) error {
	if o.ttl != 0 {
		return o.PutTTL(key, value, o.ttl)
	}
	return o.b.Put(o.k, key, value)
}

// Delete removes key.
func (o Ops) Delete(key []byte) error { return o.b.Delete(o.k, key) }

// SingleDelete removes a key that was put once since it was last deleted.
func (o Ops) SingleDelete(key []byte) error { return o.b.SingleDelete(o.k, key) }

// Merge adds an operand to key.
func (o Ops) Merge(key, operand []byte) error { return o.b.Merge(o.k, key, operand) }

// DeleteRange removes the keys in [lo, hi); a nil hi is no end. It adds no operation for
// an empty range: the encoding takes an empty end for no end.
func (o Ops) DeleteRange(lo, hi []byte) error {
	if hi != nil && bytes.Compare(lo, hi) >= 0 {
		return nil
	}
	return o.b.DeleteRange(o.k, lo, hi)
}

// PutTTL sets key to value for the time d from now.
func (o Ops) PutTTL(key, value []byte, d time.Duration) error {
	now := uint64(max(time.Now().UnixMilli(), 0))
	if o.e != nil {
		now = o.e.Now()
	}
	return o.b.PutTTL(o.k, key, value, expiryAfter(now, d))
}

// PutUntil sets key to value until a time; the zero time is no expiry. It never stores
// an expiry of 0, which readers take for none.
func (o Ops) PutUntil(key, value []byte, at time.Time) error {
	if at.IsZero() {
		return o.b.Put(o.k, key, value)
	}
	return o.b.PutTTL(o.k, key, value, expiryAt(at))
}

// Expiry returns the value of LoadOptions.Expires for a time; the zero time is no expiry.
func Expiry(at time.Time) uint64 {
	if at.IsZero() {
		return 0
	}
	return expiryAt(at)
}

// LoadExpires returns a LoadOptions.Expires for rows without expiries of their own: if the
// keyspace has a TTL all of them expire by it, counted from now, else none does.
func (k *Keyspace) LoadExpires() func(key, value []byte) uint64 {
	ttl := k.TTL()
	if ttl == 0 {
		return nil
	}
	at := expiryAfter(k.e.Now(), ttl)
	return func(_, _ []byte) uint64 { return at }
}

// The first and the last expiry: the first has passed, and the last never will.
var firstExpiry, lastExpiry = time.UnixMilli(1), time.UnixMilli(1 << 62)

// expiryAt returns a time in milliseconds, rounded up.
func expiryAt(at time.Time) uint64 {
	switch at = at.Add(time.Millisecond - 1); {
	case at.Before(firstExpiry):
		at = firstExpiry
	case at.After(lastExpiry):
		at = lastExpiry
	}
	return uint64(at.UnixMilli())
}

// expiryAfter returns the time d after now in milliseconds, rounded up so that
// nothing expires early.
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

// batches pools the batches of single operations.
var batches = sync.Pool{New: func() any { return new(batch.Batch) }}

// Write commits the operations that add puts into a batch.
func (e *Engine) Write(add func(*batch.Batch) error) error {
	b := batches.Get().(*batch.Batch)
	err := add(b)
	if err == nil {
		_, err = e.Commit(b, DefaultDurability)
	}
	b.Reset() // frees large buffers
	batches.Put(b)
	return err
}

// WriteIf commits write by itself if the value of key is old, where nil means no value,
// and reports whether it did. It retries on conflicts. Each conflict means that another
// client made progress, so the retries end. The other client's write becomes visible only
// once it is durable: pauses between retries, which grow to a millisecond, wait for that
// sync without polling all the time.
func (k *Keyspace) WriteIf(key, old []byte, write func(Ops) error) (bool, error) {
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		did, err := k.tryWriteIf(key, old, write)
		if !errors.Is(err, base.ErrConflict) {
			return did, err
		}
		time.Sleep(rand.N(pause))
	}
}

// tryWriteIf is one attempt of WriteIf.
func (k *Keyspace) tryWriteIf(key, old []byte, write func(Ops) error) (bool, error) {
	t := new(Txn)
	if err := k.e.Begin(t, TxnOptions{Own: true}); err != nil {
		return false, err
	}
	defer t.Rollback() // a merge operator may panic
	now, err := t.AppendGet(k, nil, key)
	switch {
	case err == nil && (old == nil || !bytes.Equal(now, old)), errors.Is(err, base.ErrNotFound) && old != nil:
		return false, nil
	case err != nil && !errors.Is(err, base.ErrNotFound):
		return false, err
	}
	err = t.Write(k, func(b *batch.Batch) error { return write(OpsOn(b, k, k.e)) })
	if err == nil {
		_, err = t.Commit(context.Background())
	}
	return err == nil, err
}
