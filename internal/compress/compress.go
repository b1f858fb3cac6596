// Package compress compresses and decompresses bytes by a codec named by one
// tag byte of the format. It stores no lengths: a caller that stores compressed
// bytes stores the uncompressed length beside them. So Decode fills a buffer
// whose size was checked before, and damaged input cannot make it allocate.
package compress

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is a way to compress. The values are part of the format.
type Codec uint8

// The codecs.
const (
	None Codec = 0
	LZ4  Codec = 1 // LZ4 block format, no frame
	Zstd Codec = 2 // one Zstandard frame, level "fastest", no checksum of its own
	S2   Codec = 3 // S2 block format, a superset of Snappy
)

// Default is the codec of callers that do not choose one. Measured on 8 KiB pages
// of 12-byte keys and 100-byte values, half of each value noise, on one core
// of an AMD EPYC (BenchmarkEncode, BenchmarkDecode):
//
//	       size    encode       decode
//	LZ4    0.539    675 MB/s   8600 MB/s
//	S2     0.520   1660 MB/s   7870 MB/s
//	Zstd   0.490    210 MB/s   2700 MB/s
//
// On pages of one quarter noise S2 decodes at 3800 MB/s against LZ4's 5850,
// 0.7 µs more for a page; it encodes twice as fast, 3.9 µs less. A byte is
// encoded by every compaction that it passes through and decoded only by reads
// that miss the page cache, which also pay for the read itself: S2.
const Default = S2

var codecNames = [...]string{"none", "lz4", "zstd", "s2"}

func (c Codec) String() string {
	if c.Valid() {
		return codecNames[c]
	}
	return fmt.Sprintf("codec%d", uint8(c))
}

// Valid reports whether this build can encode and decode c.
func (c Codec) Valid() bool { return int(c) < len(codecNames) }

// errBadInput is Decode's error for bytes that are not the encoding of len(dst)
// bytes. Callers wrap it with the file and the offset.
var errBadInput = errors.New("compress: input is damaged")

// MaxEncodedLen bounds the length of what Encode appends for n bytes. With that
// much room in its buffer, Encode does not allocate.
func MaxEncodedLen(n int, c Codec) int {
	switch c {
	case LZ4:
		return lz4.CompressBlockBound(n)
	case Zstd:
		return zstdEncoder().MaxEncodedSize(n)
	case S2:
		return s2.MaxEncodedLen(n)
	}
	return n
}

// Encode appends the encoding of src to dst and returns the extended slice. The
// encoding may be longer than src: a caller that stores it compares, and stores
// src under None if the gain is too small. dst and src must not overlap. An
// invalid codec is a bug of the caller and panics. The encoding of an empty src
// is empty for every codec.
func Encode(dst, src []byte, c Codec) []byte {
	if !c.Valid() {
		panic("compress: Encode with " + c.String())
	}
	if len(src) == 0 {
		return dst
	}
	n := len(dst)
	dst = slices.Grow(dst, MaxEncodedLen(len(src), c))
	room := dst[n:cap(dst)]
	switch c {
	case LZ4:
		e := lz4Encoders.Get().(*lz4.Compressor)
		m, err := e.CompressBlock(src, room)
		lz4Encoders.Put(e)
		if err != nil || m == 0 {
			// Cannot happen with a buffer of CompressBlockBound bytes.
			panic(fmt.Sprintf("compress: lz4 refused %d bytes: %v", len(src), err))
		}
		return dst[:n+m]
	case Zstd:
		return zstdEncoder().EncodeAll(src, dst)
	case S2:
		return dst[:n+len(s2.Encode(room, src))]
	}
	return append(dst, src...)
}

// Decode fills dst with what src encodes. If src does not encode exactly
// len(dst) bytes it returns an error, and dst holds garbage. It never panics,
// nor allocates in proportion to lengths in src. A flipped bit in src may also
// decode to len(dst) wrong bytes: checksums over what is stored are the
// caller's. dst and src must not overlap.
func Decode(dst, src []byte, c Codec) error {
	if !c.Valid() {
		return fmt.Errorf("compress: unknown codec %d", uint8(c))
	}
	if len(dst) == 0 || len(src) == 0 {
		if len(dst) != len(src) {
			return errBadInput
		}
		return nil
	}
	switch c {
	case LZ4:
		if n, err := lz4.UncompressBlock(src, dst); err != nil || n != len(dst) {
			return errBadInput
		}
		return nil
	case Zstd:
		return decodeZstd(dst, src)
	case S2:
		if n, err := s2.DecodedLen(src); err != nil || n != len(dst) {
			return errBadInput
		}
		if _, err := s2.Decode(dst[:len(dst):len(dst)], src); err != nil {
			return errBadInput
		}
		return nil
	}
	if len(dst) != len(src) {
		return errBadInput
	}
	copy(dst, src)
	return nil
}

// decodeZstd requires the frame to state its size, as Encode's frames of 256
// bytes and more do, before it runs the decoder. It also limits the decoder to
// cap(dst), so a frame with a false size stops at the end of dst.
func decodeZstd(dst, src []byte) error {
	var h zstd.Header
	if err := h.Decode(src); err != nil || h.Skippable {
		return errBadInput
	}
	if h.HasFCS && h.FrameContentSize != uint64(len(dst)) || !h.HasFCS && len(dst) >= 256 {
		return errBadInput
	}
	out, err := zstdDecoder().DecodeAll(src, dst[:0:len(dst)])
	if err != nil || len(out) != len(dst) {
		return errBadInput
	}
	if &out[0] != &dst[0] {
		copy(dst, out) // the decoder preferred a buffer of its own
	}
	return nil
}

// lz4Encoders holds *lz4.Compressor: 136 KiB of hash table each.
var lz4Encoders = sync.Pool{New: func() any { return new(lz4.Compressor) }}

// The Zstandard coders are made at first use and shared. Each holds a bounded
// set of states, one per core, and starts no goroutine.
var (
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderCRC(false), // everything stored is under our own checksum
			zstd.WithLowerEncoderMem(true),
		)
		if err != nil {
			panic("compress: " + err.Error()) // only for options that contradict each other
		}
		return e
	})
	zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(0),
			zstd.WithDecodeAllCapLimit(true),
			zstd.WithDecoderLowmem(true),
		)
		if err != nil {
			panic("compress: " + err.Error())
		}
		return d
	})
)
