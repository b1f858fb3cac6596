package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seerdb-go/seerdb"
)

// Rows come and go in three formats:
//
//	tsv     key TAB value NEWLINE. A tab, newline, carriage return or
//	        backslash inside is written \t, \n, \r, \\; nothing else is
//	        touched, so any bytes survive the round trip.
//	jsonl   {"key":"…","value":"…"} on a line; bytes that are no UTF-8 go to
//	        "key64" and "value64" in base64. A row with an expiry has the
//	        moment as "expires", in the form of RFC 3339.
//	binary  uvarint length, key, uvarint length, value.
type rowReader interface {
	// next returns a row, or io.EOF. The slices are valid until the next call.
	next() (row, error)
}

type rowWriter interface{ write(row) error }

// row is a key and its value. Only jsonl has its expiry.
type row struct {
	key, value []byte
	expires    time.Time // zero = never
}

func newRowReader(format string, r io.Reader) (rowReader, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	switch format {
	case "tsv":
		return &tsvReader{lines: lines{r: b}}, nil
	case "jsonl":
		return &jsonReader{lines: lines{r: b}}, nil
	case "binary":
		return &binaryReader{r: b}, nil
	}
	return nil, usagef("--format is %q; expected tsv, jsonl or binary", format)
}

func newRowWriter(format string, w *bufio.Writer) (rowWriter, error) {
	switch format {
	case "tsv":
		return &tsvWriter{w: w}, nil
	case "jsonl":
		return &jsonWriter{enc: json.NewEncoder(w)}, nil
	case "binary":
		return &binaryWriter{w: w}, nil
	}
	return nil, usagef("--format is %q; expected tsv, jsonl or binary", format)
}

// lines reads lines of any length and counts them.
type lines struct {
	r    *bufio.Reader
	n    int
	long []byte
}

func (l *lines) next() ([]byte, error) {
	l.n++
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		l.long = append(l.long[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = l.r.ReadSlice('\n')
			l.long = append(l.long, line...)
			if int64(len(l.long)) > 2*seerdb.MaxValueSize {
				return nil, usagef("line %d is longer than any row can be", l.n)
			}
		}
		line = l.long
	}
	if err == io.EOF && len(line) > 0 {
		return line, nil
	}
	return bytes.TrimSuffix(line, []byte("\n")), err
}

type tsvReader struct {
	lines
	key, value []byte
}

func (t *tsvReader) next() (row, error) {
	line, err := t.lines.next()
	if err != nil {
		return row{}, err
	}
	k, v, ok := bytes.Cut(line, []byte("\t"))
	if !ok {
		return row{}, usagef("line %d has no tab between key and value: %.60q", t.n, line)
	}
	if t.key, err = unescape(t.key[:0], k); err == nil {
		t.value, err = unescape(t.value[:0], v)
	}
	if err != nil {
		return row{}, usagef("line %d: %w", t.n, err)
	}
	return row{key: t.key, value: t.value}, nil
}

func unescape(dst, s []byte) ([]byte, error) {
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(dst, s...), nil
		}
		dst = append(dst, s[:i]...)
		if i+1 == len(s) {
			return nil, errors.New("a backslash at the end of a field")
		}
		j := strings.IndexByte(`tnr\`, s[i+1])
		if j < 0 {
			return nil, fmt.Errorf(`unknown escape \%c; expected \t, \n, \r or \\`, s[i+1])
		}
		dst = append(dst, "\t\n\r\\"[j])
		s = s[i+2:]
	}
}

var tsvEscapes = strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

type tsvWriter struct{ w *bufio.Writer }

func (t *tsvWriter) write(r row) error {
	t.field(r.key)
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

// jsonRow is a line of jsonl.
type jsonRow struct {
	Key     *string    `json:"key,omitempty"`
	Key64   *string    `json:"key64,omitempty"`
	Value   *string    `json:"value,omitempty"`
	Value64 *string    `json:"value64,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

// lastInJSON is the last moment that RFC 3339 can tell. What expires later is
// said to expire then.
var lastInJSON = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)

type jsonReader struct{ lines }

func (j *jsonReader) next() (r row, err error) {
	line, err := j.lines.next()
	if err != nil {
		return row{}, err
	}
	var in jsonRow
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return row{}, usagef("line %d: %w", j.n, err)
	}
	if r.key, err = oneOf("key", in.Key, in.Key64); err == nil {
		r.value, err = oneOf("value", in.Value, in.Value64)
	}
	if err != nil {
		return row{}, usagef("line %d: %w", j.n, err)
	}
	if in.Expires != nil {
		r.expires = *in.Expires
	}
	return r, nil
}

func oneOf(name string, plain, coded *string) ([]byte, error) {
	switch {
	case plain != nil && coded == nil:
		return []byte(*plain), nil
	case coded != nil && plain == nil:
		return base64.StdEncoding.DecodeString(*coded)
	}
	return nil, fmt.Errorf("a row needs one of %q and %q", name, name+"64")
}

type jsonWriter struct{ enc *json.Encoder }

func (j *jsonWriter) write(r row) error {
	j.enc.SetEscapeHTML(false)
	var out jsonRow
	out.Key, out.Key64 = jsonText(r.key)
	out.Value, out.Value64 = jsonText(r.value)
	if !r.expires.IsZero() {
		at := r.expires.UTC()
		if at.After(lastInJSON) {
			at = lastInJSON
		}
		out.Expires = &at
	}
	return j.enc.Encode(&out)
}

func jsonText(b []byte) (plain, coded *string) {
	if utf8.Valid(b) {
		s := string(b)
		return &s, nil
	}
	s := base64.StdEncoding.EncodeToString(b)
	return nil, &s
}

type binaryReader struct {
	r          *bufio.Reader
	n          int
	key, value []byte
}

func (b *binaryReader) next() (r row, err error) {
	b.n++
	if b.key, err = b.field(b.key, seerdb.MaxKeySize); err != nil {
		return row{}, err
	}
	if b.value, err = b.field(b.value, seerdb.MaxValueSize); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return row{}, fmt.Errorf("row %d: %w", b.n, err)
	}
	return row{key: b.key, value: b.value}, nil
}

func (b *binaryReader) field(buf []byte, limit uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(b.r)
	if err != nil {
		return buf, err
	}
	if n > limit {
		return buf, usagef("row %d has a field of %d bytes; at most %d are allowed", b.n, n, limit)
	}
	if uint64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(b.r, buf); err != nil {
		return buf, io.ErrUnexpectedEOF
	}
	return buf, nil
}

type binaryWriter struct {
	w       *bufio.Writer
	scratch []byte
}

func (b *binaryWriter) write(r row) error {
	for _, f := range [][]byte{r.key, r.value} {
		b.scratch = binary.AppendUvarint(b.scratch[:0], uint64(len(f)))
		_, _ = b.w.Write(b.scratch)
		_, _ = b.w.Write(f)
	}
	return nil // a bufio.Writer reports the first error at Flush
}
