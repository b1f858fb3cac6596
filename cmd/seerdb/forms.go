package main

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb/merger"
)

// encoding says how keys and values appear on the command line: keys and values
// as they are, printed escaped as in a Go string without its quotes, or both in
// hexadecimal. The values of two merge operators have a form of their own,
// unless they are in hexadecimal: a counter is a decimal number, and a set of
// the operator union its elements, with commas between them.
type encoding struct{ hex bool }

func (e *encoding) flag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&e.hex, "hex", false, "read and print keys and values in hexadecimal")
}

func (e *encoding) parse(what, s string) ([]byte, error) {
	if !e.hex {
		return []byte(s), nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, usagef("%s %q is not hexadecimal: %w", what, s, err)
	}
	return b, nil
}

func (e *encoding) format(b []byte) string {
	if e.hex {
		return hex.EncodeToString(b)
	}
	return escape(b)
}

// escape prints b so that it fits on one line and can be read back.
func escape(b []byte) string {
	q := strconv.Quote(string(b))
	return q[1 : len(q)-1]
}

// The operators whose values people do not read as they are.
var (
	counterName = merger.Counter{}.Name()
	unionName   = merger.Union{}.Name()
)

// parseValue reads a value, or an operand, of a merge operator. A set has one
// element.
func (e *encoding) parseValue(operator, what, s string) ([]byte, error) {
	switch {
	case e.hex:
	case operator == counterName:
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if err != nil {
			return nil, usagef("%s %.40q is no decimal number of 64 bits, as counters are", what, s)
		}
		return merger.AppendInt64(nil, n), nil
	case operator == unionName:
		return merger.AppendSet(nil, []byte(s)), nil
	}
	return e.parse(what, s)
}

// formatValue prints a value on one line. One that has not the form of its
// operator, which a Put may have left, is printed as it is.
func (e *encoding) formatValue(operator string, v []byte) string {
	if s, ok := e.special(operator, v); ok {
		return s
	}
	return e.format(v)
}

// special is the text of a value whose operator has a form of its own.
func (e *encoding) special(operator string, v []byte) (string, bool) {
	switch {
	case e.hex:
	case operator == counterName:
		n, err := merger.Int64(v)
		return strconv.FormatInt(n, 10), err == nil
	case operator == unionName:
		elements, err := merger.Set(v)
		texts := make([]string, len(elements))
		for i, x := range elements {
			texts[i] = strings.ReplaceAll(escape(x), ",", `\x2c`)
		}
		return strings.Join(texts, ","), err == nil
	}
	return "", false
}
