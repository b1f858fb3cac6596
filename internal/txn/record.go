package txn

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
)

// record is the last write of a key, or of a span of keys.
//
// It is linked in up to three structures: the list of all records, from the
// oldest to the newest sequence; the chain of its hash, if it is a key; and the
// tree of its kind, for a key only once a range was asked for (ordered).
type record struct {
	key      []byte // of a span its lower end; the record owns the buffer
	hi       []byte // upper end of a span, exclusive
	keyspace uint32
	span     bool
	endless  bool // a span without an upper end
	ordered  bool // it is in a tree
	prio     uint32
	prefix   uint64 // of key
	hash     uint64
	seq      base.SeqNum
	max      base.SeqNum // newest sequence in its subtree

	older, newer    *record // the list; newer also links free records
	chain           *record
	left, right, up *record
}

const (
	// recordSize is what a record counts in addition to its keys: itself and
	// its share of the hash table.
	recordSize = 192
	// keepKey is the largest buffer that a free record keeps. Shorter keys
	// count as if they had this length, so that the limit also bounds free
	// records.
	keepKey = 64
	// chunkLen is how many records are allocated at a time.
	chunkLen = 32
	// tableMin is the initial size of the hash table.
	tableMin = 256
	// keepBytes is what stays allocated while no transaction is open.
	keepBytes = 256 << 10
)

// keyHash returns the hash of a key of a keyspace.
func keyHash(keyspace uint32, key []byte) uint64 {
	return base.Hash(key) ^ uint64(keyspace)*0x9e3779b97f4a7c15
}

func (r *record) setKey(keyspace uint32, key []byte) {
	r.keyspace, r.prefix = keyspace, base.Head(key)
	r.key = append(r.key[:0], key...)
}

// size returns what the record counts towards the limit.
func (r *record) size() int { return recordSize + max(cap(r.key), keepKey) + max(cap(r.hi), keepKey) }

// compare orders the record relative to a key.
func (r *record) compare(keyspace uint32, prefix uint64, key []byte) int {
	switch {
	case r.keyspace != keyspace:
		if r.keyspace < keyspace {
			return -1
		}
		return 1
	case r.prefix != prefix:
		if r.prefix < prefix {
			return -1
		}
		return 1
	}
	return bytes.Compare(r.key, key)
}

// records is the store of records: the list, the hash table and both trees.
type records struct {
	oldest, newest *record
	n              int
	bytes          int
	table          []*record // has a length that is a power of two
	keys           tree      // of the keys that are ordered
	spans          tree
	unordered      *record // every key before it in the list is in the tree
	free           *record // list of free records, linked by newer
	rng            uint64
}

// find returns the record of a key.
func (rs *records) find(hash uint64, keyspace uint32, key []byte) *record {
	if len(rs.table) == 0 {
		return nil
	}
	for r := rs.table[hash&uint64(len(rs.table)-1)]; r != nil; r = r.chain {
		if r.hash == hash && r.keyspace == keyspace && bytes.Equal(r.key, key) {
			return r
		}
	}
	return nil
}

// put records that a key was written at seq, the newest sequence so far.
func (rs *records) put(keyspace uint32, key []byte, seq base.SeqNum) {
	hash := keyHash(keyspace, key)
	if r := rs.find(hash, keyspace, key); r != nil {
		rs.touch(r, seq)
		return
	}
	r := rs.alloc()
	r.setKey(keyspace, key)
	r.hash, r.seq = hash, seq
	rs.bytes += r.size()
	rs.link(r, rs.newest)
	if rs.unordered == nil {
		rs.unordered = r
	}
	if rs.n > len(rs.table) {
		rs.grow()
		return
	}
	slot := &rs.table[hash&uint64(len(rs.table)-1)]
	r.chain, *slot = *slot, r
}

// touch sets a newer sequence in a key's record.
func (rs *records) touch(r *record, seq base.SeqNum) {
	if r.newer != nil {
		rs.unlink(r)
		rs.link(r, rs.newest)
	}
	r.seq = seq
	if r.ordered {
		r.raise()
	}
}

// link inserts a record after another in the list, or as the oldest if that is
// nil.
func (rs *records) link(r, behind *record) {
	rs.n++
	r.older = behind
	if behind == nil {
		r.newer, rs.oldest = rs.oldest, r
	} else {
		r.newer, behind.newer = behind.newer, r
	}
	if r.newer == nil {
		rs.newest = r
	} else {
		r.newer.older = r
	}
}

func (rs *records) unlink(r *record) {
	rs.n--
	if rs.unordered == r {
		rs.unordered = r.newer
	}
	if r.older == nil {
		rs.oldest = r.newer
	} else {
		r.older.newer = r.newer
	}
	if r.newer == nil {
		rs.newest = r.older
	} else {
		r.newer.older = r.older
	}
	r.older, r.newer = nil, nil
}

// drop frees a record.
func (rs *records) drop(r *record) {
	rs.unlink(r)
	rs.bytes -= r.size()
	switch {
	case r.span:
		rs.spans.remove(r)
	case r.ordered:
		rs.keys.remove(r)
	}
	if !r.span {
		slot := &rs.table[r.hash&uint64(len(rs.table)-1)]
		for *slot != r {
			slot = &(*slot).chain
		}
		*slot = r.chain
	}
	key, hi := r.key[:0], r.hi[:0]
	if cap(key) > keepKey {
		key = nil
	}
	if cap(hi) > keepKey {
		hi = nil
	}
	*r = record{key: key, hi: hi, newer: rs.free}
	rs.free = r
}

// grow doubles the hash table.
func (rs *records) grow() {
	rs.table = make([]*record, max(tableMin, 2*len(rs.table)))
	for r := rs.oldest; r != nil; r = r.newer {
		if !r.span {
			slot := &rs.table[r.hash&uint64(len(rs.table)-1)]
			r.chain, *slot = *slot, r
		}
	}
}

// alloc returns an empty record.
func (rs *records) alloc() *record {
	if rs.free == nil {
		chunk := make([]record, chunkLen)
		for i := range chunk {
			chunk[i].newer, rs.free = rs.free, &chunk[i]
		}
	}
	r := rs.free
	rs.free, r.newer = r.newer, nil
	rs.rng = rs.rng*6364136223846793005 + 1442695040888963407 // Knuth's MMIX
	r.prio = uint32(rs.rng >> 32)
	return r
}

// reset removes all records; if there are few it frees each, so that they are
// reused.
func (rs *records) reset() {
	if rs.bytes > keepBytes || len(rs.table) > keepBytes/8 {
		*rs = records{rng: rs.rng}
		return
	}
	for rs.oldest != nil {
		rs.drop(rs.oldest)
	}
}

// order adds keys to the tree, at most limit of them, and reports whether all
// are in it.
func (rs *records) order(limit int) bool {
	r := rs.unordered
	for ; r != nil && limit > 0; r = r.newer {
		if !r.span && !r.ordered {
			r.ordered = true
			rs.keys.insert(r)
			limit--
		}
	}
	rs.unordered = r
	return r == nil
}
