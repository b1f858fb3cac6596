package testkit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// ErrMerge is wrapped by every error of a merge operator.
var ErrMerge = errors.New("merge failed")

// Merger defines a merge operator: it returns the value of at least one
// operand, oldest first, on top of a value that may be missing. It always takes
// all operands together, so the result cannot depend on how an engine groups
// them, and the engine's partial merges must agree with it.
type Merger struct {
	Name string
	Full func(value string, exists bool, operands []string) (string, error)
}

// The built-in operators.
var (
	// Counter adds. Value and operands are int64, 8 bytes little-endian; a
	// missing value is 0. It fails if the sum of all overflows, but not if only
	// the sum of some does: MaxInt64 + 1 - 1 is MaxInt64, in any order and
	// grouping.
	Counter = &Merger{"counter", counterFull}
	// Max returns the bytewise largest of value and operands.
	Max = &Merger{"max", func(value string, exists bool, operands []string) (string, error) {
		return slices.Max(with(value, exists, operands)), nil
	}}
	// Min returns the bytewise smallest.
	Min = &Merger{"min", func(value string, exists bool, operands []string) (string, error) {
		return slices.Min(with(value, exists, operands)), nil
	}}
	// Union joins sets. Value and operands must be sets in the form of
	// AppendSet; a missing value is the empty set.
	Union = &Merger{"union", unionFull}
	// AppendComma and AppendBare are two operators of Append. With the second
	// an empty operand only makes the key exist.
	AppendComma, AppendBare = Append(", "), Append("")
)

// Append returns an operator that joins value and operands with a separator. A
// missing value is skipped; an empty one is followed by a separator.
func Append(separator string) *Merger {
	return &Merger{"append " + separator, func(value string, exists bool, operands []string) (string, error) {
		return strings.Join(with(value, exists, operands), separator), nil
	}}
}

// with returns the value, if any, followed by the operands.
func with(value string, exists bool, operands []string) []string {
	if !exists {
		return operands
	}
	return slices.Insert(slices.Clone(operands), 0, value)
}

// Number encodes an int64 for Counter.
func Number(n int64) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(n))) }

func counterFull(value string, exists bool, operands []string) (string, error) {
	var sum int64
	exact := true // sum is exact so far
	all := with(value, exists, operands)
	for _, s := range all {
		if len(s) != 8 {
			return "", fmt.Errorf("%w: a counter has 8 bytes, this one %d", ErrMerge, len(s))
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
			return "", fmt.Errorf("%w: the sum %v overflows int64", ErrMerge, total)
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

// AppendSet appends a set: its elements in ascending order, each once, each
// after its length as the shortest uvarint.
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

// parseSet accepts only what AppendSet writes. It therefore encodes the set
// again and compares.
func parseSet(set string) (elements []string, err error) {
	for rest := []byte(set); len(rest) > 0; {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return nil, fmt.Errorf("%w: %q is not a set", ErrMerge, set)
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
