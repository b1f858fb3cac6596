package base

import "encoding/binary"

// Head returns the first 8 bytes of key, padded with zeros, as a big-endian
// number. Keys with different heads compare as their heads do; keys with the
// same head may differ. Tables store heads, so Head is part of their format.
func Head(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var h uint64
	for i, c := range key {
		h |= uint64(c) << (56 - 8*i)
	}
	return h
}

// HeadFrom returns the head of key[from:].
func HeadFrom(key []byte, from int) uint64 { return Head(key[min(from, len(key)):]) }
