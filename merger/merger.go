// Package merger has merge operators: what a database makes of the operands of
// Merge. They are counters, appending with a separator, the largest and smallest
// value, and the union of sets.
//
// An operator is chosen when a database or a keyspace is made, and its name is
// stored there. Values and operands of one operator have the same form, so a
// value may be put as well as merged, and one that has another form is an error
// that wraps [ErrForm] when an operand meets it. How operands are grouped, and
// in how many steps they are merged, makes no difference to the result. The
// forms are part of the format and in docs/FORMAT.md.
//
// An operator of one's own has the same three methods.
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
	// ErrForm: a value or an operand is not of the form of its operator.
	ErrForm = errors.New("merger: wrong form")
	// ErrOverflow: a counter would not fit in an int64.
	ErrOverflow = errors.New("merger: counter overflows")
)

// Counter adds: values and operands are int64, as AppendInt64 writes them, and
// no value counts as 0. A sum that does not fit is ErrOverflow for those that read
// it; no operand is lost by that, and further ones may bring it back into range.
type Counter struct{}

const counterSize = 8

// AppendInt64 appends the form of a counter: 8 bytes, little-endian.
func AppendInt64(dst []byte, n int64) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(n))
}

// Int64 reads a counter. Its error wraps ErrForm.
func Int64(b []byte) (int64, error) {
	if len(b) != counterSize {
		return 0, fmt.Errorf("%w: a counter of %d bytes", ErrForm, len(b))
	}
	return int64(binary.LittleEndian.Uint64(b)), nil
}

// Name identifies the operator: seerdb.counter.
func (Counter) Name() string { return "seerdb.counter" }

// sum is an integer of 128 bits: what it adds up cannot overflow it, so it does
// not matter in which order operands come that overflow a counter on the way.
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

// int64 answers false when the sum does not fit.
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

// Partial adds two operands. It leaves those that overflow: with what else
// there is, the sum may fit.
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

// Append puts operands behind the value, with Sep between each two. The first
// operand on a key without a value is the value, without Sep; an empty value is
// a value. Values and operands are any bytes.
type Append struct{ Sep string }

const appendPrefix = "seerdb.append/"

// Name identifies the operator and its separator, as a Go string literal:
// seerdb.append/",". What is not ASCII is escaped: what else Go takes for
// printable changes with Unicode.
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
// times compare as they should when they are encoded with package keycodec.
type Max struct{}

// Name identifies the operator: seerdb.max.
func (Max) Name() string { return "seerdb.max" }

// Full returns the largest of existing and operands.
func (Max) Full(dst, _, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	return extreme(dst, existing, exists, operands, 1), nil
}

// Partial returns the larger of two operands.
func (Max) Partial(dst, _, older, newer []byte) ([]byte, bool, error) {
	return extreme(dst, older, true, [][]byte{newer}, 1), true, nil
}

// Min keeps the smallest, as Max does the largest.
type Min struct{}

// Name identifies the operator: seerdb.min.
func (Min) Name() string { return "seerdb.min" }

// Full returns the smallest of existing and operands.
func (Min) Full(dst, _, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	return extreme(dst, existing, exists, operands, -1), nil
}

// Partial returns the smaller of two operands.
func (Min) Partial(dst, _, older, newer []byte) ([]byte, bool, error) {
	return extreme(dst, older, true, [][]byte{newer}, -1), true, nil
}

// extreme returns what compares to all others as sign says.
func extreme(dst, best []byte, exists bool, operands [][]byte, sign int) []byte {
	for _, o := range operands {
		if !exists || bytes.Compare(o, best) == sign {
			best, exists = o, true
		}
	}
	return append(dst, best...)
}
