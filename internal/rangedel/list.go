package rangedel

import (
	"bytes"
	"slices"
	"sort"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Tombstone deletes every key in [Lo, Hi) that is older than Seq. A nil or
// empty Hi is no end, since no key is less than the empty one.
type Tombstone struct {
	Lo, Hi []byte
	Seq    base.SeqNum
}

// Fragment is a range of keys and the sequences of all tombstones over it,
// newest first. It is immutable. A nil Hi is no end.
type Fragment struct {
	Lo, Hi []byte
	Seqs   []base.SeqNum
}

// Contains reports whether key is in the fragment.
func (f *Fragment) Contains(key []byte) bool {
	return bytes.Compare(f.Lo, key) <= 0 && !f.endsBefore(key)
}

// endsBefore reports whether every key of the fragment is < key.
func (f *Fragment) endsBefore(key []byte) bool {
	return f.Hi != nil && bytes.Compare(f.Hi, key) <= 0
}

// Cover returns the newest sequence of the fragment visible to a read at s, or
// 0. Entries older than it are deleted.
func (f *Fragment) Cover(s base.SeqNum) base.SeqNum {
	if f.Seqs[0] <= s { // nearly always
		return f.Seqs[0]
	}
	i := sort.Search(len(f.Seqs), func(i int) bool { return f.Seqs[i] <= s })
	if i == len(f.Seqs) {
		return 0
	}
	return f.Seqs[i]
}

// List is a list of fragments, ascending and disjoint. It is immutable; the
// zero List is empty.
type List struct{ frags []Fragment }

// FromFragments returns a list of fragments, which must be ascending and
// disjoint. It keeps the slice.
func FromFragments(fs []Fragment) List { return List{fs} }

// Build returns the list of some tombstones, in any order. It keeps their keys.
func Build(ts []Tombstone) List {
	pieces := make([]Fragment, 0, len(ts))
	for _, t := range ts {
		pieces = append(pieces, Fragment{t.Lo, t.Hi, []base.SeqNum{t.Seq}})
	}
	return fragment(pieces)
}

// Merge returns a list of all tombstones of several lists.
func Merge(lists ...*List) List {
	var pieces []Fragment
	for _, l := range lists {
		pieces = append(pieces, l.frags...)
	}
	return fragment(pieces)
}

// fragment cuts overlapping pieces wherever one of them begins or ends. It
// sorts the slice.
func fragment(pieces []Fragment) List {
	pieces = slices.DeleteFunc(pieces, func(f Fragment) bool {
		return len(f.Hi) > 0 && bytes.Compare(f.Lo, f.Hi) >= 0
	})
	slices.SortStableFunc(pieces, func(a, b Fragment) int { return bytes.Compare(a.Lo, b.Lo) })
	var out List
	var active []Fragment // the pieces at pos
	var pos []byte
	for len(pieces) > 0 || len(active) > 0 {
		if len(active) == 0 {
			pos = pieces[0].Lo
		}
		for len(pieces) > 0 && bytes.Equal(pieces[0].Lo, pos) {
			f := pieces[0]
			if len(f.Hi) == 0 {
				f.Hi = nil
			}
			active, pieces = append(active, f), pieces[1:]
		}
		var end []byte
		if len(pieces) > 0 {
			end = pieces[0].Lo
		}
		for i := range active {
			if hi := active[i].Hi; hi != nil && (end == nil || bytes.Compare(hi, end) < 0) {
				end = hi
			}
		}
		out.append(Fragment{pos, end, union(active)})
		if end == nil {
			break
		}
		pos = end
		active = slices.DeleteFunc(active, func(f Fragment) bool { return f.endsBefore(pos) })
	}
	return out
}

// union returns the sequences of all fragments, newest first, each once.
func union(fs []Fragment) []base.SeqNum {
	if len(fs) == 1 {
		return fs[0].Seqs
	}
	var seqs []base.SeqNum
	for i := range fs {
		seqs = append(seqs, fs[i].Seqs...)
	}
	slices.SortFunc(seqs, newestFirst)
	return slices.Compact(seqs)
}

func newestFirst(a, b base.SeqNum) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

// append adds a fragment at the end, or extends the last one.
func (l *List) append(f Fragment) {
	if n := len(l.frags); n > 0 && joins(&l.frags[n-1], &f) {
		l.frags[n-1].Hi = f.Hi
		return
	}
	l.frags = append(l.frags, f)
}

// joins reports whether b begins where a ends, with the same sequences.
func joins(a, b *Fragment) bool {
	return a.Hi != nil && bytes.Equal(a.Hi, b.Lo) && slices.Equal(a.Seqs, b.Seqs)
}

// Len returns the number of fragments.
func (l *List) Len() int { return len(l.frags) }

// At returns fragment i, from 0, in the order of keys.
func (l *List) At(i int) *Fragment { return &l.frags[i] }

// Search returns the index of the first fragment that ends after key, or Len.
func (l *List) Search(key []byte) int {
	lo, hi := 0, len(l.frags)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if l.frags[mid].endsBefore(key) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Find returns the fragment that contains key, or nil.
func (l *List) Find(key []byte) *Fragment {
	i := l.Search(key)
	if i == len(l.frags) || bytes.Compare(l.frags[i].Lo, key) > 0 {
		return nil
	}
	return &l.frags[i]
}

// Truncate returns the part of the list in [lo, hi); a nil hi is no end. It
// shares keys and sequences with l.
func (l *List) Truncate(lo, hi []byte) List {
	var out List
	if hi != nil && bytes.Compare(lo, hi) >= 0 {
		return out
	}
	for i := l.Search(lo); i < len(l.frags); i++ {
		f := l.frags[i]
		if hi != nil && bytes.Compare(f.Lo, hi) >= 0 {
			break
		}
		if bytes.Compare(f.Lo, lo) < 0 {
			f.Lo = lo
		}
		if hi != nil && !f.endsBefore(hi) {
			f.Hi = hi
		}
		out.frags = append(out.frags, f)
	}
	return out
}

// Bounds returns the first key of a non-empty list, its end (nil for none), and
// its oldest and newest sequence.
func (l *List) Bounds() (lo, hi []byte, oldest, newest base.SeqNum) {
	lo, hi = l.frags[0].Lo, l.frags[len(l.frags)-1].Hi
	oldest = base.SeqNumMax
	for i := range l.frags {
		seqs := l.frags[i].Seqs
		oldest, newest = min(oldest, seqs[len(seqs)-1]), max(newest, seqs[0])
	}
	return lo, hi, oldest, newest
}
