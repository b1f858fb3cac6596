package readstate

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// RangeLists adds the range tombstones of the run's tables to into. It skips
// tables that cannot be opened, which only means that less can be dropped.
func (r *Run) RangeLists(into map[base.FileNum]*rangedel.List) {
	if !r.Ranges {
		return
	}
	for _, t := range r.Tables {
		if t.Meta.Ranges == 0 {
			continue
		}
		if rd, err := t.Use(); err == nil {
			if l := rd.Ranges(); l != nil {
				into[t.Meta.Num] = l
			}
			_ = rd.Close() // the list stays valid
		}
	}
}

// weighKeys is how many keys of a memtable, for each keyspace, are looked up to
// weigh it.
const weighKeys = 256

// HiddenBytes estimates how many bytes in the tables of a keyspace are hidden
// by entries of the active memtable that every snapshot sees. It asks the
// filters for a sample of the keys, and takes hidden entries to have the
// average size in their table.
func (s *State) HiddenBytes(keyspace uint32, oldest base.SeqNum) uint64 {
	if s.v.of(keyspace) == &noLevels {
		return 0
	}
	it := s.Active.Mem.AllIter(keyspace)
	if it == nil {
		return 0
	}
	defer func() { _ = it.Close() }()
	step := max(s.Active.Mem.Len()/weighKeys, 1)
	n, hidden := 0, 0.0
	for kv := it.First(); kv != nil; kv = it.Next() {
		if n++; n%step != 0 || kv.Trailer.Kind() == base.KindMerge || kv.Trailer.Seq() > oldest {
			continue
		}
		hidden += s.entryBytes(keyspace, kv.Key) * float64(step)
	}
	return uint64(hidden)
}

// entryBytes returns roughly the size of the newest entry of a key in tables,
// with its value.
func (s *State) entryBytes(keyspace uint32, key []byte) float64 {
	hash := base.Hash(key)
	ls := s.v.of(keyspace)
	for l := range ls {
		for i := range ls[l] {
			t := ls[l][i].Find(key)
			if t == nil {
				continue
			}
			if r, err := t.open(true); err != nil || !r.MayContain(hash) {
				continue
			}
			return float64(t.Meta.Size+t.Meta.ValueBytes()) / float64(max(t.Meta.Entries, 1))
		}
	}
	return 0
}
