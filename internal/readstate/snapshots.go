package readstate

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
)

// A change by a compaction filter would immediately show in every snapshot that sees the
// value. So the snapshots that are open when the change takes effect keep the state that
// was current before, and continue to read it: it has everything that they see. Snapshots
// do not wait for filters, nor filters for snapshots. Only old snapshots, which would keep
// files for long, stop filters.

// filterPatience is the age at which an open snapshot stops filters from being
// called.
const filterPatience = 10 * time.Second

// Hold is the entry of one snapshot in the list of open ones.
type Hold struct {
	since time.Time // immutable once taken
	// kept is the state that the snapshot reads, or nil if it reads the current
	// one. It is stored once, under snapshots.mu, before the state is replaced.
	// shard is where it is counted.
	kept  atomic.Pointer[State]
	shard int
}

// Apart reports whether the snapshot reads a state of its own.
func (h *Hold) Apart() bool { return h.kept.Load() != nil }

// Snapshots is the multiset of the sequences of open snapshots. (The original
// kept a set, in which closing one of two snapshots at one sequence closed
// both.)
type Snapshots struct {
	st *Store // immutable

	mu    sync.Mutex
	seqs  []base.SeqNum // guarded by mu; ascending, with repetitions
	holds []*Hold       // guarded by mu; beside seqs
	// times are the times of snapshots that use them, ascending, since time
	// grows with sequences. Guarded by mu.
	times []uint64
}

// Take registers a snapshot at the newest visible sequence, with the zero h as
// its entry. The caller asked the clock just before, without locks.
func (s *Snapshots) Take(h *Hold) Point {
	h.since = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	at := Point{Seq: s.st.Visible(), Hold: h}
	i, _ := slices.BinarySearch(s.seqs, at.Seq+1)
	s.seqs = slices.Insert(s.seqs, i, at.Seq)
	s.holds = slices.Insert(s.holds, i, h)
	if at.Time = s.st.clock.Told(); at.Time != 0 {
		s.times = append(s.times, at.Time)
	}
	return at
}

// Drop removes a snapshot that Take registered, and releases the state that was
// kept for it.
func (s *Snapshots) Drop(at Point) {
	s.mu.Lock()
	if i := slices.Index(s.holds, at.Hold); i >= 0 {
		s.seqs = slices.Delete(s.seqs, i, i+1)
		s.holds = slices.Delete(s.holds, i, i+1)
	}
	if i, ok := slices.BinarySearch(s.times, at.Time); ok {
		s.times = slices.Delete(s.times, i, i+1)
	}
	s.mu.Unlock()
	if kept := at.Hold.kept.Load(); kept != nil {
		kept.LetGo(at.Hold.shard)
	}
}

// Patient reports whether all open snapshots are young enough for filters to be
// called.
func (s *Snapshots) Patient() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.holds, func(h *Hold) bool { return time.Since(h.since) > filterPatience })
}

// keep makes the open snapshots go on reading cur, the current state. The
// caller holds store.mu, and replaces the state before it calls unlock.
func (s *Snapshots) keep(cur *State) (unlock func()) {
	s.mu.Lock()
	for _, h := range s.holds {
		if h.kept.Load() == nil {
			cur.refs[h.shard].kept.Add(1)
			h.kept.Store(cur)
		}
	}
	return s.mu.Unlock
}

// at returns the state for a read at a point. The caller has acquired s, which
// ensures that the snapshot is open, and that keeps the other state.
func (s *State) at(at Point) *State {
	if at.Hold == nil {
		return s
	}
	// After the current state is pinned: if a filter took effect with it, the
	// state that the snapshot keeps is known by now.
	if kept := at.Hold.kept.Load(); kept != nil {
		return kept
	}
	return s
}

// KeepAt keeps the state for a read at a point.
func (st *Store) KeepAt(at Point) (*State, int) {
	s, shard := st.Keep()
	if s == nil || s.at(at) == s {
		return s, shard
	}
	s.LetGo(shard)
	// Count in the shard in which the snapshot is counted. That is open during
	// the call, so the count was never zero and the state is not reclaimed.
	kept := at.Hold.kept.Load()
	kept.KeepAgain(at.Hold.shard)
	return kept, at.Hold.shard
}

// Expired returns the latest time such that values that expire by it are gone
// for every open snapshot and every later read.
func (s *Snapshots) Expired() uint64 {
	c := s.st.clock
	c.Tick()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.Used() {
		return 0
	}
	t := c.Mark()
	if len(s.times) > 0 {
		t = min(t, s.times[0])
	}
	return t
}

// Stripes returns, ascending and without repetitions, the sequences at which a
// job must keep what is visible: those of the open snapshots and the visible
// one. A snapshot taken later is at or above the last of them (I7).
func (s *Snapshots) Stripes() []base.SeqNum {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Compact(append(slices.Clone(s.seqs), s.st.Visible()))
}

// Summary returns the number of open snapshots and the sequence of the oldest,
// or 0.
func (s *Snapshots) Summary() (n int, oldest base.SeqNum) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seqs) == 0 {
		return 0, 0
	}
	return len(s.seqs), s.seqs[0]
}

// Point is what a read sees: entries up to a sequence that are not expired at a
// time.
type Point struct {
	Seq  base.SeqNum // base.SeqNumMax for the newest visible one
	Time uint64      // 0 for the time at which the read begins
	Hold *Hold       // of the snapshot, or nil
}

// Newest is the point of a read that is not at a snapshot.
var Newest = Point{Seq: base.SeqNumMax}
