package dbiter

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// This file holds the range tombstones under an iterator. An entry is deleted if a
// tombstone that the iterator sees, of the same source or of a newer one, holds its key and
// is newer. Tombstones of older sources are older (I6).
//
// If every entry that a source has within a tombstone's fragment is older than the
// tombstone, the whole source jumps over the fragment. That holds for every source older
// than that of the tombstone; for the tombstone's own memtable while the fragment is clean;
// and for its own table if the table's newest entry is older.

// rangeSource is the range tombstones of one child of an iterator.
type rangeSource struct {
	order int // of the child
	view  memtable.Ranges
	run   *readstate.Run // instead of view
	own   bool           // of the open transaction
	timed bool           // they are hints, of which some are about expired keys

	// The last answer: if frag is set, that fragment holds the key; if gap is set, no
	// fragment holds a key in [gapLo, gapHi).
	frag         *rangedel.Fragment
	clean        bool
	gapLo, gapHi []byte
	gapEndless   bool
	gap          bool
	room         memtable.RangeRoom
}

// hit is what covered found about the last entry that it was called for.
type hit struct {
	frag *rangedel.Fragment
	jump bool // the entry's source has nothing newer in the fragment
	// timed means that the fragment is a hint about keys of which some are expired.
	timed bool
}

// covered reports whether a range tombstone deletes kv, an entry that the cursor sees;
// order is that of its source.
func (c *cursor) covered(kv *base.KV, order int) bool {
	for i := range c.ranges {
		r := &c.ranges[i]
		if r.order > order {
			break
		}
		f, err := r.find(kv.Key)
		if err != nil {
			c.err, c.hit = err, hit{}
			return true // the caller checks err
		}
		if f == nil {
			continue
		}
		limit := c.seq
		if r.own {
			limit = base.SeqNumMax
		}
		seq := f.Cover(limit)
		if seq <= kv.Trailer.Seq() {
			continue
		}
		c.hit = hit{frag: f, jump: r.order < order || r.mayJump(seq), timed: r.timed}
		return true
	}
	return false
}

// mayJump reports whether all of the source's own entries in the fragment found last are
// older than c.
func (r *rangeSource) mayJump(c base.SeqNum) bool {
	if r.run != nil {
		t := r.run.Find(r.frag.Lo)
		return t != nil && t.Meta.LargestSeq <= c
	}
	return !r.own && r.clean && c == r.frag.Seqs[0]
}

// jump moves the source of the covered entry to the end of the fragment.
func (c *cursor) jump() (*base.KV, bool) {
	if !c.hit.jump {
		return nil, false
	}
	if c.hit.frag.Hi == nil {
		return c.merged.EndTop(), true
	}
	return c.merged.SkipTop(c.hit.frag.Hi), true
}

// jumpBack moves that source to before the fragment.
func (c *cursor) jumpBack() (*base.KV, bool) {
	if !c.hit.jump {
		return nil, false
	}
	return c.merged.SkipTopBack(c.hit.frag.Lo), true
}

// find returns the fragment that holds key, or nil.
func (r *rangeSource) find(key []byte) (*rangedel.Fragment, error) {
	if r.frag != nil && r.frag.Contains(key) {
		return r.frag, nil
	}
	if r.gap && bytes.Compare(r.gapLo, key) <= 0 && (r.gapEndless || bytes.Compare(key, r.gapHi) < 0) {
		return nil, nil
	}
	r.frag, r.gap = nil, false
	if r.run != nil {
		return r.findInRun(key)
	}
	f, clean := r.view.Next(key, &r.room)
	r.note(key, f, clean)
	return r.frag, nil
}

// note stores an answer: f is the first fragment that ends after key.
func (r *rangeSource) note(key []byte, f *rangedel.Fragment, clean bool) {
	if f != nil && f.Contains(key) {
		r.frag, r.clean = f, clean
		return
	}
	r.gap, r.gapEndless = true, f == nil
	r.gapLo = append(r.gapLo[:0], key...)
	if f != nil {
		r.gapHi = append(r.gapHi[:0], f.Lo...)
	}
}

// findInRun looks for the fragment in the table that may hold key.
func (r *rangeSource) findInRun(key []byte) (*rangedel.Fragment, error) {
	t := r.run.Find(key)
	if t == nil || t.Meta.Ranges == 0 {
		return nil, nil
	}
	rd, err := t.Use()
	if err != nil {
		return nil, err
	}
	r.frag, r.clean = rd.Ranges().Find(key), false
	_ = rd.Close() // the list stays
	return r.frag, nil
}
