package base

import "github.com/zeebo/xxh3"

// Hash returns the 64-bit hash of a user key. Callers compute it once per
// operation, for the memtable's index and every filter. Filters on disk are
// built from it, so it is part of the format.
func Hash(key []byte) uint64 { return xxh3.Hash(key) }
