// Package valuecodec encodes Go values as byte strings, for the values of a
// key-value store: strings, JSON, types that marshal themselves, and pairs of
// functions for all others. For keys, whose order matters, use package
// keycodec.
//
// Three codecs write the forms of package merger, so that typed values can be
// merged: [Int64] for merger.Counter, [Ordered] for merger.Max and merger.Min,
// and [Set] for merger.Union. [String] and [Bytes] suit merger.Append.
package valuecodec

import (
	"encoding"
	"encoding/json"
	"fmt"
)

// Codec encodes values of type V. Implementations are immutable and safe for
// concurrent use.
type Codec[V any] interface {
	// Append appends the encoding of v to dst. If it fails it returns dst.
	Append(dst []byte, v V) ([]byte, error)
	// Decode decodes all of b. The result does not point into b.
	Decode(b []byte) (V, error)
}

var (
	// Bytes stores byte strings unchanged. It decodes to new slices, never nil;
	// nil is stored as the empty string.
	Bytes Codec[[]byte] = bytesCodec{}
	// String stores strings unchanged.
	String Codec[string] = stringCodec{}
	// Empty stores nothing, for keys without values: sets, and indexes. It
	// refuses to decode anything else.
	Empty Codec[struct{}] = emptyCodec{}
)

type bytesCodec struct{}

func (bytesCodec) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (bytesCodec) Decode(b []byte) ([]byte, error)      { return append([]byte{}, b...), nil }

type stringCodec struct{}

func (stringCodec) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }
func (stringCodec) Decode(b []byte) (string, error)             { return string(b), nil }

type emptyCodec struct{}

func (emptyCodec) Append(dst []byte, _ struct{}) ([]byte, error) { return dst, nil }

func (emptyCodec) Decode(b []byte) (struct{}, error) {
	if len(b) > 0 {
		return struct{}{}, fmt.Errorf("valuecodec: Empty cannot decode %d bytes", len(b))
	}
	return struct{}{}, nil
}

// JSON stores values in the form of package encoding/json.
func JSON[V any]() Codec[V] { return jsonCodec[V]{} }

type jsonCodec[V any] struct{}

func (jsonCodec[V]) Append(dst []byte, v V) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return dst, err
	}
	return append(dst, b...), nil
}

func (jsonCodec[V]) Decode(b []byte) (v V, err error) {
	if err := json.Unmarshal(b, &v); err != nil {
		var zero V // not a half-decoded value
		return zero, err
	}
	return v, nil
}

// Binary stores values in their own binary form: Binary[time.Time]() uses the
// methods of *time.Time. If there is an AppendBinary method, it avoids a copy.
func Binary[V any, P interface {
	*V
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}]() Codec[V] {
	return binaryCodec[V, P]{}
}

type binaryCodec[V any, P interface {
	*V
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}] struct{}

func (binaryCodec[V, P]) Append(dst []byte, v V) ([]byte, error) {
	p := P(&v)
	if a, ok := any(p).(encoding.BinaryAppender); ok {
		out, err := a.AppendBinary(dst)
		if err != nil {
			return dst, err
		}
		return out, nil
	}
	b, err := p.MarshalBinary()
	if err != nil {
		return dst, err
	}
	return append(dst, b...), nil
}

func (binaryCodec[V, P]) Decode(b []byte) (v V, err error) {
	if err := P(&v).UnmarshalBinary(b); err != nil {
		var zero V
		return zero, err
	}
	return v, nil
}

// Func returns a codec of two functions, which do what the methods of Codec
// say.
func Func[V any](appendTo func(dst []byte, v V) ([]byte, error), decode func(b []byte) (V, error)) Codec[V] {
	return funcCodec[V]{appendTo, decode}
}

type funcCodec[V any] struct {
	appendTo func(dst []byte, v V) ([]byte, error)
	decode   func(b []byte) (V, error)
}

func (c funcCodec[V]) Append(dst []byte, v V) ([]byte, error) { return c.appendTo(dst, v) }
func (c funcCodec[V]) Decode(b []byte) (V, error)             { return c.decode(b) }
