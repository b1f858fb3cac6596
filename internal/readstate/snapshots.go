package readstate

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
)

// What a compaction filter changes would show at once at every snapshot that sees
// the value. So the snapshots that are open when it takes effect keep the state
// that was current before, and go on reading that: all that they see is in it.
// None of them waits for the filter, nor it for them, but for those that are old,
// which would keep files for long.

// filterPatience is the age from which on an open snapshot keeps filters from
// being asked.
const filterPatience = 10 * time.Second

// Hold is the place of one snapshot among the open ones.
type Hold struct {
	since time.Time // immutable once taken
	// kept is the state that the snapshot reads, or nil if the current one will
	// do. It is stored once, under snapshots.mu, before the state is replaced;
	// shard is where it is counted.
	kept  atomic.Pointer[State]
	shard int
}

// Apart reports whether the snapshot reads a state of its own.
func (h *Hold) Apart() bool { return h.kept.Load() != nil }

// Snapshots is the multiset of sequences that open snapshots hold (the
// original kept a set, and two snapshots at one sequence shared a fate).
type Snapshots struct {
	st *Store // immutable

	mu    sync.Mutex
	seqs  []base.SeqNum // guarded by mu; ascending, with repetitions
	holds []*Hold       // guarded by mu; beside seqs
	// times are the times of those that care, ascending: time goes forward as
	// sequences do. Guarded by mu.
	times []uint64
}

// Take registers the newest visible sequence, with h, which is zero, for its
// place. The caller asked the clock just before, without locks.
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

// Drop takes out what Take registered, and lets go of the state that was kept for it.
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

// Patient reports whether no open snapshot is too old for a filter to be asked.
func (s *Snapshots) Patient() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.holds, func(h *Hold) bool { return time.Since(h.since) > filterPatience })
}

// keep makes the open snapshots go on reading cur, the current state, which is
// replaced before mu is let go. The caller holds store.mu.
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

// at returns the state that a read at a moment looks at. The caller has
// acquired s, and for as long as it holds that the snapshot is open, which
// keeps the other one.
func (s *State) at(at Point) *State {
	if at.Hold == nil {
		return s
	}
	// After the current state was pinned: if that is the one with which a filter
	// took effect, what the snapshot keeps is known by now.
	if kept := at.Hold.kept.Load(); kept != nil {
		return kept
	}
	return s
}

// KeepAt keeps the state that a read at a moment looks at.
func (st *Store) KeepAt(at Point) (*State, int) {
	s, shard := st.Keep()
	if s == nil || s.at(at) == s {
		return s, shard
	}
	s.LetGo(shard)
	// In the shard in which the snapshot is counted, which is open during the
	// call: so the count was never zero, and the state is not reclaimed.
	kept := at.Hold.kept.Load()
	kept.KeepAgain(at.Hold.shard)
	return kept, at.Hold.shard
}

// Expired returns the latest time such that what expires by it is gone for every
// open snapshot and every read to come.
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

// Stripes lists, ascending and without repetitions, the sequences at which a
// job must keep what is visible: the open snapshots and the sequence visible
// now. A snapshot taken later is at or above the last of them (I7).
func (s *Snapshots) Stripes() []base.SeqNum {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Compact(append(slices.Clone(s.seqs), s.st.Visible()))
}

// Summary returns how many snapshots are open, and the sequence of the oldest,
// 0 if none is.
func (s *Snapshots) Summary() (n int, oldest base.SeqNum) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seqs) == 0 {
		return 0, 0
	}
	return len(s.seqs), s.seqs[0]
}

// Point is what a read sees: entries up to a sequence, and of those that
// expire the ones that are left at a time.
type Point struct {
	Seq  base.SeqNum // base.SeqNumMax: the newest visible one
	Time uint64      // 0: the time at which the read begins
	Hold *Hold       // of the snapshot; nil where there is none
}

// Newest is the moment at which a read begins.
var Newest = Point{Seq: base.SeqNumMax}
