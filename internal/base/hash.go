package base

import "github.com/zeebo/xxh3"

// Hash is the 64-bit hash of a user key: computed once per operation and
// shared by the memtable's side index and every filter. It is part of the
// format, since filters on disk are built from it.
func Hash(key []byte) uint64 { return xxh3.Hash(key) }
