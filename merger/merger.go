// Package merger has merge operators, which turn the operands of Merge into a
// value: counters, appending with a separator, the largest and smallest value,
// and the union of sets.
//
// An operator is chosen when a database or a keyspace is created, and its name
// is stored there. Values and operands of one operator have the same form, so
// values may be put as well as merged; a value of another form causes an error
// that wraps [ErrForm] when an operand is merged onto it. The result does not
// depend on how operands are grouped, nor in how many steps they are merged.
// The forms are part of the format, and docs/FORMAT.md specifies them.
//
// Operators of your own implement the same three methods.
package merger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
)

var (
	// ErrForm is returned if a value or an operand does not have its operator's
	// form.
	ErrForm = errors.New("merger: wrong form")
	// ErrOverflow is returned if a counter does not fit in an int64.
	ErrOverflow = errors.New("merger: counter overflows")
)

// Counter adds: values and operands are int64, in the form of AppendInt64, and
// a missing value counts as 0. If the sum does not fit, reading it returns
// ErrOverflow. No operand is lost by that, and later ones may bring the sum
// back into range.
type Counter struct{}

const counterSize = 8

// AppendInt64 appends the form of a counter: 8 bytes, little-endian.
func AppendInt64(dst []byte, n int64) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(n))
}

// Int64 decodes a counter. Its error wraps ErrForm.
func Int64(b []byte) (int64, error) {
	if len(b) != counterSize {
		return 0, fmt.Errorf("%w: a counter of %d bytes", ErrForm, len(b))
	}
	return int64(binary.LittleEndian.Uint64(b)), nil
}

// Name returns "seerdb.counter".
func (Counter) Name() string { return "seerdb.counter" }

// sum is a 128-bit integer, which cannot overflow here, so the order of
// operands does not matter even if some of their sums overflow a counter.
type sum struct{ hi, lo uint64 }

func (s *sum) add(b []byte) error {
	n, err := Int64(b)
	if err != nil {
		return err
	}
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, uint64(n), 0)
	s.hi, _ = bits.Add64(s.hi, uint64(n>>63), carry)
	return nil
}

// int64 returns false if the sum does not fit.
func (s *sum) int64() (int64, bool) {
	n := int64(s.lo)
	return n, s.hi == uint64(n>>63)
}

// Full adds operands to existing.
func (Counter) Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	var s sum
	if exists {
		if err := s.add(existing); err != nil {
			return nil, err
		}
	}
	for _, o := range operands {
		if err := s.add(o); err != nil {
			return nil, err
		}
	}
	n, ok := s.int64()
	if !ok {
		return nil, fmt.Errorf("%w: %d operands on key %q", ErrOverflow, len(operands), key)
	}
	return AppendInt64(dst, n), nil
}

// Partial adds two operands. It keeps them apart if they overflow: with the
// others the sum may fit.
func (Counter) Partial(dst, _, older, newer []byte) ([]byte, bool, error) {
	var s sum
	if err := errors.Join(s.add(older), s.add(newer)); err != nil {
		return nil, false, err
	}
	n, ok := s.int64()
	if !ok {
		return nil, false, nil
	}
	return AppendInt64(dst, n), true, nil
}

// Append appends operands to the value, with Sep between any two. The first
// operand on a key without a value becomes the value, without Sep; an empty
// value is a value. Values and operands are any bytes.
type Append struct{ Sep string }

const appendPrefix = "seerdb.append/"

// Name returns the operator with its separator as a Go string literal:
// seerdb.append/",". All but ASCII is escaped, since which other characters Go
// considers printable changes with Unicode.
func (a Append) Name() string { return appendPrefix + strconv.QuoteToASCII(a.Sep) }

// Full appends operands to existing.
func (a Append) Full(dst, _, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	if exists {
		dst = append(dst, existing...)
	}
	for i, o := range operands {
		if exists || i > 0 {
			dst = append(dst, a.Sep...)
		}
		dst = append(dst, o...)
	}
	return dst, nil
}

// Partial joins two operands.
func (a Append) Partial(dst, _, older, newer []byte) ([]byte, bool, error) {
	dst = append(append(dst, older...), a.Sep...)
	return append(dst, newer...), true, nil
}

// Max keeps the largest, bytewise, of the value and all operands. Numbers and
// times encoded with package keycodec are compared by value.
type Max struct{}

// Name returns "seerdb.max".
func (Max) Name() string { return "seerdb.max" }

// Full returns the largest of existing and operands.
func (Max) Full(dst, _, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	return extreme(dst, existing, exists, operands, 1), nil
}

// Partial returns the larger of two operands.
func (Max) Partial(dst, _, older, newer []byte) ([]byte, bool, error) {
	return extreme(dst, older, true, [][]byte{newer}, 1), true, nil
}

// Min keeps the smallest of the value and all operands: see Max.
type Min struct{}

// Name returns "seerdb.min".
func (Min) Name() string { return "seerdb.min" }

// Full returns the smallest of existing and operands.
func (Min) Full(dst, _, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	return extreme(dst, existing, exists, operands, -1), nil
}

// Partial returns the smaller of two operands.
func (Min) Partial(dst, _, older, newer []byte) ([]byte, bool, error) {
	return extreme(dst, older, true, [][]byte{newer}, -1), true, nil
}

// extreme returns the value that compares to all others with this sign.
func extreme(dst, best []byte, exists bool, operands [][]byte, sign int) []byte {
	for _, o := range operands {
		if !exists || bytes.Compare(o, best) == sign {
			best, exists = o, true
		}
	}
	return append(dst, best...)
}
