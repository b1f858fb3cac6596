package engine

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// AppendGet appends the value of key to dst, as seen at sequence at, or at the
// newest visible one when at is base.SeqNumMax. It returns base.ErrNotFound
// when there is none. It takes no lock, builds no iterator and allocates only
// when dst has no room.
func (e *Engine) AppendGet(dst, key []byte, at base.SeqNum) ([]byte, error) {
	return e.lookup(dst, key, at, true)
}

// Has reports whether key exists, without reading its value.
func (e *Engine) Has(key []byte, at base.SeqNum) (bool, error) {
	_, err := e.lookup(nil, key, at, false)
	if err == base.ErrNotFound {
		return false, nil
	}
	return err == nil, err
}

func (e *Engine) lookup(dst, key []byte, at base.SeqNum, want bool) ([]byte, error) {
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
	dst, err := s.get(dst, key, at, want, st)
	s.release(shard)
	st.end(timed)
	return dst, err
}

// get walks from the newest place to the oldest (I6): the first entry found
// is the answer.
func (s *state) get(dst, key []byte, at base.SeqNum, want bool, st *readStats) ([]byte, error) {
	hash := base.Hash(key)
	if t, v, ok := s.mem.mem.Get(key, hash, at); ok {
		return s.found(dst, t, v, want, st)
	}
	for _, g := range s.imm {
		if t, v, ok := g.mem.Get(key, hash, at); ok {
			return s.found(dst, t, v, want, st)
		}
	}
	for l := range s.v.levels {
		for i := range s.v.levels[l] {
			t := s.v.levels[l][i].find(key)
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
