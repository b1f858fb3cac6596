package engine

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// RangeEstimate is what lies in a range of keys, about.
type RangeEstimate struct {
	Entries                               uint64
	TableBytes, ValueBytes, MemtableBytes uint64
}

// EstimateRange estimates what lies at lo <= key < hi; nil is unbounded. It opens the
// tables that lo or hi cut, and reads nothing else.
func (k *Keyspace) EstimateRange(lo, hi []byte) (RangeEstimate, error) {
	var est RangeEstimate
	s, shard := k.e.keep()
	if s == nil {
		return est, base.ErrClosed
	}
	defer s.letGo(shard)
	if err := k.usable(); err != nil { // asked of a state that is as new as the drop, if it was
		return est, err
	}
	if hi != nil && bytes.Compare(hi, lo) <= 0 {
		return est, nil
	}
	ls := s.v.of(k)
	for l := range ls {
		for i := range ls[l] {
			if err := ls[l][i].estimate(&est, lo, hi); err != nil {
				return RangeEstimate{}, err
			}
		}
	}
	k.estimateMemtables(&est, s, lo, hi)
	return est, nil
}

// estimate adds what the tables of a run have in a range.
func (r *tableRun) estimate(est *RangeEstimate, lo, hi []byte) error {
	for _, t := range r.tables[r.search(lo):] {
		if hi != nil && bytes.Compare(t.meta.Smallest, hi) >= 0 {
			break
		}
		if err := t.estimate(est, lo, hi); err != nil {
			return err
		}
	}
	return nil
}

// estimate adds what a table has in a range, which it meets.
func (t *table) estimate(est *RangeEstimate, lo, hi []byte) error {
	m := t.meta
	part := sstable.Rank{Entries: m.Entries, Bytes: m.Size}
	cutLow, cutHigh := bytes.Compare(m.Smallest, lo) < 0, hi != nil && !m.EndsBefore(hi)
	if cutLow || cutHigh {
		r, err := t.use()
		if err != nil {
			return err
		}
		if cutHigh {
			part = r.Rank(hi)
		}
		if cutLow {
			before := r.Rank(lo)
			part.Entries -= min(before.Entries, part.Entries)
			part.Bytes -= min(before.Bytes, part.Bytes)
		}
		_ = r.Close() // of a table that is gone, which nothing is lost with
	}
	est.Entries += part.Entries
	est.TableBytes += part.Bytes
	if m.Entries > 0 {
		share := float64(part.Entries) / float64(m.Entries)
		est.ValueBytes += uint64(share*float64(m.ValueBytes()) + 0.5)
	}
	return nil
}

// estimateMemtables adds what the memtables of a keyspace have in a range.
func (k *Keyspace) estimateMemtables(est *RangeEstimate, s *state, lo, hi []byte) {
	for i := range 1 + len(s.imm) {
		n, size := s.generation(i).Mem.Estimate(k.id, lo, hi)
		est.Entries += n
		est.MemtableBytes += size
	}
}
