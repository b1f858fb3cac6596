package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// query is a point read on its way.
type query struct {
	k    *Keyspace
	key  []byte
	hash uint64 // of key
	at   ReadPoint
	want bool // the value, and not only whether there is one
	// visit, if set, gets the value where it lies instead of a copy, and the read
	// returns nil; a value that has to be put together is returned as always.
	visit func(value []byte) error
	// newest is whether it reads at what is visible and not at a snapshot, for
	// which range tombstones are kept.
	newest bool
	waited bool // for room for tables
	// views are the range tombstones of the generations, newest first, if they
	// were pinned.
	views []memtable.Ranges
	st    *readStats
}

// errNeedPin ends a read at the newest sequence that meets range tombstones of a
// generation without having pinned them.
var errNeedPin = errors.New("engine: range tombstones have to be pinned")

// AppendGet appends the value of key to dst, as seen at a moment. It returns
// base.ErrNotFound when there is none. It takes no lock, builds no iterator
// and allocates only when dst has no room; but for keys with merge operands,
// which are read through an iterator.
func (k *Keyspace) AppendGet(dst, key []byte, at ReadPoint) ([]byte, error) {
	return k.lookup(dst, key, at, true)
}

// Has reports whether key exists, without reading its value.
func (k *Keyspace) Has(key []byte, at ReadPoint) (bool, error) {
	_, err := k.lookup(nil, key, at, false)
	if err == base.ErrNotFound {
		return false, nil
	}
	return err == nil, err
}

func (k *Keyspace) lookup(dst, key []byte, at ReadPoint, want bool) ([]byte, error) {
	return k.pointGet(dst, key, at, want, nil, false)
}

// View calls fn with the value of key where it lies: in a memtable, in a cached
// page, or, if it is kept apart or merged, in a buffer. It is valid during the
// call.
func (k *Keyspace) View(key []byte, at ReadPoint, fn func(value []byte) error) error {
	buf := viewBuffers.Get().(*[]byte)
	b, err := k.pointGet((*buf)[:0], key, at, true, fn, false)
	if b == nil {
		viewBuffers.Put(buf)
		return err // fn was called
	}
	if err == nil {
		err = fn(b)
	}
	if cap(b) <= viewBufferMax {
		*buf = b
		viewBuffers.Put(buf)
	}
	return err
}

// viewBuffers hold values that have to be put together. Rare huge ones are not
// kept.
var viewBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 512)
	return &b
}}

const viewBufferMax = 1 << 20

// pointGet looks a key up. With waited it reads tables into memory though that
// is crowded.
func (k *Keyspace) pointGet(dst, key []byte, at ReadPoint, want bool, show func([]byte) error, waited bool) ([]byte, error) {
	e := k.e
	cur, shard := e.acquire()
	if cur == nil {
		return dst, base.ErrClosed
	}
	s := cur.at(at)
	if k.dropped.Load() { // asked of a state that is as new as the drop, if it was
		cur.release(shard)
		return dst, k.usable()
	}
	st := &e.stats.reads[shard]
	timed := st.Begin()
	q := query{k: k, key: key, hash: base.Hash(key), at: at, want: want, visit: show, newest: at.Seq == base.SeqNumMax, waited: waited, st: st}
	// The sequence is read after the state is pinned: what this state no
	// longer holds was already shadowed when the state was made, and a commit
	// that is newer than the state is simply not seen, as if it came later.
	if visible := s.visible(); q.at.Seq > visible {
		q.at.Seq = visible
	}
	var res []byte
	var err error
	if show == nil {
		if res, err = s.get(dst, &q); err == errNeedPin {
			res, err = s.getPinned(dst, &q)
		}
		cur.release(shard)
	} else {
		res, err = s.visit(dst, &q, cur, shard)
	}
	switch err {
	case errMerge:
		res, err = k.getMerged(dst, key, at, nil)
	case errCrowded:
		st.Count.Add(-1) // the next one is counted
		e.tablesMem.wait()
		return k.pointGet(dst, key, at, want, show, true)
	}
	st.End(timed)
	return res, err
}

// getPinned is get with the range tombstones pinned.
func (s *state) getPinned(dst []byte, q *query) ([]byte, error) {
	var room [8]memtable.Ranges
	q.views = room[:0]
	s.pinRanges(q)
	return s.get(dst, q)
}

// visit is get with q.visit, which may panic, and release of what was acquired.
func (s *state) visit(dst []byte, q *query, cur *state, shard int) ([]byte, error) {
	defer cur.release(shard)
	res, err := s.get(dst, q)
	if err == errNeedPin {
		res, err = s.getPinned(dst, q)
	}
	return res, err
}

// pinRanges fixes the range tombstones of the generations together with the
// newest sequence, as rangedel.Set.View says.
func (s *state) pinRanges(q *query) {
	for {
		q.views = q.views[:0]
		for i := range 1 + len(s.imm) {
			q.views = append(q.views, s.generation(i).Mem.Ranges(q.k.id))
		}
		q.at.Seq = s.visible()
		same := true
		for i, v := range q.views {
			same = same && v == s.generation(i).Mem.Ranges(q.k.id)
		}
		if same {
			return
		}
	}
}

// generation is the i-th newest one.
func (s *state) generation(i int) *generation.Generation {
	if i == 0 {
		return s.active
	}
	return s.imm[i-1]
}

// get walks from the newest place to the oldest (I6): the first entry found,
// or the first range tombstone that holds the key, is the answer.
func (s *state) get(dst []byte, q *query) ([]byte, error) {
	var room [128]byte
	key := memtable.MakeKey(room[:], q.k.id, q.key, q.hash)
	for i := range 1 + len(s.imm) {
		m := s.generation(i).Mem
		t, v, ok := m.Get(&key, q.at.Seq)
		if view := m.Ranges(q.k.id); !view.None() {
			if q.newest {
				if q.views == nil {
					return dst, errNeedPin
				}
				view = q.views[i]
			}
			if c := view.Cover(&key, q.at.Seq); c != 0 && (!ok || c > t.Seq()) {
				return dst, base.ErrNotFound
			}
		}
		if ok {
			return s.resolve(dst, q, t, v)
		}
	}
	return s.getTables(dst, q)
}

// getTables looks a key up in the tables of its keyspace.
func (s *state) getTables(dst []byte, q *query) ([]byte, error) {
	ls := s.v.of(q.k)
	for l := range ls {
		for i := range ls[l] {
			t := ls[l][i].find(q.key)
			if t == nil {
				continue
			}
			r, err := t.open(q.waited)
			if err != nil {
				return dst, err
			}
			st := &q.st.levels[l]
			st.reads.Add(1)
			var c base.SeqNum
			if t.meta.Ranges > 0 {
				if f := r.Ranges().Find(q.key); f != nil {
					c = f.Cover(q.at.Seq)
				}
			}
			if !r.MayContain(q.hash) {
				st.negatives.Add(1)
				if c != 0 {
					return dst, base.ErrNotFound
				}
				continue
			}
			st.pages.Add(1)
			var res sstable.Result
			ok, err := r.Get(q.key, q.at.Seq, &res)
			switch {
			case err != nil:
				s.e.damaged(err)
				return dst, err
			case c != 0 && (!ok || c > res.Trailer.Seq()):
				res.Release()
				return dst, base.ErrNotFound
			case !ok:
				if r.FilterLeftOut() {
					s.e.tablesMem.missed(st.unfiltered.Add(1))
				} else {
					st.falsePositives.Add(1)
				}
				continue
			}
			if q.visit != nil {
				return s.resolveVisited(dst, q, &res)
			}
			dst, err = s.resolve(dst, q, res.Trailer, res.Value)
			res.Release()
			return dst, err
		}
	}
	return dst, base.ErrNotFound
}

// resolveVisited is found with q.show, which may panic, for an entry of a table.
func (s *state) resolveVisited(dst []byte, q *query, res *sstable.Result) ([]byte, error) {
	defer res.Release()
	return s.resolve(dst, q, res.Trailer, res.Value)
}

// errMerge ends a point read that finds an operand.
var errMerge = errors.New("engine: a merge operand needs what is under it")

// resolve turns the newest visible entry of a key into an answer.
func (s *state) resolve(dst []byte, q *query, t base.Trailer, value []byte) ([]byte, error) {
	kind := t.Kind()
	switch kind {
	case base.KindPutTTL, base.KindPutTTLPointer:
		expiry, rest, err := splitExpiry(value)
		switch {
		case err != nil:
			return dst, err
		case expiry <= s.e.timeOf(q.at):
			return dst, base.ErrNotFound
		}
		value = rest
		kind = withoutExpiry(kind)
	}
	switch kind {
	case base.KindPut:
		switch {
		case q.visit != nil:
			return nil, q.visit(value)
		case q.want:
			dst = append(dst, value...)
		}
		return dst, nil
	case base.KindPutPointer:
		if !q.want {
			return dst, nil
		}
		q.st.values.Add(1)
		dst, err := s.v.appendValue(dst, value, q.key)
		if err != nil {
			s.e.damaged(err)
		}
		return dst, err
	case base.KindMerge:
		if q.want {
			return dst, errMerge
		}
		return dst, nil
	case base.KindDelete, base.KindSingleDelete:
		return dst, base.ErrNotFound
	}
	return dst, unknownKind(kind)
}

// timeOf is the time at a moment.
func (e *Engine) timeOf(at ReadPoint) uint64 {
	if at.Time != 0 {
		return at.Time
	}
	return e.clock.Now()
}

// splitExpiry takes the expiry off a value.
func splitExpiry(value []byte) (expiry uint64, rest []byte, err error) {
	if len(value) < base.ExpirySize {
		return 0, nil, base.Corruptf("database", -1, "an expiry of %d bytes", len(value))
	}
	return binary.LittleEndian.Uint64(value), value[base.ExpirySize:], nil
}

// withoutExpiry is the kind of a value whose expiry was taken off.
func withoutExpiry(k base.Kind) base.Kind {
	if k == base.KindPutTTLPointer {
		return base.KindPutPointer
	}
	return base.KindPut
}

// getMerged reads a key with operands; with own, some of them are those of an
// open transaction.
func (k *Keyspace) getMerged(dst, key []byte, at ReadPoint, own *writeset.Set) ([]byte, error) {
	it, err := k.newIter(IterOptions{Lower: key, Own: true}, at, own)
	if err != nil {
		return dst, err
	}
	dst, n, err := it.takeMerged(dst, key)
	if err == nil && n >= collapseFrom {
		k.collapseLater(key)
	}
	return dst, err
}

// takeMerged appends the value of a key, and closes the iterator, though the
// merge operator may panic. It returns how many operands it was made of.
func (it *Iter) takeMerged(dst, key []byte) (res []byte, operands int, err error) {
	defer func() {
		if cerr := it.Close(); cerr != nil {
			err = cerr
		}
	}()
	if it.SeekGE(key) && bytes.Equal(it.Key(), key) {
		return append(dst, it.Value()...), it.folded, nil
	}
	return dst, 0, base.ErrNotFound
}
