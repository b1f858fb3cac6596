package txn

import (
	"cmp"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/invariant"
)

// Txn is the Tracker's part of an open transaction. The zero value has not
// begun. It may begin again after it ended.
type Txn struct {
	ReadSet
	snapshot base.SeqNum

	// Guarded by the mutex of the pipeline.
	phase        phase
	hit          base.SeqNum // while watched: the last sequence of the first commit that touched the set, or 0
	over         uint64      // the hash of a key with a conflict, or 0 if unknown
	older, newer *Txn        // list of its phase

	lost  atomic.Bool // its history is gone; only a hint for the caller that seals
	found uint64      // like over, of CheckTree; owned by the goroutine that commits
}

// phase is what the tracker does for a transaction.
type phase uint8

const (
	idle    phase = iota // not open
	tracked              // the records have all commits after its snapshot
	lost                 // the records lack some; nothing is kept for it
	watched              // each new commit is compared with its set
)

// Over returns a number that is the same for conflicts over the same key, as
// far as that is known. The transaction must have ended with a conflict.
func (x *Txn) Over() uint64 { return cmp.Or(x.found, x.over) }

// Snapshot returns the sequence that the transaction reads at.
func (x *Txn) Snapshot() base.SeqNum { return x.snapshot }

// Seal completes the set before validation. It fails if the set exceeded its
// limit. It needs no mutex.
func (x *Txn) Seal() error {
	if err := x.seal(); err != nil {
		return err
	}
	if x.lost.Load() {
		x.order()
	}
	return nil
}

// Tracker records what was written since the oldest open transaction began. All
// methods are called under the mutex of the commit pipeline.
type Tracker struct {
	rs    records
	limit int
	floor base.SeqNum // rs has every later commit while any transaction is tracked
	last  base.SeqNum // the newest sequence recorded

	// active counts the transactions that need new commits: tracked and watched
	// ones.
	active  int
	tracked txnList // ascending by snapshot
	watched txnList
	lost    txnList

	asked asked
}

// New returns a tracker whose records take at most limit bytes.
func New(limit int) *Tracker { return &Tracker{limit: max(limit, 0)} }

// txnList is a list of transactions of one phase.
type txnList struct{ oldest, newest *Txn }

func (l *txnList) add(x *Txn) {
	x.older, x.newer = l.newest, nil
	if l.newest == nil {
		l.oldest = x
	} else {
		l.newest.newer = x
	}
	l.newest = x
}

func (l *txnList) remove(x *Txn) {
	if x.older == nil {
		l.oldest = x.newer
	} else {
		x.older.newer = x.newer
	}
	if x.newer == nil {
		l.newest = x.older
	} else {
		x.newer.older = x.older
	}
	x.older, x.newer = nil, nil
}

// Begin opens a transaction that reads at the visible sequence, and whose set
// may take limit bytes. pending yields, in order, the commits that have
// sequences and are not visible yet: they are newer than the snapshot, and must
// be recorded if no other transaction is open. It may be nil if there are none.
func (t *Tracker) Begin(x *Txn, visible base.SeqNum, limit int, pending iter.Seq[*batch.Batch]) {
	if x.phase != idle {
		panic("txn: a transaction begins twice")
	}
	x.reset(limit)
	x.snapshot, x.hit, x.over, x.found = visible, 0, 0, 0
	x.lost.Store(false)
	first := t.tracked.oldest == nil
	if invariant.Enabled && !first && visible < t.tracked.newest.snapshot {
		panic("txn: the visible sequence went back")
	}
	x.phase = tracked
	t.tracked.add(x)
	t.active++
	if !first {
		return
	}
	if t.floor, t.last = visible, visible; pending != nil {
		t.keepPending(x, pending)
	}
}

// keepPending records pending commits for a transaction that is alone. It is
// separate from Begin because a loop over a func makes the variables it refers
// to escape.
func (t *Tracker) keepPending(x *Txn, pending iter.Seq[*batch.Batch]) {
	for b := range pending {
		if b == nil {
			continue // the commit failed
		}
		if t.keep(b); x.phase == lost {
			return // x lost its history: the rest is not needed
		}
	}
}

// End closes a transaction, whatever its outcome. A transaction that commits
// ends before its own commit is recorded, which need not be recorded if no
// other is open.
func (t *Tracker) End(x *Txn) {
	switch x.phase {
	case idle:
		return
	case tracked:
		t.active--
		t.tracked.remove(x)
		t.prune()
	case watched:
		t.active--
		t.watched.remove(x)
	case lost:
		t.lost.remove(x)
	}
	x.phase = idle
	if t.tracked.oldest == nil && t.watched.oldest == nil && t.lost.oldest == nil {
		t.asked.rs.reset()
	}
}

// Oldest returns the snapshot of the oldest open transaction, if there is one.
func (t *Tracker) Oldest() (oldest base.SeqNum, open bool) {
	oldest = base.SeqNumMax
	for _, l := range []*txnList{&t.tracked, &t.lost, &t.watched} {
		for x := l.oldest; x != nil; x = x.newer {
			oldest, open = min(oldest, x.snapshot), true
			if l == &t.tracked {
				break // the list is sorted
			}
		}
	}
	return oldest, open
}

// Retract removes a commit that was recorded, failed for good and never became
// visible; end is its last sequence. It may have replaced records of commits
// that did not fail: open transactions lose their history up to there, and ask
// the tree, which never contained the commit.
func (t *Tracker) Retract(end base.SeqNum) {
	t.forget(end)
	for x := t.watched.oldest; x != nil; {
		next := x.newer
		if x.hit != 0 {
			t.watched.remove(x)
			t.active--
			x.hit = 0
			t.lose(x)
		}
		x = next
	}
}

// lose moves a transaction that has just left its list to the lost ones.
func (t *Tracker) lose(x *Txn) {
	t.lost.add(x)
	x.phase = lost
	x.lost.Store(true)
}

// Record records a commit, of a transaction or not, that has just got its
// sequences. If it fails later, Retract removes it.
func (t *Tracker) Record(b *batch.Batch) {
	if t.active != 0 {
		t.record(b)
	}
}

func (t *Tracker) record(b *batch.Batch) {
	for x := t.watched.oldest; x != nil; x = x.newer {
		if x.hit == 0 && x.touched(b) {
			x.hit = b.Seq() + base.SeqNum(b.Count()) - 1
		}
	}
	if t.tracked.oldest != nil {
		t.keep(b)
	}
}

// RecordRange records that everything in [lo, hi) of a keyspace may have
// changed at seq, as when the keyspace is dropped or tables are loaded.
func (t *Tracker) RecordRange(keyspace uint32, lo, hi []byte, seq base.SeqNum) {
	if t.active == 0 || hi != nil && string(lo) >= string(hi) {
		return
	}
	g := Range{keyspace, lo, hi}
	for x := t.watched.oldest; x != nil; x = x.newer {
		if x.hit == 0 && x.overlaps(&g) {
			x.hit = seq
		}
	}
	if t.tracked.oldest != nil {
		t.advance(seq)
		t.rs.putSpan(keyspace, lo, hi, seq)
		t.shrink()
	}
}

func (t *Tracker) advance(seq base.SeqNum) {
	if invariant.Enabled && seq <= t.last {
		panic(fmt.Sprintf("txn: sequence %d is recorded after %d", seq, t.last))
	}
	t.last = seq
}

// keep adds a commit to the records.
func (t *Tracker) keep(b *batch.Batch) {
	seq := b.Seq()
	t.advance(seq)
	end := seq + base.SeqNum(b.Count()) - 1
	if b.Count() > t.limit/recordSize/2 {
		// The batch would push out most records, and itself. The mutex is not
		// held that long: what the batch wrote will be asked of the tree.
		t.forget(end)
		t.last = end
		return
	}
	for r := b.Reader(); ; seq++ {
		op, ok := next(&r)
		if !ok {
			break
		}
		switch {
		case op.Kind != base.KindRangeDelete:
			t.rs.put(op.Keyspace, op.Key, seq)
		case len(op.Value) == 0 || string(op.Key) < string(op.Value):
			t.rs.putSpan(op.Keyspace, op.Key, upper(op.Value), seq)
		}
	}
	t.last = end
	t.shrink()
}

func next(r *batch.Reader) (batch.Op, bool) {
	op, ok, err := r.Next()
	if err != nil {
		panic(fmt.Sprintf("txn: a batch that was just encoded does not decode: %v", err))
	}
	return op, ok
}

// touched reports whether a batch writes into the sealed set.
func (x *Txn) touched(b *batch.Batch) bool {
	for r := b.Reader(); ; {
		op, ok := next(&r)
		switch {
		case !ok:
			return false
		case op.Kind != base.KindRangeDelete:
			if hash := keyHash(op.Keyspace, op.Key); x.has(hash, op.Keyspace, op.Key) {
				x.over = hash
				return true
			}
		case len(op.Value) == 0 || string(op.Key) < string(op.Value):
			if x.overlaps(&Range{op.Keyspace, op.Key, upper(op.Value)}) {
				return true
			}
		}
	}
}

// shrink reduces the records to their limit.
func (t *Tracker) shrink() {
	for t.rs.bytes > t.limit {
		t.forget(t.rs.oldest.seq)
	}
}

// forget drops all records up to seq. Transactions that need them are lost, and
// records that then nothing needs are dropped too: a transaction that stays
// open for an hour costs the others nothing.
func (t *Tracker) forget(seq base.SeqNum) {
	t.floor = max(t.floor, seq)
	for x := t.tracked.oldest; x != nil && x.snapshot < t.floor; x = t.tracked.oldest {
		t.tracked.remove(x)
		t.active--
		t.lose(x)
	}
	t.prune()
}

// prune drops the records that no tracked transaction needs.
func (t *Tracker) prune() {
	if t.tracked.oldest == nil {
		t.rs.reset()
		return
	}
	t.floor = max(t.floor, t.tracked.oldest.snapshot)
	for t.rs.oldest != nil && t.rs.oldest.seq <= t.floor {
		t.rs.drop(t.rs.oldest)
	}
}

// Stats are figures of a tracker.
type Stats struct {
	Tracked, Lost, Watched int // open transactions by phase
	Records, Bytes         int
	Oldest                 base.SeqNum // snapshot of the oldest tracked one, or 0
}

// Stats returns the figures of the tracker.
func (t *Tracker) Stats() Stats {
	s := Stats{Records: t.rs.n, Bytes: t.rs.bytes + t.asked.rs.bytes}
	for x := t.lost.oldest; x != nil; x = x.newer {
		s.Lost++
	}
	for x := t.watched.oldest; x != nil; x = x.newer {
		s.Watched++
	}
	s.Tracked = t.active - s.Watched
	if x := t.tracked.oldest; x != nil {
		s.Oldest = x.snapshot
	}
	return s
}
