package cache

import "sync/atomic"

// table maps a key's hash to a frame number: buckets of one cache line, seven
// entries and a count each, with linear probing from bucket to bucket. An
// entry is tag<<32 | frame number, or 0.
//
// A bucket's count is how many entries were put elsewhere because the bucket
// was full; a lookup goes on to the next bucket only while the count is not
// zero. Entries never move, so readers need no lock: they may miss an entry
// that is being added, and they may find an entry whose frame has been reused,
// which they notice by the frame's key.
type table struct {
	mask    uint64 // number of buckets - 1; immutable
	buckets []bucket
	entries int // guarded by mu
}

const bucketEntries = 7

type bucket [bucketEntries + 1]atomic.Uint64

const bucketBytes = 64

func newTable(buckets int) *table {
	return &table{mask: uint64(buckets - 1), buckets: make([]bucket, buckets)}
}

func (t *table) bytes() int64 { return int64(len(t.buckets)) * bucketBytes }

// full reports whether it is time for a larger table: at seven tenths, where
// about one lookup in ten goes on to a second bucket.
func (t *table) full() bool { return t.entries*10 >= len(t.buckets)*bucketEntries*7 }

// add enters a frame number under the hash h. Called with mu held.
func (t *table) add(h uint64, id frameID) {
	t.entries++
	for i := h >> 32 & t.mask; ; i = (i + 1) & t.mask {
		b := &t.buckets[i]
		for j := range bucketEntries {
			if b[j].Load() == 0 {
				b[j].Store(h<<32 | uint64(id))
				return
			}
		}
		b[bucketEntries].Add(1)
	}
}

// remove removes an entry made by add. Called with mu held.
func (t *table) remove(h uint64, id frameID) {
	t.entries--
	for i := h >> 32 & t.mask; ; i = (i + 1) & t.mask {
		b := &t.buckets[i]
		for j := range bucketEntries {
			if b[j].Load() == h<<32|uint64(id) {
				b[j].Store(0)
				return
			}
		}
		b[bucketEntries].Add(^uint64(0))
	}
}
