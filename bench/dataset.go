package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
)

// This file defines the data set, and keeps what is known about it while the
// engines work on it.
//
// Record i has the key hex(mix(i + seed)): 16 bytes, distinct, and in random
// order when i counts up. Its value at version n is derived from the key and n
// alone, so that every read can be checked without keeping a copy:
//
//	word 0       mix(hash of the key) + n
//	words 1..    mix(word 0 + j*golden), until about half the value is filled
//	the rest     those words again, from the start (the compressible half)
//
// versions[i] is the newest acked version of record i, or 0. One goroutine at a
// time writes a record (workloads give each goroutine its own share), so the
// value that a read returns must be between the version acked before the read
// began and the one after the version acked when it ended.

const (
	keySize  = 16
	golden   = 0x9e3779b97f4a7c15
	keySalt  = 0xd6e8feb86659fd93
	missBase = 1 << 40 // records from here on are never written
)

// errWrong marks an answer that no correct engine gives. It fails the run.
var errWrong = errors.New("wrong answer")

type dataset struct {
	seed      uint64 // immutable
	valueSize int    // immutable, a minimum of 16
	words     int    // immutable: distinct 8-byte words of a value

	versions []atomic.Uint32 // acked versions by record
}

func newDataset(seed uint64, valueSize, capacity int) *dataset {
	return &dataset{
		seed: mix(seed), valueSize: valueSize, words: max((valueSize/2+4)/8, 1),
		versions: offHeap[atomic.Uint32](capacity),
	}
}

// mix is the finaliser of splitmix64 (Steele, Lea, Flood 2014), a bijection.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unmix is the inverse of mix.
func unmix(x uint64) uint64 {
	x = (x ^ x>>31 ^ x>>62) * 0x319642b2d24d8ec3
	x = (x ^ x>>27 ^ x>>54) * 0x96de1b173f119089
	return x ^ x>>30 ^ x>>60
}

func (d *dataset) hash(i uint64) uint64 { return mix(i + d.seed) }

// record is the inverse of hash.
func (d *dataset) record(hash uint64) uint64 { return unmix(hash) - d.seed }

// writeKey writes the key with this hash. Keys sort as their hashes do.
func writeKey(dst *[keySize]byte, hash uint64) []byte {
	const digits = "0123456789abcdef"
	for j := range 8 {
		b := byte(hash >> (56 - 8*j))
		dst[2*j], dst[2*j+1] = digits[b>>4], digits[b&15]
	}
	return dst[:]
}

// parseKey is the inverse of writeKey.
func parseKey(key []byte) (hash uint64, ok bool) {
	if len(key) != keySize {
		return 0, false
	}
	for _, c := range key {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		hash = hash<<4 | uint64(c)
	}
	return hash, true
}

func (d *dataset) word0(hash uint64, version uint32) uint64 {
	return mix(hash^keySalt) + uint64(version)
}

func word(word0 uint64, j int) uint64 {
	if j == 0 {
		return word0
	}
	return mix(word0 + uint64(j)*golden)
}

// value writes the value of the record with this hash. len(dst) is valueSize
// rounded up to 8; the result is its first valueSize bytes.
func (d *dataset) value(dst []byte, hash uint64, version uint32) []byte {
	w0 := d.word0(hash, version)
	random := d.words * 8
	for j := 0; j*8 < random && j*8 < d.valueSize; j++ {
		binary.LittleEndian.PutUint64(dst[j*8:], word(w0, j))
	}
	for n := random; n < d.valueSize; n += random {
		copy(dst[n:], dst[:random])
	}
	return dst[:d.valueSize]
}

func (d *dataset) valueBuffer() []byte { return make([]byte, (d.valueSize+7)&^7) }

// checkValue checks a value that was read while versions lo to hi were
// possible. It always checks the length and the first and last word, and
// everything if full is set: workloads set it for one read in 16, so that they
// do not measure the checking of long values.
func (d *dataset) checkValue(hash uint64, v []byte, lo, hi uint32, full bool) error {
	if len(v) != d.valueSize {
		return fmt.Errorf("%w: key %016x: value of %d bytes, want %d", errWrong, hash, len(v), d.valueSize)
	}
	w0 := binary.LittleEndian.Uint64(v)
	version := w0 - d.word0(hash, 0)
	if version < uint64(lo) || version > uint64(hi) || version == 0 {
		return fmt.Errorf("%w: key %016x: value of version %d, want %d to %d", errWrong, hash, int64(version), lo, hi)
	}
	if full {
		return d.checkBytes(hash, v, uint32(version))
	}
	last := len(v)/8 - 1
	if binary.LittleEndian.Uint64(v[last*8:]) != word(w0, last%d.words) {
		return fmt.Errorf("%w: key %016x: damaged value of version %d at byte %d", errWrong, hash, version, last*8)
	}
	return nil
}

// checkBytes compares every byte with the value that was written. Values repeat
// their first words, so the rest is compared with the bytes before it.
func (d *dataset) checkBytes(hash uint64, v []byte, version uint32) error {
	w0 := d.word0(hash, version)
	random := min(d.words*8, len(v)&^7)
	for j := 0; j*8 < random; j++ {
		if binary.LittleEndian.Uint64(v[j*8:]) != word(w0, j) {
			return fmt.Errorf("%w: key %016x: damaged value of version %d at byte %d", errWrong, hash, version, j*8)
		}
	}
	for n := random; n < len(v); n++ {
		if v[n] != v[n-random] {
			return fmt.Errorf("%w: key %016x: damaged value of version %d at byte %d", errWrong, hash, version, n)
		}
	}
	return nil
}

// rowSum folds a row to a number. A scan adds them up and compares the sum with
// that over the records: together with the count and the order it proves the
// exact set of rows and versions, at about 2 ns a row.
func rowSum(keyHead, keyTail, word0 uint64) uint64 {
	return bits.RotateLeft64(keyHead*golden^keyTail, 17) + word0
}

func (d *dataset) rowSumOf(key []byte, word0 uint64) uint64 {
	return rowSum(binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:]), word0)
}

// totals returns the rows and the sum that a scan of everything must find.
func (d *dataset) totals() (rows, sum uint64) {
	var buf [keySize]byte
	for i := range d.versions {
		n := d.versions[i].Load()
		if n == 0 {
			continue
		}
		h := d.hash(uint64(i))
		k := writeKey(&buf, h)
		rows++
		sum += d.rowSumOf(k, d.word0(h, n))
	}
	return rows, sum
}

// hexHash is parseKey for a valid key: a wrong byte gives a wrong hash and no
// error. It works on 8 digits at a time (about 3 ns a key).
func hexHash(key []byte) uint64 {
	return uint64(hexWord(binary.BigEndian.Uint64(key)))<<32 | uint64(hexWord(binary.BigEndian.Uint64(key[8:])))
}

func hexWord(x uint64) uint32 {
	// A digit's low nibble is its value for '0' to '9', and 9 less for 'a' to
	// 'f'.
	x = x&0x0f0f0f0f0f0f0f0f + 9*(x>>6&0x0101010101010101)
	x = (x | x>>4) & 0x00ff00ff00ff00ff
	x = (x | x>>8) & 0x0000ffff0000ffff
	return uint32(x | x>>16)
}

// belongs reports whether a row's key and the first word of its value match.
func (d *dataset) belongs(key []byte, word0 uint64) bool {
	version := word0 - d.word0(hexHash(key), 0)
	return version > 0 && version < 1<<32
}

// appendHashes appends the hashes of all written records to dst, unsorted.
func (d *dataset) appendHashes(dst []uint64) []uint64 {
	for i := range d.versions {
		if d.versions[i].Load() > 0 {
			dst = append(dst, d.hash(uint64(i)))
		}
	}
	return dst
}
