package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/seerdb-go/seerdb"
)

// text reads lines piece by piece: a line may be much longer than its decoded
// form, and is never in memory as a whole.
type text struct {
	r    *bufio.Reader
	o    *rowOptions
	n    int  // of the line, from 1
	open bool // its end was not read yet

	blankCR bool // a CR before the end is ignored in this format
}

// end is what until returns at the end of a line, however that is written.
const end = '\n'

var (
	bom = []byte("\ufeff")

	errBOM  = errors.New("a byte order mark (EF BB BF) stands before the first row and would become part of it; --crlf removes it")
	errCRLF = errors.New("the line ends in CR LF, and the CR would become part of the row; --crlf removes it")
)

// begin starts a line, or returns io.EOF.
func (t *text) begin() error {
	if t.n == 0 {
		switch b, _ := t.r.Peek(len(bom)); {
		case !bytes.Equal(b, bom):
		case !t.o.crlf:
			return usageError{errBOM}
		default:
			_, _ = t.r.Discard(len(bom))
		}
	}
	if _, err := t.r.Peek(1); err != nil {
		return err
	}
	t.n++
	t.open = true
	return nil
}

// finish ends a line in which err, which may be nil, happened.
func (t *text) finish(err error) error {
	var u usageError
	if err == nil || !errors.As(err, &u) {
		return err
	}
	err = t.named(err)
	if derr := t.drain(); derr != nil {
		return derr
	}
	return err
}

// named adds the number of the line to an error and keeps its kind.
func (t *text) named(err error) error {
	if errors.As(err, new(badRow)) {
		return badRow{usagef("line %d: %w", t.n, err)}
	}
	return usagef("line %d: %w", t.n, err)
}

// drain skips to the end of the line.
func (t *text) drain() error {
	for t.open {
		_, err := t.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		t.open = false
		if err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

func (t *text) skip() error {
	if err := t.begin(); err != nil {
		return err
	}
	return t.drain()
}

// line appends a whole line to dst, or returns io.EOF.
func (t *text) line(dst []byte) ([]byte, error) {
	if err := t.begin(); err != nil {
		return dst, err
	}
	dst, _, err := t.until(dst, nothing, "line", seerdb.MaxValueSize)
	return dst, t.finish(err)
}

// until appends to dst the bytes before the next byte in stop, and returns
// that. The end of a line, and of the input, always stop.
func (t *text) until(dst []byte, stop *[256]bool, what string, limit int) ([]byte, byte, error) {
	for {
		if !t.open {
			return dst, end, nil
		}
		if _, err := t.r.Peek(1); err == io.EOF {
			t.open = false
			return dst, end, nil
		} else if err != nil {
			return dst, 0, err
		}
		b, _ := t.r.Peek(t.r.Buffered())
		i := 0
		for i < len(b) && !stop[b[i]] && b[i] != '\n' && b[i] != '\r' {
			i++
		}
		if len(dst)+i > limit {
			return dst, 0, badf("the %s is longer than %d bytes", what, limit)
		}
		dst = append(dst, b[:i]...)
		_, _ = t.r.Discard(i)
		if i == len(b) {
			continue
		}
		c, err := t.r.ReadByte()
		if c != '\r' || err != nil {
			t.open = c != '\n'
			return dst, c, err
		}
		if isEnd, err := t.carriageReturn(); isEnd || err != nil {
			return dst, end, err
		}
		if stop['\r'] {
			return dst, c, nil
		}
		if dst = append(dst, '\r'); len(dst) > limit {
			return dst, 0, badf("the %s is longer than %d bytes", what, limit)
		}
	}
}

// carriageReturn reports whether a CR that was read ends the line. That
// requires --crlf.
func (t *text) carriageReturn() (isEnd bool, err error) {
	b, err := t.r.Peek(1)
	if len(b) == 1 && b[0] != '\n' || err != nil && err != io.EOF {
		return false, err
	}
	if !t.o.crlf && !t.blankCR {
		return false, usageError{errCRLF}
	}
	_, _ = t.r.Discard(len(b))
	t.open = false
	return true, nil
}

// one returns the next byte of the line.
func (t *text) one() (byte, error) {
	if b, err := t.r.Peek(1); err == nil && t.open && b[0] != '\n' && b[0] != '\r' {
		_, _ = t.r.Discard(1)
		return b[0], nil
	}
	_, c, err := t.until(nil, everyByte, "", 0)
	return c, err
}

// stops returns a set of bytes for until.
func stops(chars string) *[256]bool {
	s := new([256]bool)
	for i := range len(chars) {
		s[chars[i]] = true
	}
	return s
}

// nothing contains no byte: until then stops only at the end of the line.
var nothing = stops("")

var everyByte = func() *[256]bool {
	s := new([256]bool)
	for i := range s {
		s[i] = true
	}
	return s
}()
