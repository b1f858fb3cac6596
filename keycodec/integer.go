package keycodec

import "math/bits"

// Integers of a fixed size are stored big-endian, with the sign bit of signed
// ones flipped. An int or uint takes 8 bytes on every machine; a machine where
// it has 32 bits refuses to decode values that do not fit.
var (
	Int    = Integer[int]{8, 1 << 63}
	Int8   = IntOf[int8]()
	Int16  = IntOf[int16]()
	Int32  = IntOf[int32]()
	Int64  = IntOf[int64]()
	Uint   = Integer[uint]{8, 0}
	Uint8  = UintOf[uint8]()
	Uint16 = UintOf[uint16]()
	Uint32 = UintOf[uint32]()
	Uint64 = UintOf[uint64]()
)

// Integers of variable size take one byte for -120 to 119 (Varint) or 0 to 247
// (Uvarint), and up to nine for the largest. They are for numbers that are
// mostly small; for times and hashes a fixed size is better.
var (
	Varint  = VarintOf[int64]()
	Uvarint = UvarintOf[uint64]()
)

// Signed and Unsigned are the types that have integer codecs. An int and a
// uint, and types derived from them, have no codec by size, since their size
// differs between machines.
type (
	Signed   interface{ ~int | sizedSigned }
	Unsigned interface{ ~uint | sizedUnsigned }

	sizedSigned interface {
		~int8 | ~int16 | ~int32 | ~int64
	}
	sizedUnsigned interface {
		~uint8 | ~uint16 | ~uint32 | ~uint64
	}
)

// IntOf returns the codec of a signed integer type by its size.
func IntOf[K sizedSigned]() Integer[K] {
	n := sizeOf[K]()
	return Integer[K]{n, 1 << (8*n - 1)}
}

// UintOf returns the codec of an unsigned integer type by its size.
func UintOf[K sizedUnsigned]() Integer[K] { return Integer[K]{sizeOf[K](), 0} }

// sizeOf returns the size of an integer type in bytes, without package unsafe.
func sizeOf[K Signed | Unsigned]() (n uint8) {
	for k := K(1); k != 0; k <<= 4 { // vet refuses to shift a byte by 8
		n++
	}
	return n / 2
}

// Integer is the codec of integers of a fixed size.
type Integer[K Signed | Unsigned] struct {
	size uint8
	flip uint64 // the sign bit
}

// Append implements Codec.
func (c Integer[K]) Append(dst []byte, k K) []byte {
	return appendLow(dst, uint64(k)^c.flip, int(c.size))
}

// AppendInner implements Codec; the forms are the same.
func (c Integer[K]) AppendInner(dst []byte, k K) []byte { return c.Append(dst, k) }

// Decode implements Codec.
func (c Integer[K]) Decode(b []byte) (K, error) { return whole(c.DecodeInner(b)) }

// DecodeInner implements Codec.
func (c Integer[K]) DecodeInner(b []byte) (K, []byte, error) {
	n := int(c.size)
	if len(b) < n {
		return 0, nil, invalid("%d bytes for an integer of %d", len(b), n)
	}
	u := bigEndian(b[:n]) ^ c.flip
	k := K(u)
	if n == 8 && uint64(k) != u {
		return 0, nil, invalid("the integer is too large for this machine")
	}
	return k, b[n:], nil
}

// appendLow appends the n low bytes of u, highest first.
func appendLow(dst []byte, u uint64, n int) []byte {
	for n > 0 {
		n--
		dst = append(dst, byte(u>>(8*n)))
	}
	return dst
}

func bigEndian(b []byte) (u uint64) {
	for _, x := range b {
		u = u<<8 | uint64(x)
	}
	return u
}

// The first byte of a varint is the number itself if that is small. From
// varintPos on it means that one to eight bytes of the number follow; below
// varintNeg it means the same for a negative one, the lower the more bytes. The
// limits are part of the format.
const (
	varintPos  = 0xf8
	varintNeg  = 0x08
	varintZero = 0x80 // the first byte of a signed 0
)

var errLong = invalid("a varint longer than it needs to be")

// UvarintOf returns the codec Uvarint of another unsigned type. The encoding does
// not depend on the type's size.
func UvarintOf[K Unsigned]() UvarintCodec[K] { return UvarintCodec[K]{} }

// VarintOf returns the codec Varint of another signed type. The encoding does not
// depend on the type's size.
func VarintOf[K Signed]() VarintCodec[K] { return VarintCodec[K]{} }

// UvarintCodec is the codec of unsigned integers of variable length.
type UvarintCodec[K Unsigned] struct{}

// Append implements Codec.
func (UvarintCodec[K]) Append(dst []byte, k K) []byte {
	u := uint64(k)
	if u < varintPos {
		return append(dst, byte(u))
	}
	return appendLong(dst, u)
}

// appendLong appends the number of significant bytes of u, and these bytes.
func appendLong(dst []byte, u uint64) []byte {
	n := (bits.Len64(u) + 7) / 8
	return appendLow(append(dst, byte(varintPos-1+n)), u, n)
}

// AppendInner implements Codec; the forms are the same.
func (c UvarintCodec[K]) AppendInner(dst []byte, k K) []byte { return c.Append(dst, k) }

// Decode implements Codec.
func (c UvarintCodec[K]) Decode(b []byte) (K, error) { return whole(c.DecodeInner(b)) }

// DecodeInner implements Codec.
func (UvarintCodec[K]) DecodeInner(b []byte) (K, []byte, error) {
	if len(b) == 0 {
		return 0, nil, invalid("no bytes for a varint")
	}
	u := uint64(b[0])
	rest := b[1:]
	if u >= varintPos {
		var err error
		if u, rest, err = decodeLong(rest, int(u)-varintPos+1); err != nil {
			return 0, nil, err
		}
		if u < varintPos {
			return 0, nil, errLong
		}
	}
	k := K(u)
	if uint64(k) != u {
		return 0, nil, invalid("%d does not fit the type", u)
	}
	return k, rest, nil
}

// decodeLong decodes the n bytes of a long varint, the first of which counts.
func decodeLong(b []byte, n int) (u uint64, rest []byte, err error) {
	if len(b) < n {
		return 0, nil, invalid("%d bytes for a varint of %d", len(b), n)
	}
	u = bigEndian(b[:n])
	if u>>(8*(n-1)) == 0 {
		return 0, nil, errLong
	}
	return u, b[n:], nil
}

// VarintCodec is the codec of signed integers of variable length.
type VarintCodec[K Signed] struct{}

// Append implements Codec. A negative k has as many bytes as ^k, but they are
// those of k, so that they grow towards zero.
func (VarintCodec[K]) Append(dst []byte, k K) []byte {
	v := int64(k)
	switch {
	case v >= varintPos-varintZero:
		return appendLong(dst, uint64(v))
	case v >= varintNeg-varintZero:
		return append(dst, byte(v+varintZero))
	}
	n := (bits.Len64(uint64(^v)) + 7) / 8
	return appendLow(append(dst, byte(varintNeg-n)), uint64(v), n)
}

// AppendInner implements Codec; the forms are the same.
func (c VarintCodec[K]) AppendInner(dst []byte, k K) []byte { return c.Append(dst, k) }

// Decode implements Codec.
func (c VarintCodec[K]) Decode(b []byte) (K, error) { return whole(c.DecodeInner(b)) }

// DecodeInner implements Codec.
func (VarintCodec[K]) DecodeInner(b []byte) (K, []byte, error) {
	if len(b) == 0 {
		return 0, nil, invalid("no bytes for a varint")
	}
	v, rest, err := decodeVarint(int(b[0]), b[1:])
	if err != nil {
		return 0, nil, err
	}
	k := K(v)
	if int64(k) != v {
		return 0, nil, invalid("%d does not fit the type", v)
	}
	return k, rest, nil
}

func decodeVarint(first int, b []byte) (v int64, rest []byte, err error) {
	switch {
	case first >= varintPos:
		u, rest, err := decodeLong(b, first-varintPos+1)
		if err == nil && (u < varintPos-varintZero || u>>63 != 0) {
			err = errLong
		}
		return int64(u), rest, err
	case first >= varintNeg:
		return int64(first) - varintZero, b, nil
	}
	n := varintNeg - first
	if len(b) < n {
		return 0, nil, invalid("%d bytes for a varint of %d", len(b), n)
	}
	u := ^bigEndian(b[:n]) & (1<<(8*n) - 1) // ^v; for n = 8 the mask is all ones
	if u>>(8*(n-1)) == 0 || u < varintZero-varintNeg || u>>63 != 0 {
		return 0, nil, errLong
	}
	return ^int64(u), b[n:], nil
}
