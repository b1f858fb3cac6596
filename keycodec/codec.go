// Package keycodec turns Go values into byte strings that sort like the values:
// integers, floats, strings, times, and tuples of them, for the keys of an
// ordered store.
//
// A [Codec] has two forms of each value. The last form ends where the key ends,
// so a string is stored unchanged. The inner form can be followed by more of
// the key and marks its own end. Tuples choose by position: in
//
//	PairOf(String, Int64)
//
// the string is in the inner form and the number in the last one.
//
// All codecs here satisfy these rules, and a codec of your own must:
//
//  1. In either form, bytes.Compare of two encodings is the order of the values.
//  2. No inner form is a prefix of another one of the same codec.
//  3. Decoding accepts only what encoding makes: a value has one encoding in
//     each form. Anything else is an error that wraps [ErrInvalid], never a
//     panic.
//  4. A decoded value does not point into the bytes it was decoded from.
//
// The encodings do not depend on the machine, and never change: docs/FORMAT.md
// specifies them byte by byte.
package keycodec

import (
	"errors"
	"fmt"
)

// ErrInvalid is wrapped by every error of decoding.
var ErrInvalid = errors.New("keycodec: not an encoding")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// Codec encodes keys of type K in order. Implementations are immutable and safe
// for concurrent use. Appending does not allocate when dst has room.
type Codec[K any] interface {
	// Append appends the last form of k.
	Append(dst []byte, k K) []byte
	// Decode decodes the last form: all of b.
	Decode(b []byte) (K, error)
	// AppendInner appends the inner form of k.
	AppendInner(dst []byte, k K) []byte
	// DecodeInner decodes the inner form at the start of b, and returns the
	// bytes after it. After an error rest is nil.
	DecodeInner(b []byte) (k K, rest []byte, err error)
}

// Prefix is a prefix that keys of type K may share. The methods that return
// one, such as PairCodec.First, say which keys those are.
type Prefix[K any] struct{ bytes []byte }

// Bytes returns the prefix. It must not be modified.
func (p Prefix[K]) Bytes() []byte { return p.bytes }

// Bounds returns the range lo <= key < hi of the keys with the prefix. A nil hi
// means no upper bound.
func (p Prefix[K]) Bounds() (lo, hi []byte) {
	lo = p.bytes
	for i := len(lo) - 1; i >= 0; i-- {
		if lo[i] != 0xff {
			hi = append(hi, lo[:i+1]...)
			hi[i]++
			return lo, hi
		}
	}
	return lo, nil
}

// whole turns a DecodeInner into a Decode, for codecs whose forms are the same.
func whole[K any](k K, rest []byte, err error) (K, error) {
	if err == nil && len(rest) > 0 {
		var zero K
		return zero, invalid("%d bytes too many", len(rest))
	}
	return k, err
}

// Convert returns a codec that encodes a K as the T that to returns. Keys are
// ordered as their Ts; to must map different values to different Ts, and from
// is its inverse, which may refuse a T that to never returns.
func Convert[K, T any](c Codec[T], to func(K) T, from func(T) (K, error)) Codec[K] {
	return converted[K, T]{c, to, from}
}

type converted[K, T any] struct {
	c    Codec[T]
	to   func(K) T
	from func(T) (K, error)
}

func (c converted[K, T]) Append(dst []byte, k K) []byte      { return c.c.Append(dst, c.to(k)) }
func (c converted[K, T]) AppendInner(dst []byte, k K) []byte { return c.c.AppendInner(dst, c.to(k)) }

func (c converted[K, T]) Decode(b []byte) (K, error) {
	v, err := c.c.Decode(b)
	if err != nil {
		var zero K
		return zero, err
	}
	return c.convert(v)
}

func (c converted[K, T]) DecodeInner(b []byte) (K, []byte, error) {
	v, rest, err := c.c.DecodeInner(b)
	if err != nil {
		var zero K
		return zero, nil, err
	}
	k, err := c.convert(v)
	if err != nil {
		rest = nil
	}
	return k, rest, err
}

func (c converted[K, T]) convert(v T) (K, error) {
	k, err := c.from(v)
	if err != nil {
		var zero K
		return zero, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return k, nil
}
