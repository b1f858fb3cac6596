// Package keycodec turns Go values into byte strings that sort like the values:
// integers, floats, strings, times, and tuples of them, for the keys of an
// ordered store.
//
// A [Codec] has two forms of one value. The last form ends where the key ends,
// so a string is its own bytes. The inner form is followed by more of the key
// and says itself where it ends. Tuples choose by position: of
//
//	PairOf(String, Int64)
//
// the string is in the inner form and the number in the last one.
//
// What all codecs here hold to, and a codec of your own must:
//
//  1. In either form, bytes.Compare of two encodings is the order of the values.
//  2. No inner form is the beginning of another one of the same codec.
//  3. Decoding takes what encoding makes and nothing else: a value has one
//     encoding in each form. Anything else is an error that wraps [ErrInvalid],
//     never a panic.
//  4. What decoding returns does not point into the bytes it was given.
//
// The encodings do not depend on the machine, and never change: docs/FORMAT.md
// has them byte by byte.
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
	// DecodeInner decodes the inner form that b begins with, and returns what
	// follows it. After an error the rest is nil.
	DecodeInner(b []byte) (k K, rest []byte, err error)
}

// Prefix is a beginning that keys of type K may share. The methods that make
// one, such as PairCodec.First, say which keys those are.
type Prefix[K any] struct{ bytes []byte }

// Bytes returns what the keys begin with. It must not be modified.
func (p Prefix[K]) Bytes() []byte { return p.bytes }

// Bounds gives the keys with the prefix as the range lo <= key < hi. A nil hi
// means that the range has no upper end.
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

// whole makes a Decode of a DecodeInner, for codecs whose forms are the same.
func whole[K any](k K, rest []byte, err error) (K, error) {
	if err == nil && len(rest) > 0 {
		var zero K
		return zero, invalid("%d bytes too many", len(rest))
	}
	return k, err
}

// Convert encodes a K as the T that to makes of it. The order of the keys is
// that of the Ts; to must give different values different Ts, and from is its
// inverse, which may refuse a T that no K is converted to.
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
