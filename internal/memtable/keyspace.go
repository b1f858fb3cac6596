package memtable

import (
	"bytes"
	"encoding/binary"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// How keyspaces that share a half tell their keys apart: by what comes before each.

// prefixSize is the bytes of a keyspace's number before a key. A half has room for it
// beside the longest key.
const prefixSize = 4

// prefixOf returns what comes before the keys of a keyspace. That of the number
// behind it is the end of its keys; there is always one.
func prefixOf(keyspace uint32) (p [prefixSize]byte) {
	binary.BigEndian.PutUint32(p[:], keyspace)
	return p
}

func prefixed(keyspace uint32, key []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, prefixSize+len(key)), keyspace), key...)
}

// Key is a key of a keyspace, ready to be looked up in one memtable after another.
type Key struct {
	keyspace uint32
	full     []byte // as the half has it
	hash     uint64 // of full
}

// RootKey makes a Key of a key of the default keyspace. It is valid as long as key, whose
// hash is base.Hash(key).
func RootKey(key []byte, hash uint64) Key { return Key{full: key, hash: hash} }

// MakeKey makes a Key of a key whose hash is base.Hash(key). It is valid as long as
// key and room, which is used if the keyspace is not the default one.
func MakeKey(room []byte, keyspace uint32, key []byte, hash uint64) Key {
	if keyspace != 0 {
		key = append(binary.BigEndian.AppendUint32(room[:0], keyspace), key...)
		hash = base.Hash(key)
	}
	return Key{keyspace: keyspace, full: key, hash: hash}
}

// Ranges are the range tombstones or the hints of a keyspace in a memtable at one
// moment; the zero value is none. Two that are equal are the same.
type Ranges struct {
	view     *rangedel.View // of the half
	keyspace uint32
}

// rangesIn are those of a keyspace in the view of a half.
func rangesIn(v *rangedel.View, keyspace uint32) Ranges {
	if v == nil {
		return Ranges{}
	}
	return Ranges{v, keyspace}
}

// PlainRanges are range tombstones that are in no memtable, those of an open
// transaction, and all of one keyspace.
func PlainRanges(v *rangedel.View) Ranges { return Ranges{view: v} }

// None reports whether there are none.
func (r Ranges) None() bool { return r.view == nil }

// Cover returns the newest range tombstone over a key of the keyspace that a
// read at s sees, or 0.
func (r Ranges) Cover(k *Key, s base.SeqNum) base.SeqNum {
	if f, _ := r.view.Find(k.full); f != nil {
		return f.Cover(s)
	}
	return 0
}

// RangeRoom is what Ranges.Next works in.
type RangeRoom struct {
	key  []byte
	bare rangedel.Fragment
}

// Next returns the first fragment that ends after key, or nil, and whether it is clean
// (see rangedel.View.Next). The fragment is valid until room is used again.
func (r Ranges) Next(key []byte, room *RangeRoom) (f *rangedel.Fragment, clean bool) {
	if r.keyspace == 0 {
		return r.view.Next(key)
	}
	room.key = append(binary.BigEndian.AppendUint32(room.key[:0], r.keyspace), key...)
	f, clean = r.view.Next(room.key)
	if f == nil || !bytes.HasPrefix(f.Lo, room.key[:prefixSize]) {
		return nil, clean // another keyspace's
	}
	end := prefixOf(r.keyspace + 1)
	room.bare = stripped(*f, end[:])
	return &room.bare, clean
}

// stripped takes the prefix off a fragment of one keyspace, the next one of
// which begins at end.
func stripped(f rangedel.Fragment, end []byte) rangedel.Fragment {
	f.Lo = f.Lo[prefixSize:]
	if bytes.Equal(f.Hi, end) {
		f.Hi = nil
	} else {
		f.Hi = f.Hi[prefixSize:]
	}
	return f
}
