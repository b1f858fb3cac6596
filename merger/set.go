package merger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// Union adds operands to a set. Values and operands are sets in the form of
// AppendSet: distinct byte strings in bytewise order, each a uvarint of its
// length and its bytes. The empty set has no bytes; a missing value counts as
// the empty set.
type Union struct{}

// AppendSet appends the form of a set with these elements, which may come in
// any order and repeat. It does not modify them.
func AppendSet(dst []byte, elements ...[]byte) []byte {
	for i := 1; i < len(elements); i++ {
		if bytes.Compare(elements[i-1], elements[i]) >= 0 {
			return appendSorted(dst, slices.Clone(elements))
		}
	}
	for _, e := range elements {
		dst = appendElement(dst, e)
	}
	return dst
}

// appendSorted appends a set of elements, which it sorts.
func appendSorted(dst []byte, elements [][]byte) []byte {
	slices.SortFunc(elements, bytes.Compare)
	for i, e := range elements {
		if i == 0 || !bytes.Equal(elements[i-1], e) {
			dst = appendElement(dst, e)
		}
	}
	return dst
}

func appendElement(dst, e []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(e))), e...)
}

// Set returns the elements of a set, in order. They point into b. Its error
// wraps ErrForm.
func Set(b []byte) ([][]byte, error) {
	s := setReader{rest: b}
	var elements [][]byte
	for s.next() {
		elements = append(elements, s.element)
	}
	if s.err != nil {
		return nil, s.err
	}
	return elements, nil
}

// Contains reports whether e is in a set. It reads no further than necessary.
func Contains(set, e []byte) (bool, error) {
	s := setReader{rest: set}
	for s.next() {
		if c := bytes.Compare(s.element, e); c >= 0 {
			return c == 0, nil
		}
	}
	return false, s.err
}

// setReader walks a set and checks its form.
type setReader struct {
	element, rest []byte
	begun         bool
	err           error
}

// next moves to the next element. When it returns false, err is nil if that is
// the end.
func (s *setReader) next() bool {
	if s.err != nil || len(s.rest) == 0 {
		return false
	}
	n, size := binary.Uvarint(s.rest)
	if size <= 0 || size > 1 && s.rest[size-1] == 0 || n > uint64(len(s.rest)-size) {
		s.err = fmt.Errorf("%w: a set in which the length of an element is malformed", ErrForm)
		return false
	}
	end := size + int(n)
	e := s.rest[size:end:end]
	if s.begun && bytes.Compare(s.element, e) >= 0 {
		s.err = fmt.Errorf("%w: a set with elements out of order", ErrForm)
		return false
	}
	s.element, s.rest, s.begun = e, s.rest[end:], true
	return true
}

// Name returns "seerdb.union".
func (Union) Name() string { return "seerdb.union" }

// Full returns the union of existing and operands.
func (Union) Full(dst, _, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	if !exists {
		existing = nil
	}
	switch {
	case len(operands) == 1:
		return union(dst, existing, operands[0])
	case !exists && len(operands) == 2:
		return union(dst, operands[0], operands[1])
	}
	// Sorting everything is faster than merging one operand after another,
	// which would walk a large set once for each.
	all, err := Set(existing)
	for _, o := range operands {
		s := setReader{rest: o}
		for s.next() {
			all = append(all, s.element)
		}
		if err == nil {
			err = s.err
		}
	}
	if err != nil {
		return nil, err
	}
	return appendSorted(dst, all), nil
}

// Partial returns the union of two operands.
func (Union) Partial(dst, _, older, newer []byte) ([]byte, bool, error) {
	b, err := union(dst, older, newer)
	return b, err == nil, err
}

// union returns the union of two sets.
func union(dst, a, b []byte) ([]byte, error) {
	x, y := setReader{rest: a}, setReader{rest: b}
	inX, inY := x.next(), y.next()
	for inX || inY {
		c := -1
		switch {
		case !inX:
			c = 1
		case inY:
			c = bytes.Compare(x.element, y.element)
		}
		if c <= 0 {
			dst = appendElement(dst, x.element)
			inX = x.next()
		}
		if c > 0 {
			dst = appendElement(dst, y.element)
		}
		if c >= 0 {
			inY = y.next()
		}
	}
	if err := cmp.Or(x.err, y.err); err != nil {
		return nil, err
	}
	return dst, nil
}
