// Package sequence provides unique, growing numbers, for ids of rows: no number
// is returned twice, however many goroutines, sequences and openings of the
// database take them from one key.
//
// A sequence takes numbers in leases. A lease is one commit, which moves the
// number under the key past the lease; its numbers are then returned from
// memory. So the numbers of several sequences on one key are not in one order.
// Numbers left in a lease when the program ends are never returned, unless
// Release gave them back: a crash leaves a gap of at most a lease for each
// sequence.
//
// A lease is as durable as any commit of the database. With [seerdb.Sync] a
// number is never returned twice. In the other modes a crash may lose the
// newest commits. If a lease is among them, its numbers are returned again; but
// rows that were written to the database with them are lost too, since a log
// loses its end. Numbers that left the database before the crash are repeated:
// use Sync for numbers that others see.
//
// The key belongs to its sequences: nothing else may write or delete it once
// numbers were returned. Its value has 8 bytes, big-endian: the next number
// that no lease covers. A missing key means 1, so programs can use 0 for no
// number. To begin elsewhere, put these bytes before the first sequence is
// made. A keyspace with a TTL cannot have a sequence, since its key would
// expire.
package sequence

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/seerdb-go/seerdb"
)

var (
	// ErrForm is returned if the value of the key is not that of a sequence.
	ErrForm = errors.New("sequence: wrong form")
	// ErrUsedUp is returned when no numbers are left. The last one is
	// math.MaxUint64 - 1.
	ErrUsedUp = errors.New("sequence: all numbers are used up")
)

// first is the first number of a key without a value.
const first = 1

// Store is what a sequence needs from a store: a [seerdb.DB] or a
// [seerdb.Keyspace].
type Store interface {
	Get(key []byte) ([]byte, error)
	CompareAndSwap(key, old, value []byte) (bool, error)
	Expiry(key []byte) (at time.Time, expires bool, err error)
}

// Sequence returns unique numbers. Its methods are safe for concurrent use.
type Sequence struct {
	store Store
	key   []byte
	lease uint64

	mu        sync.Mutex
	next, end uint64 // guarded by mu; the rest of the lease: next <= n < end
}

// New returns a sequence of the numbers under a key, which it copies. Any
// number of sequences may share a key. lease is how many numbers one commit
// takes: 1 leaves no gaps and makes each Next a commit; a program that takes
// many a second should use hundreds or more. New reads the key and writes
// nothing.
//
// The error wraps [seerdb.ErrInvalidOptions] for a lease of 0 and for a
// keyspace with a TTL, and [ErrForm] if the key has another value. Otherwise it
// is the store's.
func New(store Store, key []byte, lease uint64) (*Sequence, error) {
	switch {
	case store == nil:
		return nil, fmt.Errorf("%w: a sequence without a store", seerdb.ErrInvalidOptions)
	case lease == 0:
		return nil, fmt.Errorf("%w: the lease of a sequence has 0 numbers; 1 is the least", seerdb.ErrInvalidOptions)
	case len(key) > seerdb.MaxKeySize:
		return nil, fmt.Errorf("%w: %d bytes; at most %d are allowed", seerdb.ErrKeyTooLarge, len(key), seerdb.MaxKeySize)
	}
	if k, ok := store.(interface{ TTL() time.Duration }); ok && k.TTL() != 0 {
		return nil, fmt.Errorf("%w: the keyspace of a sequence has a TTL of %v; with one, key %.200q would expire", seerdb.ErrInvalidOptions, k.TTL(), key)
	}
	s := &Sequence{store: store, key: bytes.Clone(key), lease: lease}
	if _, _, err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

// Next returns the next number of the lease. If none is left it first takes
// another lease, which is a commit, and concurrent callers wait for that. After
// an error a later call tries again. The error wraps [ErrUsedUp], [ErrForm], or
// [seerdb.ErrInvalidOptions] if the keyspace has a TTL, so that the key would
// expire; otherwise it is the store's. After [seerdb.ErrCommitUnknown] the
// lease that was being taken may become a gap.
func (s *Sequence) Next() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == s.end {
		if err := s.take(); err != nil {
			return 0, err
		}
	}
	n := s.next
	s.next++
	return n, nil
}

// take takes a lease, a shorter one at the end of the numbers. The caller holds
// mu.
func (s *Sequence) take() error {
	for {
		next, stored, err := s.read()
		if err != nil {
			return err
		}
		n := min(s.lease, math.MaxUint64-next)
		if n == 0 {
			return fmt.Errorf("%w: key %.200q", ErrUsedUp, s.key)
		}
		// Another lease, or a Release, may have changed the key in between.
		switch did, err := s.store.CompareAndSwap(s.key, stored, encode(next+n)); {
		case err != nil:
			return err
		case did:
			if err := s.checkExpiry(); err != nil {
				return err
			}
			s.next, s.end = next, next+n
			return nil
		}
	}
}

// read returns the next number that no lease covers, and the stored value, nil
// if the key has none.
func (s *Sequence) read() (next uint64, stored []byte, err error) {
	stored, err = s.store.Get(s.key)
	switch {
	case errors.Is(err, seerdb.ErrNotFound):
		return first, nil, nil
	case err != nil:
		return 0, nil, err
	case len(stored) != 8:
		return 0, nil, fmt.Errorf("%w: key %.200q has a value of %d bytes; a sequence has 8", ErrForm, s.key, len(stored))
	}
	return binary.BigEndian.Uint64(stored), stored, nil
}

// checkExpiry refuses a lease that would expire: the numbers would start over.
func (s *Sequence) checkExpiry() error {
	switch _, expires, err := s.store.Expiry(s.key); {
	case errors.Is(err, seerdb.ErrNotFound) || expires:
		return fmt.Errorf("%w: key %.200q of a sequence expires; its keyspace must have no TTL", seerdb.ErrInvalidOptions, s.key)
	default:
		return err
	}
}

// Release gives the rest of the lease back, with a commit, if no other lease
// was taken from the key since; otherwise it becomes a gap. Either way the
// sequence then has no lease, and Next takes a new one.
func (s *Sequence) Release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, end := s.next, s.end
	// Once another sequence may take the numbers this one must not return them,
	// and that can be so even after an error.
	s.next, s.end = 0, 0
	if next == end {
		return nil
	}
	_, err := s.store.CompareAndSwap(s.key, encode(end), encode(next))
	return err
}

func encode(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
