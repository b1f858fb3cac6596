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
	ttl time.Duration // of a put; 0 = for ever
	e   *Engine       // tells the time; nil: the system does
}

// OpsOn adds operations on a keyspace to b; a nil k is the default one. What expires
// after a time does so by the clock of e, or of the system if that is nil.
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

// DeleteRange removes the keys in [lo, hi), a nil hi is no end. It leaves out what
// deletes nothing: in the encoding an end that is empty is none.
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

// PutUntil sets key to value up to a moment; the zero time is no expiry. It stores
// no expiry of 0, which is none where expiries are read.
func (o Ops) PutUntil(key, value []byte, at time.Time) error {
	if at.IsZero() {
		return o.b.Put(o.k, key, value)
	}
	return o.b.PutTTL(o.k, key, value, expiryAt(at))
}

// Expiry is what LoadOptions.Expires returns for a moment: the zero time is none.
func Expiry(at time.Time) uint64 {
	if at.IsZero() {
		return 0
	}
	return expiryAt(at)
}

// LoadExpires is LoadOptions.Expires for rows that say nothing of it: all of them
// expire by the keyspace's TTL, which counts from now, or none.
func (k *Keyspace) LoadExpires() func(key, value []byte) uint64 {
	ttl := k.TTL()
	if ttl == 0 {
		return nil
	}
	at := expiryAfter(k.e.Now(), ttl)
	return func(_, _ []byte) uint64 { return at }
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

// batches are those of single operations.
var batches = sync.Pool{New: func() any { return new(batch.Batch) }}

// Write commits what add puts into a batch.
func (e *Engine) Write(add func(*batch.Batch) error) error {
	b := batches.Get().(*batch.Batch)
	err := add(b)
	if err == nil {
		_, err = e.Commit(b, DefaultDurability)
	}
	b.Reset() // which keeps no large buffer
	batches.Put(b)
	return err
}

// WriteIf does write in a commit of its own if the value of key is old, where nil
// means that it has none, and reports whether it did. A client that wins the race for
// the key has made progress, so trying again ends. What that one wrote is visible only
// once it is durable: the pauses, which grow to a millisecond, are there to wait for a
// sync without asking all the time.
func (k *Keyspace) WriteIf(key, old []byte, write func(Ops) error) (bool, error) {
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		did, err := k.tryWriteIf(key, old, write)
		if !errors.Is(err, base.ErrConflict) {
			return did, err
		}
		time.Sleep(rand.N(pause))
	}
}

// tryWriteIf is one try of WriteIf.
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
