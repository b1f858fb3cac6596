package engine

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// AppendGet appends the value of key to dst, as seen at sequence at, or at the
// newest visible one when at is base.SeqNumMax. It returns base.ErrNotFound
// when there is none. It takes no lock, builds no iterator and allocates only
// when dst has no room.
func (k *Keyspace) AppendGet(dst, key []byte, at base.SeqNum) ([]byte, error) {
	return k.lookup(dst, key, at, true)
}

// Has reports whether key exists, without reading its value.
func (k *Keyspace) Has(key []byte, at base.SeqNum) (bool, error) {
	_, err := k.lookup(nil, key, at, false)
	if err == base.ErrNotFound {
		return false, nil
	}
	return err == nil, err
}

func (k *Keyspace) lookup(dst, key []byte, at base.SeqNum, want bool) ([]byte, error) {
	if k.dropped.Load() {
		return dst, k.usable()
	}
	e := k.e
	s, shard := e.acquire()
	if s == nil {
		return dst, base.ErrClosed
	}
	// The sequence is read after the state is pinned: what this state no
	// longer holds was already shadowed when the state was made, and a commit
	// that is newer than the state is simply not seen, as if it came later.
	if visible := e.visibleSeq(); at > visible {
		at = visible
	}
	st := &e.stats.reads[shard]
	timed := st.begin()
	dst, err := s.get(dst, k, key, at, want, st)
	s.release(shard)
	st.end(timed)
	return dst, err
}

// get walks from the newest place to the oldest (I6): the first entry found
// is the answer.
func (s *state) get(dst []byte, k *Keyspace, key []byte, at base.SeqNum, want bool, st *readStats) ([]byte, error) {
	hash := base.Hash(key)
	if k.id != 0 {
		if t, v, ok := s.getOthers(k, key, at); ok {
			return s.found(dst, t, v, want, st)
		}
		return s.getTables(dst, s.v.of(k), key, hash, at, want, st)
	}
	if t, v, ok := s.mem.mem.Get(key, hash, at); ok {
		return s.found(dst, t, v, want, st)
	}
	for _, g := range s.imm {
		if t, v, ok := g.mem.Get(key, hash, at); ok {
			return s.found(dst, t, v, want, st)
		}
	}
	return s.getTables(dst, &s.v.root, key, hash, at, want, st)
}

// getOthers looks a key up in the memtables that keyspaces share.
func (s *state) getOthers(k *Keyspace, key []byte, at base.SeqNum) (t base.Trailer, v []byte, ok bool) {
	var room [128]byte
	key = append(append(room[:0], k.prefix[:]...), key...)
	hash := base.Hash(key)
	if m := s.mem.others.Load(); m != nil {
		if t, v, ok = m.Get(key, hash, at); ok {
			return t, v, true
		}
	}
	for _, g := range s.imm {
		if m := g.others.Load(); m != nil {
			if t, v, ok = m.Get(key, hash, at); ok {
				return t, v, true
			}
		}
	}
	return 0, nil, false
}

// getTables looks a key up in the tables of a keyspace.
func (s *state) getTables(dst []byte, ls *levels, key []byte, hash uint64, at base.SeqNum, want bool, st *readStats) ([]byte, error) {
	for l := range ls {
		for i := range ls[l] {
			t := ls[l][i].find(key)
			if t == nil {
				continue
			}
			r, err := t.open()
			if err != nil {
				return dst, err
			}
			st.levels[l].reads.Add(1)
			if !r.MayContain(hash) {
				st.levels[l].negatives.Add(1)
				continue
			}
			st.levels[l].pages.Add(1)
			var res sstable.Result
			ok, err := r.Get(key, at, &res)
			if err != nil {
				s.e.damaged(err)
				return dst, err
			}
			if !ok {
				st.levels[l].falsePositives.Add(1)
				continue
			}
			dst, err = s.found(dst, res.Trailer, res.Value, want, st)
			res.Release()
			return dst, err
		}
	}
	return dst, base.ErrNotFound
}

// found turns the newest visible entry of a key into an answer.
func (s *state) found(dst []byte, t base.Trailer, value []byte, want bool, st *readStats) ([]byte, error) {
	switch t.Kind() {
	case base.KindPut:
		if want {
			dst = append(dst, value...)
		}
		return dst, nil
	case base.KindPutPointer:
		if !want {
			return dst, nil
		}
		st.values.Add(1)
		dst, err := s.v.appendValue(dst, value)
		if err != nil {
			s.e.damaged(err)
		}
		return dst, err
	case base.KindDelete:
		return dst, base.ErrNotFound
	}
	return dst, unknownKind(t.Kind())
}
