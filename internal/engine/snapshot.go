package engine

import (
	"slices"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
)

// snapshots is the multiset of sequences that open snapshots hold (the
// original kept a set, and two snapshots at one sequence shared a fate).
type snapshots struct {
	mu   sync.Mutex
	seqs []base.SeqNum // guarded by mu; ascending, with repetitions
}

// take registers the newest visible sequence.
func (s *snapshots) take(visible func() base.SeqNum) base.SeqNum {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq := visible()
	i, _ := slices.BinarySearch(s.seqs, seq+1)
	s.seqs = slices.Insert(s.seqs, i, seq)
	return seq
}

func (s *snapshots) drop(seq base.SeqNum) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := slices.BinarySearch(s.seqs, seq); ok {
		s.seqs = slices.Delete(s.seqs, i, i+1)
	}
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
	seq    base.SeqNum
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
	s.seq = e.snaps.take(e.visibleSeq)
	e.open.add(&s.origin, originSnapshot)
	return s
}

// Seq is the sequence that the snapshot sees.
func (s *Snapshot) Seq() base.SeqNum { return s.seq }

// AppendGet is Keyspace.AppendGet at the snapshot.
func (s *Snapshot) AppendGet(k *Keyspace, dst, key []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return dst, base.ErrClosed
	}
	return k.AppendGet(dst, key, s.seq)
}

// Has is Keyspace.Has at the snapshot.
func (s *Snapshot) Has(k *Keyspace, key []byte) (bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return false, base.ErrClosed
	}
	return k.Has(key, s.seq)
}

// NewIter is Keyspace.NewIter at the snapshot. The iterator outlives it.
func (s *Snapshot) NewIter(k *Keyspace, o IterOptions) (*Iter, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, base.ErrClosed
	}
	return k.NewIter(o, s.seq)
}

// Close lets the snapshot go. It is idempotent.
func (s *Snapshot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.e.snaps.drop(s.seq)
	s.e.open.remove(&s.origin)
	return nil
}
