package main

import (
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb/merger"
)

// encoding is the form of keys and values on the command line: unchanged, and
// printed on one line, or in hexadecimal. Unless in hexadecimal, the values of
// two merge operators have another form: a counter is a decimal number, and a
// set of the operator union a list of its elements, separated by commas.
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
	return oneLine(b)
}

// oneLine returns b in a form that fits on one line and that fromLine can
// parse. Printable text, such as JSON, is unchanged; other bytes, and the empty
// string, become a quoted Go string.
func oneLine(b []byte) string {
	if s := string(b); !isPlain(s) {
		return strconv.Quote(s)
	}
	return string(b)
}

// fromLine is the inverse of oneLine.
func fromLine(s string) string {
	if u, ok := unquote(s); ok && !isPlain(u) {
		return u
	}
	return s
}

// isPlain reports whether s is printed unchanged. Text that would then look
// like a quoted string is not.
func isPlain(s string) bool {
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return false
	}
	u, ok := unquote(s)
	return !ok || isPlain(u)
}

func unquote(s string) (string, bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", false
	}
	u, err := strconv.Unquote(s)
	return u, err == nil
}

// escape returns b as a Go string without its quotes.
func escape(b []byte) string {
	q := strconv.Quote(string(b))
	return q[1 : len(q)-1]
}

// The operators whose values are not printed unchanged.
var (
	counterName = merger.Counter{}.Name()
	unionName   = merger.Union{}.Name()
)

// parseValue parses a value, or an operand, of a merge operator. A set has one
// element.
func (e *encoding) parseValue(operator, what, s string) ([]byte, error) {
	switch {
	case e.hex:
	case operator == counterName:
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if err != nil {
			return nil, usagef("%s %.40q is not a decimal 64-bit number, as counters are", what, s)
		}
		return merger.AppendInt64(nil, n), nil
	case operator == unionName:
		return merger.AppendSet(nil, []byte(s)), nil
	}
	return e.parse(what, s)
}

// formatValue returns a value in one line. A value without the form of its
// operator, which a Put may have left, is unchanged.
func (e *encoding) formatValue(operator string, v []byte) string {
	if s, ok := e.special(operator, v); ok {
		return s
	}
	return e.format(v)
}

// special returns the text of a value whose operator has a form of its own.
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
