package readstate

import (
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// Query is a point read: Begin pins the state, Get finds the entry, Done
// releases the state. It is used by one goroutine, which calls Done after each
// Begin that returned true.
type Query struct {
	key      []byte
	hash     uint64 // of key
	keyspace uint32
	at       Point
	waited   bool // the caller has waited for room for tables
	// newest is set if it reads at the visible sequence and not at a snapshot,
	// for which range tombstones are kept.
	newest bool
	inPage bool // Value lies in page, which is pinned

	cur   *State // acquired, counted in shard
	shard int
	s     *State // the state to read: cur, or the one that a snapshot keeps
	st    *readStats
	timed time.Time // when it began, if it is sampled for latency

	Value []byte            // the result of Get, in place: valid until Done
	page  sstable.Result    // contains Value, if inPage
	views []memtable.Ranges // range tombstones of the generations, newest first, once they are pinned
}

// Outcome is the result of a point read.
type Outcome uint8

const (
	Absent   Outcome = iota // no entry, or a deleted or expired one
	Plain                   // Value is the value
	Pointer                 // Value is a pointer to the value: see Fetch
	Operand                 // an operand: an iterator has to compute the value
	Crowded                 // memory has no room for a table: wait for room with nothing pinned, and Begin again
	Failed                  // an error
	unpinned                // internal: range tombstones have to be pinned
)

// Begin pins the current state for a read of a key. It returns false if the
// database is closed. With waited it reads tables into memory even if that is
// crowded.
func (q *Query) Begin(st *Store, keyspace uint32, key []byte, at Point, waited bool) bool {
	q.keyspace, q.key, q.at, q.waited = keyspace, key, at, waited
	if q.cur, q.shard = st.Acquire(); q.cur == nil {
		return false
	}
	q.s, q.st = q.cur.at(at), &st.reads[q.shard]
	q.timed = q.st.Begin()
	return true
}

// Ended records the latency of the read, which Begin counted and which may have
// continued after Done.
func (q *Query) Ended() { q.st.End(q.timed) }

// Uncounted subtracts the read from the count, because another one replaces it.
func (q *Query) Uncounted() { q.st.Count.Add(-1) }

// Done releases what the read has pinned.
func (q *Query) Done() {
	if q.inPage {
		q.page.Release()
	}
	q.cur.Release(q.shard)
}

// Get finds the newest visible entry of the key and returns what it means. It
// takes no lock, builds no iterator and allocates nothing.
func (q *Query) Get() (Outcome, error) {
	q.hash, q.newest = base.Hash(q.key), q.at.Seq == base.SeqNumMax
	// Read the sequence after pinning the state: what this state no longer
	// holds was shadowed when it was made, and a commit newer than the state is
	// not seen, as if it came later.
	if visible := q.s.Visible(); q.at.Seq > visible {
		q.at.Seq = visible
	}
	t, out, err := q.find()
	if out == unpinned {
		var room [8]memtable.Ranges
		q.pinRanges(room[:0])
		t, out, err = q.find()
	}
	if out == Plain {
		if out, err = q.classify(t); err != nil {
			q.s.st.o.Damaged(err)
		}
	}
	return out, err
}

// pinRanges takes the range tombstones of the generations together with the
// newest sequence, as rangedel.Set.View requires.
func (q *Query) pinRanges(room []memtable.Ranges) {
	for {
		q.views = room
		for i := range 1 + len(q.s.Imm) {
			q.views = append(q.views, q.s.Generation(i).Mem.Ranges(q.keyspace))
		}
		q.at.Seq = q.s.Visible()
		same := true
		for i, v := range q.views {
			same = same && v == q.s.Generation(i).Mem.Ranges(q.keyspace)
		}
		if same {
			return
		}
	}
}

// Generation returns the i-th newest generation.
func (s *State) Generation(i int) *generation.Generation {
	if i == 0 {
		return s.Active
	}
	return s.Imm[i-1]
}

// find searches the sources from newest to oldest (I6). The first entry of the
// key, or the first range tombstone over it, is the answer. The outcome Plain
// means an entry of any kind, with its stored value in Value.
func (q *Query) find() (base.Trailer, Outcome, error) {
	var key memtable.Key
	if q.keyspace == 0 {
		key = memtable.RootKey(q.key, q.hash)
	} else {
		var room [128]byte // clearing it costs some 5 ns: only where it is needed
		key = memtable.MakeKey(room[:], q.keyspace, q.key, q.hash)
	}
	for i := range 1 + len(q.s.Imm) {
		m := q.s.Generation(i).Mem
		t, v, ok := m.Get(&key, q.at.Seq)
		if ranges := m.Ranges(q.keyspace); !ranges.None() {
			if q.newest {
				if q.views == nil {
					return 0, unpinned, nil
				}
				ranges = q.views[i]
			}
			if c := ranges.Cover(&key, q.at.Seq); c != 0 && (!ok || c > t.Seq()) {
				return 0, Absent, nil
			}
		}
		if ok {
			q.Value = v
			return t, Plain, nil
		}
	}
	return q.findInTables()
}

// findInTables is find for the tables of the keyspace.
func (q *Query) findInTables() (base.Trailer, Outcome, error) {
	ls := q.s.v.of(q.keyspace)
	for l := range ls {
		for i := range ls[l] {
			t := ls[l][i].Find(q.key)
			if t == nil {
				continue
			}
			r, err := t.open(q.waited)
			if err == errCrowded {
				return 0, Crowded, nil
			}
			if err != nil {
				return 0, Failed, err
			}
			st := &q.st.levels[l]
			st.reads.Add(1)
			var c base.SeqNum
			if t.Meta.Ranges > 0 {
				if f := r.Ranges().Find(q.key); f != nil {
					c = f.Cover(q.at.Seq)
				}
			}
			ok := r.MayContain(q.hash)
			if !ok {
				st.negatives.Add(1)
			} else {
				st.pages.Add(1)
				if ok, err = r.Get(q.key, q.at.Seq, &q.page); err != nil {
					q.s.st.o.Damaged(err)
					return 0, Failed, err
				}
				switch {
				case ok:
					q.inPage = true
				case r.FilterLeftOut():
					q.s.st.memory.missed(st.unfiltered.Add(1))
				default:
					st.falsePositives.Add(1)
				}
			}
			switch {
			case c != 0 && (!ok || c > q.page.Trailer.Seq()):
				return 0, Absent, nil
			case ok:
				q.Value = q.page.Value
				return q.page.Trailer, Plain, nil
			}
		}
	}
	return 0, Absent, nil
}

// classify returns the meaning of the newest visible entry of the key.
func (q *Query) classify(t base.Trailer) (Outcome, error) {
	kind := t.Kind()
	if kind.Expires() {
		expiry, rest, err := base.SplitExpiry(q.Value)
		switch {
		case err != nil:
			return Failed, err
		case expiry <= q.time():
			return Absent, nil
		}
		q.Value, kind = rest, kind.WithoutExpiry()
	}
	switch kind {
	case base.KindPut:
		return Plain, nil
	case base.KindPutPointer:
		return Pointer, nil
	case base.KindMerge:
		return Operand, nil
	case base.KindDelete, base.KindSingleDelete:
		return Absent, nil
	}
	return Failed, base.UnknownKind(kind)
}

// time returns the time by which values are expired.
func (q *Query) time() uint64 {
	if q.at.Time != 0 {
		return q.at.Time
	}
	return q.s.st.clock.Now()
}

// Fetch appends the value of the pointer that Get found to dst.
func (q *Query) Fetch(dst []byte) ([]byte, error) {
	q.st.values.Add(1)
	dst, err := q.s.AppendValue(dst, q.Value, q.key)
	if err != nil {
		q.s.st.o.Damaged(err)
	}
	return dst, err
}

// Show calls fn, which may panic, with the value, and then Done.
func (q *Query) Show(fn func([]byte) error) error {
	defer q.Done()
	return fn(q.Value)
}
