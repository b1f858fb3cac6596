package readstate

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/observe"
)

// Estimate estimates the entries with lo <= key < hi in a keyspace; a nil bound
// is none. It opens the tables that lo or hi cut, and reads nothing else. The
// caller keeps the state.
func (s *State) Estimate(keyspace uint32, lo, hi []byte) (observe.RangeEstimate, error) {
	var est observe.RangeEstimate
	if hi != nil && bytes.Compare(hi, lo) <= 0 {
		return est, nil
	}
	ls := s.v.of(keyspace)
	for l := range ls {
		for i := range ls[l] {
			if err := ls[l][i].estimate(&est, lo, hi); err != nil {
				return observe.RangeEstimate{}, err
			}
		}
	}
	for i := range 1 + len(s.Imm) {
		n, size := s.Generation(i).Mem.Estimate(keyspace, lo, hi)
		est.Entries += n
		est.MemtableBytes += size
	}
	return est, nil
}

// estimate adds the entries of a run's tables in a range.
func (r *Run) estimate(est *observe.RangeEstimate, lo, hi []byte) error {
	for _, t := range r.Tables[r.search(lo):] {
		if hi != nil && bytes.Compare(t.Meta.Smallest, hi) >= 0 {
			break
		}
		if err := t.estimate(est, lo, hi); err != nil {
			return err
		}
	}
	return nil
}

// estimate adds a table's entries in a range that overlaps it.
func (t *Table) estimate(est *observe.RangeEstimate, lo, hi []byte) error {
	m := t.Meta
	part := sstable.Rank{Entries: m.Entries, Bytes: m.Size}
	cutLow, cutHigh := bytes.Compare(m.Smallest, lo) < 0, hi != nil && !m.EndsBefore(hi)
	if cutLow || cutHigh {
		r, err := t.Use()
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
		_ = r.Close() // of a removed table; a failure loses nothing
	}
	est.Entries += part.Entries
	est.TableBytes += part.Bytes
	if m.Entries > 0 {
		share := float64(part.Entries) / float64(m.Entries)
		est.ValueBytes += uint64(share*float64(m.ValueBytes()) + 0.5)
	}
	return nil
}
