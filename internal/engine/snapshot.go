package engine

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/clock"
)

// What a compaction filter changes would show at once at every snapshot that sees
// the value. So the snapshots that are open when it takes effect keep the state
// that was current before, and go on reading that: all that they see is in it.
// None of them waits for the filter, nor it for them, but for those that are old,
// which would keep files for long.

// filterPatience is the age from which on an open snapshot keeps filters from
// being asked.
const filterPatience = 10 * time.Second

// hold is the place of one snapshot among the open ones.
type hold struct {
	since time.Time // immutable once taken
	// kept is the state that the snapshot reads, or nil if the current one will
	// do. It is stored once, under snapshots.mu, before the state is replaced;
	// shard is where it is counted.
	kept  atomic.Pointer[state]
	shard int
}

// snapshots is the multiset of sequences that open snapshots hold (the
// original kept a set, and two snapshots at one sequence shared a fate).
type snapshots struct {
	mu    sync.Mutex
	seqs  []base.SeqNum // guarded by mu; ascending, with repetitions
	holds []*hold       // guarded by mu; beside seqs
	// times are the times of those that care, ascending: time goes forward as
	// sequences do. Guarded by mu.
	times []uint64
}

// take registers the newest visible sequence, with h, which is zero, for its
// place. The caller asked the clock just before, without locks.
func (s *snapshots) take(e *Engine, h *hold) ReadPoint {
	h.since = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	at := ReadPoint{Seq: e.visibleSeq(), hold: h}
	i, _ := slices.BinarySearch(s.seqs, at.Seq+1)
	s.seqs = slices.Insert(s.seqs, i, at.Seq)
	s.holds = slices.Insert(s.holds, i, h)
	if at.Time = e.clock.Told(); at.Time != 0 {
		s.times = append(s.times, at.Time)
	}
	return at
}

// drop takes out what take registered.
func (s *snapshots) drop(at ReadPoint) {
	s.mu.Lock()
	if i := slices.Index(s.holds, at.hold); i >= 0 {
		s.seqs = slices.Delete(s.seqs, i, i+1)
		s.holds = slices.Delete(s.holds, i, i+1)
	}
	if i, ok := slices.BinarySearch(s.times, at.Time); ok {
		s.times = slices.Delete(s.times, i, i+1)
	}
	s.mu.Unlock()
	if kept := at.hold.kept.Load(); kept != nil {
		kept.letGo(at.hold.shard)
	}
}

// patient reports whether no open snapshot is too old for a filter to be asked.
func (s *snapshots) patient() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.holds, func(h *hold) bool { return time.Since(h.since) > filterPatience })
}

// keep makes the open snapshots go on reading cur, the current state, which is
// replaced before mu is let go. The caller holds Engine.mu.
func (s *snapshots) keep(cur *state) (unlock func()) {
	s.mu.Lock()
	for _, h := range s.holds {
		if h.kept.Load() == nil {
			cur.refs[h.shard].kept.Add(1)
			h.kept.Store(cur)
		}
	}
	return s.mu.Unlock
}

// at is the state that a read at a moment looks at. The caller has acquired s, and
// for as long as it holds that the snapshot is open, which keeps the other one.
func (s *state) at(at ReadPoint) *state {
	if at.hold == nil {
		return s
	}
	// After the current state was pinned: if that is the one with which a filter
	// took effect, what the snapshot keeps is known by now.
	if kept := at.hold.kept.Load(); kept != nil {
		return kept
	}
	return s
}

// keepAt keeps the state that a read at a moment looks at.
func (e *Engine) keepAt(at ReadPoint) (*state, int) {
	s, shard := e.keep()
	if s == nil || s.at(at) == s {
		return s, shard
	}
	s.letGo(shard)
	// In the shard in which the snapshot is counted, which is open during the
	// call: so the count was never zero, and the state is not reclaimed.
	kept := at.hold.kept.Load()
	kept.refs[at.hold.shard].kept.Add(1)
	return kept, at.hold.shard
}

// expired is the latest time such that what expires by it is gone for every
// open snapshot and every read to come.
func (s *snapshots) expired(c *clock.Clock) uint64 {
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
//
// No lock is held while it is read, since reads call the program, which may read
// it again or close it: a read holds a reference, and the last to let go drops
// the sequence.
type Snapshot struct {
	e      *Engine
	at     ReadPoint
	hold   hold
	origin openObject
	closed atomic.Bool
	refs   atomic.Int64 // reads that run, and one until Close
}

// NewSnapshot takes a snapshot of everything visible now.
func (e *Engine) NewSnapshot() *Snapshot {
	s := &Snapshot{e: e}
	if e.closed.Load() {
		s.closed.Store(true)
		return s
	}
	s.refs.Store(1)
	e.clock.IfUsed()
	s.at = e.snaps.take(e, &s.hold)
	e.open.add(&s.origin, originSnapshot, Caller(1, 2))
	return s
}

// Closed reports whether the snapshot was closed, or made of a closed engine.
func (s *Snapshot) Closed() bool { return s.closed.Load() }

// Seq is the sequence that the snapshot sees.
func (s *Snapshot) Seq() base.SeqNum { return s.at.Seq }

// enter begins a read of a keyspace, which leave ends.
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
		s.e.snaps.drop(s.at)
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
func (s *Snapshot) NewIter(k *Keyspace, o IterOptions) (*Iter, error) {
	if err := s.enter(k); err != nil {
		return nil, err
	}
	defer s.leave()
	return k.newIter(o, s.at, nil) // as many calls deep as the other ways: see Caller
}

// Close lets the snapshot go, once reads that run have ended; it does not wait
// for them. It is idempotent.
func (s *Snapshot) Close() error {
	if s.closed.CompareAndSwap(false, true) {
		s.e.open.remove(&s.origin)
		s.leave()
	}
	return nil
}
