package readstate

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// NewestSeq returns the newest sequence at which a key was written or deleted.
func (s *State) NewestSeq(keyspace uint32, key []byte) (base.SeqNum, error) {
	hash := base.Hash(key)
	mkey := memtable.MakeKey(nil, keyspace, key, hash)
	for i := range 1 + len(s.Imm) {
		m := s.Generation(i).Mem
		t, _, _ := m.Get(&mkey, base.SeqNumMax)
		seq := t.Seq()
		if view := m.Ranges(keyspace); !view.None() {
			seq = max(seq, view.Cover(&mkey, base.SeqNumMax))
		}
		if seq != 0 {
			return seq, nil
		}
	}
	ls := s.v.of(keyspace)
	for l := range ls {
		for i := range ls[l] {
			t := ls[l][i].Find(key)
			if t == nil {
				continue
			}
			seq, err := t.newestSeq(key, hash)
			if err != nil || seq != 0 {
				return seq, err
			}
		}
	}
	return 0, nil
}

func (t *Table) newestSeq(key []byte, hash uint64) (seq base.SeqNum, err error) {
	r, err := t.Use()
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	if t.Meta.Ranges > 0 {
		if f := r.Ranges().Find(key); f != nil {
			seq = f.Cover(base.SeqNumMax)
		}
	}
	if !r.MayContain(hash) {
		return seq, nil
	}
	var res sstable.Result
	ok, err := r.Get(key, base.SeqNumMax, &res)
	if ok {
		seq = max(seq, res.Trailer.Seq())
		res.Release()
	}
	return seq, err
}

// AnyNewer reports whether a key in [lo, hi) was written or deleted after a
// sequence. It reads only memtables and tables with something newer.
func (s *State) AnyNewer(keyspace uint32, lo, hi []byte, after base.SeqNum) (bool, error) {
	for i := range 1 + len(s.Imm) {
		g := s.Generation(i)
		it := g.Mem.AllIter(keyspace)
		if it == nil {
			continue
		}
		l := g.Mem.RangeList(keyspace)
		newer, err := anyNewer(it, lo, hi, after)
		if newer = newer || l != nil && rangesNewer(l, lo, hi, after); newer || err != nil {
			return newer, err
		}
	}
	ls := s.v.of(keyspace)
	for l := range ls {
		for i := range ls[l] {
			for _, t := range ls[l][i].Tables[ls[l][i].search(lo):] {
				if hi != nil && bytes.Compare(t.Meta.Smallest, hi) >= 0 {
					break
				}
				if t.Meta.LargestSeq <= after {
					continue
				}
				if newer, err := t.anyNewer(lo, hi, after); newer || err != nil {
					return newer, err
				}
			}
		}
	}
	return false, nil
}

func (t *Table) anyNewer(lo, hi []byte, after base.SeqNum) (bool, error) {
	r, err := t.Use()
	if err != nil {
		return false, err
	}
	defer func() { _ = r.Close() }()
	if l := r.Ranges(); l != nil && rangesNewer(l, lo, hi, after) {
		return true, nil
	}
	return anyNewer(r.NewIter(sstable.IterOptions{Scan: true}), lo, hi, after)
}

// anyNewer reports whether an entry in [lo, hi) is newer than after. It closes
// the iterator.
func anyNewer(it base.Iterator, lo, hi []byte, after base.SeqNum) (newer bool, err error) {
	for kv := it.SeekGE(lo, base.TrailerMax); kv != nil && !newer; kv = it.Next() {
		if hi != nil && bytes.Compare(kv.Key, hi) >= 0 {
			break
		}
		newer = kv.Trailer.Seq() > after
	}
	return newer, it.Close()
}

// rangesNewer reports whether a range tombstone newer than after overlaps [lo,
// hi).
func rangesNewer(l *rangedel.List, lo, hi []byte, after base.SeqNum) bool {
	for i := l.Search(lo); i < l.Len(); i++ {
		f := l.At(i)
		if hi != nil && bytes.Compare(f.Lo, hi) >= 0 {
			return false
		}
		if f.Seqs[0] > after {
			return true
		}
	}
	return false
}
