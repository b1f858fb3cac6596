package compaction

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// The descriptions of tables often show what range tombstones delete. A table
// is covered if tombstones cover all its keys without a gap, each newer than
// everything in the table and in one stripe with all of it. Then every read,
// now or later, that sees an entry of the table also sees the tombstone over
// it.
//
// A covered table may be dropped while the tombstones stay. They hide the older
// entries that its entries hid, for the same readers, and they stay until those
// are gone (see Elider). A table stays covered: no later snapshot is older than
// a published sequence.

// RangeDeleted says how much of a table range tombstones delete.
type RangeDeleted uint8

// The degrees.
const (
	RangeDeletedNone RangeDeleted = iota
	RangeDeletedPart              // the table's own cover all its keys, but some entries may be newer
	RangeDeletedOwn               // the table's own cover all its keys and are newer than all its entries
	RangeDeletedAll               // newer ones of other tables cover it
)

// RangeDeletedTables finds the tables that range tombstones delete: see
// Workload.RangeDeleted. snapshots are as in RunOptions. ranges returns the
// range tombstones of a table that has some, nil if it cannot.
func RangeDeletedTables(v *manifest.Version, snapshots []base.SeqNum, ranges func(*manifest.FileMeta) *rangedel.List) map[base.FileNum]RangeDeleted {
	var out map[base.FileNum]RangeDeleted
	k := retention{snapshots: snapshots}
	for _, t := range v.Trees() {
		if rangesOf(t) == 0 {
			continue
		}
		var lists []*rangedel.List
		own := make(map[base.FileNum]*rangedel.List)
		t.All(func(_ int, f *manifest.FileMeta) bool {
			if f.Ranges > 0 {
				if l := ranges(f); l != nil {
					lists, own[f.Num] = append(lists, l), l
				}
			}
			return true
		})
		merged := rangedel.Merge(lists...)
		t.All(func(_ int, f *manifest.FileMeta) bool {
			c := RangeDeletedAll
			if k.rangeDeleted(f, &merged) != RangeDeletedAll {
				c = k.rangeDeleted(f, own[f.Num])
			}
			if c != RangeDeletedNone {
				if out == nil {
					out = make(map[base.FileNum]RangeDeleted)
				}
				out[f.Num] = c
			}
			return true
		})
	}
	return out
}

// rangesOf returns how many range tombstones the tables of a tree have.
func rangesOf(t *manifest.Tree) (n uint64) {
	for l := range t.Sums {
		n += t.Sums[l].Ranges
	}
	return n
}

// rangeDeleted returns how much of a table the tombstones of a list delete. If
// they are not the table's own, only RangeDeletedAll is meaningful.
func (k *retention) rangeDeleted(f *manifest.FileMeta, l *rangedel.List) RangeDeleted {
	stripe := k.stripeOf(f.SmallestSeq)
	if l == nil || stripe >= len(k.snapshots) {
		return RangeDeletedNone
	}
	c := RangeDeletedAll
	at := f.Smallest // everything before it is covered
	for i := l.Search(at); i < l.Len(); i++ {
		frag := l.At(i)
		// The newest tombstone visible to every read that sees the table's
		// oldest entry. If it is newer than the newest entry too, all are in
		// one stripe.
		s := frag.Cover(k.snapshots[stripe])
		if bytes.Compare(frag.Lo, at) > 0 || s == 0 {
			return RangeDeletedNone
		}
		switch {
		case s < f.LargestSeq:
			c = RangeDeletedPart
		case s == f.LargestSeq:
			c = min(c, RangeDeletedOwn)
		}
		if at = frag.Hi; f.End().Compare(base.EndAt(at)) <= 0 {
			return c
		}
	}
	return RangeDeletedNone
}

// Unread returns the inputs that the job need not read because range tombstones
// among its inputs, given as RunOptions.Ranges, delete all of them.
func (j *Job) Unread(ranges *rangedel.List, snapshots []base.SeqNum) map[base.FileNum]bool {
	if ranges.Len() == 0 {
		return nil
	}
	out := make(map[base.FileNum]bool)
	k := retention{snapshots: snapshots}
	j.Files(func(_ int, f *manifest.FileMeta) {
		if k.rangeDeleted(f, ranges) == RangeDeletedAll {
			out[f.Num] = true
		}
	})
	return out
}

// RangeDeletedBytes returns the bytes of tables and values that can go once
// tombstones newer than all tables of a keyspace are added to it.
func RangeDeletedBytes(v *manifest.Version, keyspace uint32, snapshots []base.SeqNum, tombstones *rangedel.List) uint64 {
	k := retention{snapshots: snapshots}
	var e extent
	v.Tree(keyspace).All(func(_ int, f *manifest.FileMeta) bool {
		if k.rangeDeleted(f, tombstones) == RangeDeletedAll {
			e.add(f)
		}
		return true
	})
	return uint64(e.sum())
}
