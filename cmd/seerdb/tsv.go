package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
)

// tsvReader reads tsv, in which a row is key TAB value NEWLINE. A tab, newline,
// carriage return or backslash is written as \t, \n, \r, \\, and any byte may
// be written as \x and two hexadecimal digits; all else is unchanged, so any
// bytes survive. Tabs in a value need no escape.
//
// Raw rows have no escapes: keys without tabs and newlines, values without
// newlines.
type tsvReader struct {
	text
	key, value []byte
}

func (t *tsvReader) next() (row, error) {
	if err := t.begin(); err != nil {
		return row{}, err
	}
	return row{key: t.key, value: t.value}.or(t.finish(t.row()))
}

func (t *tsvReader) row() (err error) {
	inKey, inValue := tabOrEscape, escapeOnly
	if t.o.raw {
		inKey, inValue = tabOnly, nothing
	}
	var c byte
	if t.key, c, err = t.field(t.key[:0], inKey, "key", t.o.maxKey); err != nil {
		return err
	}
	if c == end {
		return badf("there is no tab between key and value: %.60q", t.key)
	}
	t.value, _, err = t.field(t.value[:0], inValue, "value", t.o.maxValue)
	return err
}

var tabOrEscape, escapeOnly, tabOnly = stops("\t\\"), stops("\\"), stops("\t")

// field reads up to a byte in stop, other than a backslash, or the end of the
// line.
func (t *tsvReader) field(dst []byte, stop *[256]bool, what string, limit int) (_ []byte, c byte, err error) {
	for {
		if dst, c, err = t.until(dst, stop, what, limit); err != nil || c != '\\' {
			return dst, c, err
		}
		if c, err = t.escape(); err != nil {
			return dst, 0, err
		}
		if dst = append(dst, c); len(dst) > limit {
			return dst, 0, badf("the %s is longer than %d bytes", what, limit)
		}
	}
}

// escape reads the rest of an escape after its backslash.
func (t *tsvReader) escape() (byte, error) {
	const expected = `expected \t, \n, \r, \\ or \x and two hexadecimal digits, or --raw if backslashes mean nothing`
	c, err := t.one()
	switch {
	case err != nil:
		return 0, err
	case c == end:
		return 0, badf(`a backslash ends the line; %s`, expected)
	case c == 'x':
		var digits, b [2]byte
		for i := range digits {
			if digits[i], err = t.one(); err != nil {
				return 0, err
			}
		}
		if _, err := hex.Decode(b[:], digits[:]); err != nil {
			return 0, badf(`\x%s is no escape; %s`, bytes.TrimRight(digits[:], "\n"), expected)
		}
		return b[0], nil
	}
	i := strings.IndexByte(`tnr\`, c)
	if i < 0 {
		return 0, badf(`\%c is no escape; %s`, c, expected)
	}
	return "\t\n\r\\"[i], nil
}

var tsvEscapes = strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

type tsvWriter struct {
	w       *bufio.Writer
	raw     bool
	started bool
}

func (t *tsvWriter) write(r row) error {
	key, first := r.key, !t.started
	t.started = true
	if t.raw {
		if bytes.ContainsAny(key, "\t\n") || bytes.IndexByte(r.value, '\n') >= 0 || bytes.HasSuffix(r.value, []byte("\r")) ||
			first && bytes.HasPrefix(key, bom) {
			return usagef("key %.60q: the row contains something that --raw cannot write: a newline, a tab in the key, a CR at the end, or a byte order mark in front", key)
		}
		_, _ = t.w.Write(key)
		_ = t.w.WriteByte('\t')
		_, _ = t.w.Write(r.value)
		return t.w.WriteByte('\n')
	}
	if first && bytes.HasPrefix(key, bom) { // a reader would take it for the file's
		_, _ = fmt.Fprintf(t.w, `\x%x\x%x\x%x`, bom[0], bom[1], bom[2])
		key = key[len(bom):]
	}
	t.field(key)
	_ = t.w.WriteByte('\t')
	t.field(r.value)
	return t.w.WriteByte('\n') // a bufio.Writer remembers the first error
}

func (t *tsvWriter) field(b []byte) {
	if bytes.ContainsAny(b, "\t\n\r\\") {
		_, _ = tsvEscapes.WriteString(t.w, string(b))
		return
	}
	_, _ = t.w.Write(b)
}
