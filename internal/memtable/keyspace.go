package memtable

import (
	"bytes"
	"encoding/binary"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// Keyspaces that share a half tell their keys apart by a prefix.

// prefixSize is the length of the prefix: a keyspace's number. A half has room
// for it besides the longest key.
const prefixSize = 4

// prefixOf returns the prefix of a keyspace's keys. The prefix of the next
// number, which always exists, is their end.
func prefixOf(keyspace uint32) (p [prefixSize]byte) {
	binary.BigEndian.PutUint32(p[:], keyspace)
	return p
}

func prefixed(keyspace uint32, key []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, prefixSize+len(key)), keyspace), key...)
}

// Key is a key of a keyspace, ready for lookups in several memtables.
type Key struct {
	keyspace uint32
	full     []byte // as the half stores it
	hash     uint64 // of full
}

// RootKey returns the Key of a key of the default keyspace. It is valid as long
// as key; hash is base.Hash(key).
func RootKey(key []byte, hash uint64) Key { return Key{full: key, hash: hash} }

// MakeKey returns the Key of a key with the hash base.Hash(key). It is valid as
// long as key and room. If the keyspace is not the default one, room holds the
// prefixed key.
func MakeKey(room []byte, keyspace uint32, key []byte, hash uint64) Key {
	if keyspace != 0 {
		key = append(binary.BigEndian.AppendUint32(room[:0], keyspace), key...)
		hash = base.Hash(key)
	}
	return Key{keyspace: keyspace, full: key, hash: hash}
}

// Ranges are the range tombstones or the hints of a keyspace in a memtable at
// one moment. The zero value has none. Equal values have the same content.
type Ranges struct {
	view     *rangedel.View // of the whole half
	keyspace uint32
}

// rangesIn returns the ranges of a keyspace in the view of a half.
func rangesIn(v *rangedel.View, keyspace uint32) Ranges {
	if v == nil {
		return Ranges{}
	}
	return Ranges{v, keyspace}
}

// PlainRanges returns range tombstones that are in no memtable, but in an open
// transaction, all of one keyspace.
func PlainRanges(v *rangedel.View) Ranges { return Ranges{view: v} }

// None reports whether there are no ranges.
func (r Ranges) None() bool { return r.view == nil }

// Cover returns the sequence of the newest range tombstone over a key of the
// keyspace that a read at s sees, or 0.
func (r Ranges) Cover(k *Key, s base.SeqNum) base.SeqNum {
	if f, _ := r.view.Find(k.full); f != nil {
		return f.Cover(s)
	}
	return 0
}

// RangeRoom is the working memory of Ranges.Next.
type RangeRoom struct {
	key  []byte
	bare rangedel.Fragment
}

// Next returns the first fragment that ends after key, or nil, and whether it
// is clean (see rangedel.View.Next). The fragment is valid until room is used
// again.
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

// stripped removes the prefix from a fragment of one keyspace; end is the
// prefix of the next.
func stripped(f rangedel.Fragment, end []byte) rangedel.Fragment {
	f.Lo = f.Lo[prefixSize:]
	if bytes.Equal(f.Hi, end) {
		f.Hi = nil
	} else {
		f.Hi = f.Hi[prefixSize:]
	}
	return f
}
