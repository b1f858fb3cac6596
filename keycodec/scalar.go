package keycodec

import (
	"encoding/binary"
	"math"
	"time"
)

// These are the codecs of other values of a fixed size.
var (
	// Bool is one byte, 0 or 1: false sorts before true.
	Bool BoolCodec
	// Float64 is 8 bytes and Float32 is 4, in the order of cmp.Compare: NaN is
	// less than everything, even negative infinity. As in Go, there is one
	// zero: -0 is encoded as 0, so that they are the same key. All NaNs are one
	// key.
	Float64 Float64Codec
	// Float32 is like Float64.
	Float32 Float32Codec
	// Time is 12 bytes: the instant, to the nanosecond, in the order of
	// time.Time.Compare, for every possible time.Time. It omits the location
	// and the monotonic clock; decoded times are in UTC.
	Time TimeCodec
)

// BoolCodec is the type of Bool.
type BoolCodec struct{}

// Append implements Codec.
func (BoolCodec) Append(dst []byte, k bool) []byte {
	if k {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendInner implements Codec; the forms are the same.
func (c BoolCodec) AppendInner(dst []byte, k bool) []byte { return c.Append(dst, k) }

// Decode implements Codec.
func (c BoolCodec) Decode(b []byte) (bool, error) { return whole(c.DecodeInner(b)) }

// DecodeInner implements Codec.
func (BoolCodec) DecodeInner(b []byte) (bool, []byte, error) {
	if len(b) == 0 || b[0] > 1 {
		return false, nil, invalid("not a bool")
	}
	return b[0] == 1, b[1:], nil
}

// The bits of a float are a sign and a magnitude. So that they sort as numbers do,
// negative floats have all bits flipped, and others their sign bit set. NaN is all
// zeros, which is the encoding of no other float. The encodings of other NaNs, and of -0, are errors.

// Float64Codec is the type of Float64.
type Float64Codec struct{}

// Append implements Codec.
func (Float64Codec) Append(dst []byte, k float64) []byte {
	var u uint64
	switch {
	case k == 0:
		u = 1 << 63
	case k > 0:
		u = math.Float64bits(k) | 1<<63
	case k < 0:
		u = ^math.Float64bits(k)
	}
	return binary.BigEndian.AppendUint64(dst, u)
}

// AppendInner implements Codec; the forms are the same.
func (c Float64Codec) AppendInner(dst []byte, k float64) []byte { return c.Append(dst, k) }

// Decode implements Codec.
func (c Float64Codec) Decode(b []byte) (float64, error) { return whole(c.DecodeInner(b)) }

// DecodeInner implements Codec.
func (Float64Codec) DecodeInner(b []byte) (float64, []byte, error) {
	if len(b) < 8 {
		return 0, nil, invalid("%d bytes for a float of 8", len(b))
	}
	u := binary.BigEndian.Uint64(b)
	if u == 0 {
		return math.NaN(), b[8:], nil
	}
	if u>>63 == 1 {
		u &^= 1 << 63
	} else {
		u = ^u
	}
	k := math.Float64frombits(u)
	if math.IsNaN(k) || u == 1<<63 {
		return 0, nil, invalid("a float with another encoding")
	}
	return k, b[8:], nil
}

// Float32Codec is the type of Float32.
type Float32Codec struct{}

// Append implements Codec.
func (Float32Codec) Append(dst []byte, k float32) []byte {
	var u uint32
	switch {
	case k == 0:
		u = 1 << 31
	case k > 0:
		u = math.Float32bits(k) | 1<<31
	case k < 0:
		u = ^math.Float32bits(k)
	}
	return binary.BigEndian.AppendUint32(dst, u)
}

// AppendInner implements Codec; the forms are the same.
func (c Float32Codec) AppendInner(dst []byte, k float32) []byte { return c.Append(dst, k) }

// Decode implements Codec.
func (c Float32Codec) Decode(b []byte) (float32, error) { return whole(c.DecodeInner(b)) }

// DecodeInner implements Codec.
func (Float32Codec) DecodeInner(b []byte) (float32, []byte, error) {
	if len(b) < 4 {
		return 0, nil, invalid("%d bytes for a float of 4", len(b))
	}
	u := binary.BigEndian.Uint32(b)
	if u == 0 {
		return float32(math.NaN()), b[4:], nil
	}
	if u>>31 == 1 {
		u &^= 1 << 31
	} else {
		u = ^u
	}
	k := math.Float32frombits(u)
	if math.IsNaN(float64(k)) || u == 1<<31 {
		return 0, nil, invalid("a float with another encoding")
	}
	return k, b[4:], nil
}

const (
	timeSize = 12
	// secondsToUnix is what package time adds to the seconds since year 1 to
	// get Unix seconds, with overflow: times compare by seconds since year 1,
	// and the sum wraps around for times far in the past.
	secondsToUnix = -62135596800
)

// TimeCodec is the type of Time.
type TimeCodec struct{}

// Append implements Codec.
func (TimeCodec) Append(dst []byte, k time.Time) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(k.Unix()-secondsToUnix)^1<<63)
	return binary.BigEndian.AppendUint32(dst, uint32(k.Nanosecond()))
}

// AppendInner implements Codec; the forms are the same.
func (c TimeCodec) AppendInner(dst []byte, k time.Time) []byte { return c.Append(dst, k) }

// Decode implements Codec.
func (c TimeCodec) Decode(b []byte) (time.Time, error) { return whole(c.DecodeInner(b)) }

// DecodeInner implements Codec.
func (TimeCodec) DecodeInner(b []byte) (time.Time, []byte, error) {
	if len(b) < timeSize {
		return time.Time{}, nil, invalid("%d bytes for a time of %d", len(b), timeSize)
	}
	nanos := binary.BigEndian.Uint32(b[8:])
	if nanos >= uint32(time.Second) {
		return time.Time{}, nil, invalid("%d nanoseconds in a second", nanos)
	}
	seconds := int64(binary.BigEndian.Uint64(b) ^ 1<<63)
	return time.Unix(seconds+secondsToUnix, int64(nanos)).UTC(), b[timeSize:], nil
}
