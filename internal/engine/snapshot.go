package engine

import (
	"slices"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
)

// What a compaction filter changes shows at once at every snapshot that sees the
// value, so it is installed only while there is none: filterMu keeps a new one
// from being taken between the look and the change of state.

// snapshots is the multiset of sequences that open snapshots hold (the
// original kept a set, and two snapshots at one sequence shared a fate).
type snapshots struct {
	filterMu sync.RWMutex // taken before commit.mu; by whoever calls take, for reading

	mu   sync.Mutex
	seqs []base.SeqNum // guarded by mu; ascending, with repetitions
	// times are the times of those that care, ascending: time goes forward as
	// sequences do. Guarded by mu.
	times []uint64
}

// take registers the newest visible sequence.
func (s *snapshots) take(e *Engine) Moment {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := Moment{Seq: e.visibleSeq()}
	i, _ := slices.BinarySearch(s.seqs, at.Seq+1)
	s.seqs = slices.Insert(s.seqs, i, at.Seq)
	if at.Time = e.clock.ifUsed(); at.Time != 0 {
		s.times = append(s.times, at.Time)
	}
	return at
}

func (s *snapshots) drop(at Moment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := slices.BinarySearch(s.seqs, at.Seq); ok {
		s.seqs = slices.Delete(s.seqs, i, i+1)
	}
	if i, ok := slices.BinarySearch(s.times, at.Time); ok {
		s.times = slices.Delete(s.times, i, i+1)
	}
}

// expired is the latest time such that what expires by it is gone for every
// open snapshot and every read to come.
func (s *snapshots) expired(c *clock) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.times) > 0 {
		return s.times[0]
	}
	return c.ifUsed()
}

// stripes lists, ascending and without repetitions, the sequences at which a
// job must keep what is visible: the open snapshots and the sequence visible
// now. A snapshot taken later is at or above the last of them (I7).
func (s *snapshots) stripes(visible func() base.SeqNum) []base.SeqNum {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Compact(append(slices.Clone(s.seqs), visible()))
}

func (s *snapshots) summary() (n int, oldest base.SeqNum) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seqs) == 0 {
		return 0, 0
	}
	return len(s.seqs), s.seqs[0]
}

// Snapshot pins one sequence: reads through it do not move. It is safe for
// concurrent use.
type Snapshot struct {
	e      *Engine
	at     Moment
	origin origin
	mu     sync.RWMutex
	closed bool // guarded by mu
}

// NewSnapshot takes a snapshot of everything visible now.
func (e *Engine) NewSnapshot() *Snapshot {
	s := &Snapshot{e: e}
	if e.closed.Load() {
		s.closed = true
		return s
	}
	e.snaps.filterMu.RLock()
	s.at = e.snaps.take(e)
	e.snaps.filterMu.RUnlock()
	e.open.add(&s.origin, originSnapshot, Caller(1, 2))
	return s
}

// Seq is the sequence that the snapshot sees.
func (s *Snapshot) Seq() base.SeqNum { return s.at.Seq }

// AppendGet is Keyspace.AppendGet at the snapshot.
func (s *Snapshot) AppendGet(k *Keyspace, dst, key []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return dst, base.ErrClosed
	}
	return k.AppendGet(dst, key, s.at)
}

// View is Keyspace.View at the snapshot.
func (s *Snapshot) View(k *Keyspace, key []byte, fn func(value []byte) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return base.ErrClosed
	}
	return k.View(key, s.at, fn)
}

// Has is Keyspace.Has at the snapshot.
func (s *Snapshot) Has(k *Keyspace, key []byte) (bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return false, base.ErrClosed
	}
	return k.Has(key, s.at)
}

// NewIter is Keyspace.NewIter at the snapshot. The iterator outlives it.
func (s *Snapshot) NewIter(k *Keyspace, o IterOptions) (*Iter, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, base.ErrClosed
	}
	return k.NewIter(o, s.at)
}

// Close lets the snapshot go. It is idempotent.
func (s *Snapshot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.e.snaps.drop(s.at)
	s.e.open.remove(&s.origin)
	return nil
}
