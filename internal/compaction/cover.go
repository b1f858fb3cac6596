package compaction

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// What range tombstones delete can often be told from descriptions alone. A
// table is covered if tombstones lie over all its keys without a gap, each
// newer than everything in the table and, with all of it, in one stripe. No
// read, now or later, sees an entry of such a table but through the tombstone.
//
// It may be taken out of the tree by itself, while the tombstones stay where
// they are: what its entries hid, being older entries of the same keys, the
// tombstones hide as well, for the same readers, and they cannot go before that
// is gone (see Elider). A table that is covered once stays so: a snapshot is
// never taken before a sequence that was published.

// Cover says how much of a table range tombstones delete.
type Cover uint8

// The covers.
const (
	CoverNone Cover = iota
	CoverPart       // the table's own lie over all its keys, but some entries may be newer
	CoverOwn        // the table's own lie over all its keys and are newer than all its entries
	CoverAll        // newer ones of other tables: it is covered
)

// Covers looks for tables that range tombstones delete: see Workload.Covers.
// snapshots are as in RunOptions; ranges gives the range tombstones of a table
// that has some, nil if it cannot.
func Covers(v *manifest.Version, snapshots []base.SeqNum, ranges func(*manifest.FileMeta) *rangedel.List) map[base.FileNum]Cover {
	var out map[base.FileNum]Cover
	k := keeper{snapshots: snapshots}
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
			c := CoverAll
			if k.cover(f, &merged) != CoverAll {
				c = k.cover(f, own[f.Num])
			}
			if c != CoverNone {
				if out == nil {
					out = make(map[base.FileNum]Cover)
				}
				out[f.Num] = c
			}
			return true
		})
	}
	return out
}

// rangesOf is how many range tombstones the tables of a tree have.
func rangesOf(t *manifest.Tree) (n uint64) {
	for l := range t.Sums {
		n += t.Sums[l].Ranges
	}
	return n
}

// cover says how much of a table the tombstones of a list delete. If they are
// not the table's own, only CoverAll means anything.
func (k *keeper) cover(f *manifest.FileMeta, l *rangedel.List) Cover {
	stripe := k.stripeOf(f.SmallestSeq)
	if l == nil || stripe >= len(k.snapshots) {
		return CoverNone
	}
	c := CoverAll
	at := f.Smallest // all before it is covered
	for i := l.Search(at); i < l.Len(); i++ {
		frag := l.At(i)
		// The newest that all who see the table's oldest entry see. If it is
		// newer than the newest entry as well, all are in one stripe.
		s := frag.Cover(k.snapshots[stripe])
		if bytes.Compare(frag.Lo, at) > 0 || s == 0 {
			return CoverNone
		}
		switch {
		case s < f.LargestSeq:
			c = CoverPart
		case s == f.LargestSeq:
			c = min(c, CoverOwn)
		}
		if at = frag.Hi; f.End().Compare(base.EndAt(at)) <= 0 {
			return c
		}
	}
	return CoverNone
}

// Unread are inputs that the job need not read: range tombstones among its
// inputs, given as RunOptions.Ranges, delete all that is in them.
func (j *Job) Unread(ranges *rangedel.List, snapshots []base.SeqNum) map[base.FileNum]bool {
	if ranges.Len() == 0 {
		return nil
	}
	out := make(map[base.FileNum]bool)
	k := keeper{snapshots: snapshots}
	j.Files(func(_ int, f *manifest.FileMeta) {
		if k.cover(f, ranges) == CoverAll {
			out[f.Num] = true
		}
	})
	return out
}

// CoveredBytes is what goes, tables and values, when tombstones that are newer
// than all tables of a keyspace join them.
func CoveredBytes(v *manifest.Version, keyspace uint32, snapshots []base.SeqNum, tombstones *rangedel.List) uint64 {
	k := keeper{snapshots: snapshots}
	var e extent
	v.Tree(keyspace).All(func(_ int, f *manifest.FileMeta) bool {
		if k.cover(f, tombstones) == CoverAll {
			e.add(f)
		}
		return true
	})
	return uint64(e.sum())
}
