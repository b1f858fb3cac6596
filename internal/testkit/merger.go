package testkit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// ErrMerge is what every failure of a merge operator wraps.
var ErrMerge = errors.New("merge failed")

// Merger is what a merge operator means: the value after operands, oldest
// first, of which there is at least one, on top of a value that may be missing.
// The answer is one of all operands together. That is why it cannot depend on
// how an engine groups them, whose partial merges must respect it.
type Merger struct {
	Name string
	Full func(value string, exists bool, operands []string) (string, error)
}

// The operators that are built in.
var (
	// Counter adds. Value and operands are int64, 8 bytes little-endian; a
	// missing value is 0. It is an error when the sum of all does not fit, but
	// not when only the sum of some does not: MaxInt64 + 1 - 1 is MaxInt64, in
	// whatever order and groups it is added up.
	Counter = &Merger{"counter", counterFull}
	// Max is the bytewise largest of value and operands.
	Max = &Merger{"max", func(value string, exists bool, operands []string) (string, error) {
		return slices.Max(with(value, exists, operands)), nil
	}}
	// Min is the bytewise smallest.
	Min = &Merger{"min", func(value string, exists bool, operands []string) (string, error) {
		return slices.Min(with(value, exists, operands)), nil
	}}
	// Union joins sets. Value and operands are sets as AppendSet writes them,
	// and only so; a missing value is the empty set.
	Union = &Merger{"union", unionFull}
	// AppendComma and AppendBare are two of Append: with the second an empty
	// operand cannot be seen, but makes the key be there.
	AppendComma, AppendBare = Append(", "), Append("")
)

// Append joins value and operands with a separator between them. A missing
// value is nothing, an empty one is something to put a separator behind.
func Append(separator string) *Merger {
	return &Merger{"append " + separator, func(value string, exists bool, operands []string) (string, error) {
		return strings.Join(with(value, exists, operands), separator), nil
	}}
}

// with lists the value, if any, and the operands.
func with(value string, exists bool, operands []string) []string {
	if !exists {
		return operands
	}
	return slices.Insert(slices.Clone(operands), 0, value)
}

// Number returns an int64 as Counter takes it.
func Number(n int64) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

func counterFull(value string, exists bool, operands []string) (string, error) {
	var sum int64
	exact := true // sum is the sum so far
	all := with(value, exists, operands)
	for _, s := range all {
		if len(s) != 8 {
			return "", fmt.Errorf("%w: a number of %d bytes", ErrMerge, len(s))
		}
		n := parseNumber(s)
		next := sum + n
		exact = exact && (n >= 0) == (next >= sum)
		sum = next
	}
	if !exact {
		total := new(big.Int)
		for _, s := range all {
			total.Add(total, big.NewInt(parseNumber(s)))
		}
		if !total.IsInt64() {
			return "", fmt.Errorf("%w: %v is no int64", ErrMerge, total)
		}
		sum = total.Int64()
	}
	return Number(sum), nil
}

func parseNumber(s string) int64 {
	var n uint64
	for i := range 8 {
		n |= uint64(s[i]) << (8 * i)
	}
	return int64(n)
}

// AppendSet writes a set: its elements ascending, each once, each after its
// length as the shortest uvarint.
func AppendSet(dst []byte, elements ...string) []byte {
	elements = slices.Clone(elements)
	slices.Sort(elements)
	for _, e := range slices.Compact(elements) {
		dst = append(binary.AppendUvarint(dst, uint64(len(e))), e...)
	}
	return dst
}

func unionFull(value string, exists bool, operands []string) (string, error) {
	var all []string
	for _, s := range with(value, exists, operands) {
		elements, err := parseSet(s)
		if err != nil {
			return "", err
		}
		all = append(all, elements...)
	}
	return string(AppendSet(nil, all...)), nil
}

// parseSet takes what AppendSet could have written and nothing else, which is
// why it compares with that.
func parseSet(set string) (elements []string, err error) {
	for rest := []byte(set); len(rest) > 0; {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return nil, fmt.Errorf("%w: %q is no set", ErrMerge, set)
		}
		end := size + int(n)
		elements = append(elements, string(rest[size:end]))
		rest = rest[end:]
	}
	if string(AppendSet(nil, elements...)) != set {
		return nil, fmt.Errorf("%w: %q is a set out of order", ErrMerge, set)
	}
	return elements, nil
}
