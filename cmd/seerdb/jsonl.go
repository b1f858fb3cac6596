package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads jsonl, in which a row is an object on a line:
//
//	{"key":"…","value":"…","expires":"2026-05-01T12:00:00.5Z"}
//
// Bytes that are not text are in "key64" and "value64", in base64. The time at
// which a row expires is in the form of RFC 3339, or a number of milliseconds
// since 1970 if it has no such form.
//
// The reader accepts nothing else: what other JSON readers ignore, repair or
// guess is an error here, since it would change a row silently.
type jsonReader struct {
	text
	name, key, value, scratch []byte
}

func (j *jsonReader) next() (row, error) {
	if err := j.begin(); err != nil {
		return row{}, err
	}
	r, err := j.row()
	return r.or(j.finish(err))
}

// The fields of a row, as bits.
const (
	fieldKey = 1 << iota
	fieldKey64
	fieldValue
	fieldValue64
	fieldExpires
)

var jsonFields = map[string]int{
	"key": fieldKey, "key64": fieldKey64, "value": fieldValue, "value64": fieldValue64, "expires": fieldExpires,
}

func (j *jsonReader) row() (r row, err error) {
	if err := j.expect('{', "the row"); err != nil {
		return r, err
	}
	seen := 0
	for {
		if err := j.expect('"', "the name of a field"); err != nil {
			return r, err
		}
		if j.name, err = j.string(j.name[:0], "name of a field", 100); err != nil {
			return r, err
		}
		field, ok := jsonFields[string(j.name)]
		switch {
		case !ok:
			return r, badf("there is no field %q; expected key or key64, value or value64, and expires", j.name)
		case seen&field != 0:
			return r, badf("the field %s is there twice", j.name)
		}
		seen |= field
		if err := j.expect(':', "the field "+string(j.name)); err != nil {
			return r, err
		}
		if err := j.field(field, &r); err != nil {
			return r, err
		}
		c, err := j.blanks()
		switch {
		case err != nil:
			return r, err
		case c == '}':
			return r, j.complete(seen, &r)
		case c != ',':
			return r, unexpected(c, "a comma or } after the field "+string(j.name))
		}
	}
}

// field reads the value of a field.
func (j *jsonReader) field(field int, r *row) (err error) {
	if field == fieldExpires {
		r.expires, err = j.expiry()
		return err
	}
	if err := j.expect('"', "the string of the field "+string(j.name)); err != nil {
		return err
	}
	switch field {
	case fieldKey:
		j.key, err = j.string(j.key[:0], "key", j.o.maxKey)
	case fieldKey64:
		j.key, err = j.base64(j.key[:0], "key", j.o.maxKey)
	case fieldValue:
		j.value, err = j.string(j.value[:0], "value", j.o.maxValue)
	case fieldValue64:
		j.value, err = j.base64(j.value[:0], "value", j.o.maxValue)
	}
	return err
}

// complete checks that the required fields are there, and that nothing follows.
func (j *jsonReader) complete(seen int, r *row) error {
	c, err := j.blanks()
	switch {
	case err != nil:
		return err
	case c != end:
		return unexpected(c, "the end of the line: one row on each")
	case seen&(fieldKey|fieldKey64) == 0 || seen&(fieldKey|fieldKey64) == fieldKey|fieldKey64:
		return badf("a row needs one of key and key64")
	case seen&(fieldValue|fieldValue64) == 0 || seen&(fieldValue|fieldValue64) == fieldValue|fieldValue64:
		return badf("a row needs one of value and value64")
	}
	r.key, r.value = j.key, j.value
	return nil
}

// blanks skips blanks, and returns the next byte.
func (j *jsonReader) blanks() (byte, error) {
	for {
		if c, err := j.one(); err != nil || c != ' ' && c != '\t' && c != '\r' {
			return c, err
		}
	}
}

// expect skips blanks and the byte want, which must follow.
func (j *jsonReader) expect(want byte, what string) error {
	c, err := j.blanks()
	if err == nil && c != want {
		err = unexpected(c, fmt.Sprintf("%q before %s", want, what))
		if want == ':' {
			err = unexpected(c, fmt.Sprintf("%q after %s", want, what))
		}
	}
	return err
}

func unexpected(c byte, expected string) error {
	found := fmt.Sprintf("%q", c)
	switch {
	case c == end:
		found = "the end of the line"
	case c >= utf8.RuneSelf:
		found = fmt.Sprintf("the byte %#x", c)
	}
	return badf("found %s; expected %s", found, expected)
}

var inString = func() *[256]bool {
	s := stops("\"\\")
	for c := range byte(' ') {
		s[c] = true
	}
	return s
}()

// string appends a string whose opening quote was read.
func (j *jsonReader) string(dst []byte, what string, limit int) ([]byte, error) {
	for {
		var c byte
		var err error
		if dst, c, err = j.until(dst, inString, what, limit); err != nil {
			return dst, err
		}
		switch {
		case c == '"':
			if !utf8.Valid(dst) {
				return dst, notText(what, "bytes that are not UTF-8")
			}
			return dst, nil
		case c == end:
			return dst, badf("the string of the %s is not closed", what)
		case c != '\\':
			return dst, badf("the %s has the control character %q; expected an escape such as \\n or \\u%04x", what, c, c)
		}
		if dst, err = j.escape(dst, what); err != nil {
			return dst, err
		}
		if len(dst) > limit {
			return dst, badf("the %s is longer than %d bytes", what, limit)
		}
	}
}

// escape appends the character of an escape whose backslash was read.
func (j *jsonReader) escape(dst []byte, what string) ([]byte, error) {
	c, err := j.one()
	if err != nil {
		return dst, err
	}
	switch c {
	case '"', '\\', '/':
		return append(dst, c), nil
	case 'b':
		return append(dst, '\b'), nil
	case 'f':
		return append(dst, '\f'), nil
	case 'n':
		return append(dst, '\n'), nil
	case 'r':
		return append(dst, '\r'), nil
	case 't':
		return append(dst, '\t'), nil
	case 'u':
		return j.unicode(dst, what)
	}
	return dst, badf("the %s has an escape that JSON does not know: a backslash and %q", what, c)
}

// unicode appends the character of a \u, or of a pair of them.
func (j *jsonReader) unicode(dst []byte, what string) ([]byte, error) {
	r, err := j.unit()
	if err != nil || !utf16.IsSurrogate(r) {
		return utf8.AppendRune(dst, max(r, 0)), err
	}
	lone := notText(what, fmt.Sprintf("half of a surrogate pair, \\u%04x", r))
	for _, want := range `\u` {
		if c, err := j.one(); err != nil || rune(c) != want {
			return dst, orError(err, lone)
		}
	}
	second, err := j.unit()
	if err != nil {
		return dst, err
	}
	if r = utf16.DecodeRune(r, second); r == utf8.RuneError {
		return dst, lone
	}
	return utf8.AppendRune(dst, r), nil
}

func notText(what, why string) error {
	return badf("the %s has %s, which is not text; such keys and values belong in key64 and value64, in base64", what, why)
}

func orError(err, or error) error {
	if err != nil {
		return err
	}
	return or
}

// unit reads four hexadecimal digits.
func (j *jsonReader) unit() (rune, error) {
	var digits [4]byte
	for i := range digits {
		c, err := j.one()
		if err != nil {
			return 0, err
		}
		digits[i] = c
	}
	n, err := strconv.ParseUint(string(digits[:]), 16, 16)
	if err != nil {
		return 0, badf("\\u%q has not four hexadecimal digits", digits[:])
	}
	return rune(n), nil
}

// base64 appends the bytes of a base64 string.
func (j *jsonReader) base64(dst []byte, what string, limit int) (_ []byte, err error) {
	if j.scratch, err = j.string(j.scratch[:0], what, base64.StdEncoding.EncodedLen(limit)); err != nil {
		return dst, err
	}
	bad := badf("the field %s64 is not base64 with padding", what)
	strict := base64.StdEncoding.Strict()
	var block [3072]byte
	for text := j.scratch; len(text) > 0; {
		piece := text[:min(len(text), 4096)]
		text = text[len(piece):]
		n, err := strict.Decode(block[:], piece)
		// The decoder ignores newlines, and accepts padding at the end of every
		// piece.
		if err != nil || len(piece)%4 != 0 || n <= len(piece)/4*3-3 || len(text) > 0 && n != len(block) {
			return dst, bad
		}
		if dst = append(dst, block[:n]...); len(dst) > limit {
			return dst, badf("the %s is longer than %d bytes", what, limit)
		}
	}
	return dst, nil
}

// lastMillisecond is the latest time that a database can store.
const lastMillisecond = 1 << 62

var firstMoment = time.UnixMilli(0)

// expiry reads a time, a number of milliseconds, or null for none.
func (j *jsonReader) expiry() (at time.Time, err error) {
	c, err := j.blanks()
	if err != nil {
		return at, err
	}
	if c != '"' {
		return j.number(c)
	}
	if j.scratch, err = j.string(j.scratch[:0], "expiry", 100); err != nil {
		return at, err
	}
	if at.UnmarshalText(j.scratch) != nil {
		return at, badf("expires is %q; expected a moment such as 2026-05-01T12:00:00.5Z, or a number of milliseconds since 1970", j.scratch)
	}
	if at.Before(firstMoment) {
		return at, badf("expires is %q; expected a moment from 1970 on, or null if the row does not expire", j.scratch)
	}
	return at, nil
}

// number reads a number whose first character was read, or null.
func (j *jsonReader) number(c byte) (at time.Time, err error) {
	word := []byte{c}
	for len(word) < 20 {
		b, err := j.r.Peek(1)
		if err == io.EOF || err == nil && (b[0] < '0' || b[0] > '9') && (b[0] < 'a' || b[0] > 'z') {
			break
		}
		if err != nil {
			return at, err
		}
		c, err := j.one()
		if err != nil {
			return at, err
		}
		word = append(word, c)
	}
	if string(word) == "null" {
		return at, nil
	}
	ms, err := strconv.ParseInt(string(word), 10, 64)
	if err != nil || ms < 1 || ms > lastMillisecond || word[0] == '0' || word[0] == '+' {
		return at, badf("expires is %.40q; expected a moment such as \"2026-05-01T12:00:00.5Z\", or a number of milliseconds from 1 to %d", word, int64(lastMillisecond))
	}
	return time.UnixMilli(ms), nil
}

type jsonWriter struct{ w *bufio.Writer }

func (j *jsonWriter) write(r row) error {
	_ = j.w.WriteByte('{')
	j.bytes("key", r.key)
	_ = j.w.WriteByte(',')
	j.bytes("value", r.value)
	if !r.expires.IsZero() {
		if at := r.expires.UTC(); at.Year() > 9999 {
			_, _ = fmt.Fprintf(j.w, `,"expires":%d`, at.UnixMilli())
		} else {
			_, _ = fmt.Fprintf(j.w, `,"expires":"%s"`, at.Format(time.RFC3339Nano))
		}
	}
	_, err := j.w.WriteString("}\n") // a bufio.Writer remembers the first error
	return err
}

// bytes writes a field: text as a string, unless base64 is shorter.
func (j *jsonWriter) bytes(name string, b []byte) {
	if !utf8.Valid(b) || escapedLen(b) > base64.StdEncoding.EncodedLen(len(b))+len("64") {
		_, _ = fmt.Fprintf(j.w, `"%s64":"`, name)
		e := base64.NewEncoder(base64.StdEncoding, j.w)
		_, _ = e.Write(b)
		_ = e.Close()
		_ = j.w.WriteByte('"')
		return
	}
	_, _ = fmt.Fprintf(j.w, `"%s":"`, name)
	plain := 0
	for i, c := range b {
		if jsonLen[c] == 1 {
			continue
		}
		_, _ = j.w.Write(b[plain:i])
		plain = i + 1
		if e := jsonEscape[c]; e != 0 {
			_, _ = j.w.Write([]byte{'\\', e})
		} else {
			_, _ = fmt.Fprintf(j.w, `\u%04x`, c)
		}
	}
	_, _ = j.w.Write(b[plain:])
	_ = j.w.WriteByte('"')
}

var jsonEscape = [256]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// jsonLen is the length of each byte in a JSON string.
var jsonLen = func() (n [256]int) {
	for c := range n {
		switch {
		case jsonEscape[c] != 0:
			n[c] = 2
		case c < ' ':
			n[c] = len(`\u0000`)
		default:
			n[c] = 1
		}
	}
	return n
}()

func escapedLen(b []byte) (n int) {
	for _, c := range b {
		n += jsonLen[c]
	}
	return n
}
