package engine

import (
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// Snapshot pins one sequence: all reads through it see the same state. It is safe
// for concurrent use.
//
// Reads hold no lock, because they call the program, which may read the snapshot
// again or close it. A read holds a reference instead, and the release of the last
// reference unpins the sequence.
type Snapshot struct {
	e      *Engine
	at     readstate.Point
	hold   readstate.Hold
	pin    pins.Pin
	closed atomic.Bool
	refs   atomic.Int64 // running reads, and one until Close
}

// NewSnapshot takes a snapshot of everything visible now.
func (e *Engine) NewSnapshot() *Snapshot {
	s := &Snapshot{e: e}
	if e.store.Closed() {
		s.closed.Store(true)
		return s
	}
	s.refs.Store(1)
	e.clock.IfUsed()
	s.at = e.store.Snapshots.Take(&s.hold)
	e.open.AddSnapshot(&s.pin, pins.Caller(1, 2))
	return s
}

// Closed reports whether the snapshot was closed, or taken from a closed engine.
func (s *Snapshot) Closed() bool { return s.closed.Load() }

// Seq returns the sequence that the snapshot sees.
func (s *Snapshot) Seq() base.SeqNum { return s.at.Seq }

// enter begins a read of a keyspace; leave ends it.
func (s *Snapshot) enter(k *Keyspace) error {
	if err := s.e.foreign(k); err != nil {
		return err
	}
	for n := s.refs.Load(); n > 0 && !s.closed.Load(); n = s.refs.Load() {
		if s.refs.CompareAndSwap(n, n+1) {
			return nil
		}
	}
	return base.ErrClosed
}

func (s *Snapshot) leave() {
	if s.refs.Add(-1) == 0 {
		s.e.store.Snapshots.Drop(s.at)
	}
}

// AppendGet is Keyspace.AppendGet at the snapshot.
func (s *Snapshot) AppendGet(k *Keyspace, dst, key []byte) ([]byte, error) {
	if err := s.enter(k); err != nil {
		return dst, err
	}
	defer s.leave()
	return k.AppendGet(dst, key, s.at)
}

// View is Keyspace.View at the snapshot.
func (s *Snapshot) View(k *Keyspace, key []byte, fn func(value []byte) error) error {
	if err := s.enter(k); err != nil {
		return err
	}
	defer s.leave()
	return k.View(key, s.at, fn)
}

// Has is Keyspace.Has at the snapshot.
func (s *Snapshot) Has(k *Keyspace, key []byte) (bool, error) {
	if err := s.enter(k); err != nil {
		return false, err
	}
	defer s.leave()
	return k.Has(key, s.at)
}

// NewIter is Keyspace.NewIter at the snapshot. The iterator outlives it.
func (s *Snapshot) NewIter(k *Keyspace, o dbiter.Options) (*dbiter.Iter, error) {
	if err := s.enter(k); err != nil {
		return nil, err
	}
	defer s.leave()
	return k.newIter(o, s.at, nil) // as deep in the stack as other callers of newIter: see Caller
}

// Close closes the snapshot. It does not wait for running reads: the last of them
// unpins the sequence. Close is idempotent.
func (s *Snapshot) Close() error {
	if s.closed.CompareAndSwap(false, true) {
		s.e.open.Remove(&s.pin)
		s.leave()
	}
	return nil
}
