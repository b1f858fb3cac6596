package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// binaryReader reads the binary format: a row is the length of the key as a
// uvarint, the key, the length of the value as a uvarint, and the value.
type binaryReader struct {
	r          *bufio.Reader
	o          *rowOptions
	n          int
	key, value []byte
}

// errCut is the error of an input that ends in the middle of a row.
var errCut = errors.New("the input ends in the middle of the row")

func (b *binaryReader) next() (row, error) {
	n, err := b.keyLength()
	if err != nil {
		return row{}, err
	}
	if b.key, err = b.bytes(b.key[:0], n); err != nil {
		return row{}, b.named(err)
	}
	if n, err = b.length("value", b.o.maxValue); err == nil {
		b.value, err = b.bytes(b.value[:0], n)
	}
	if err != nil {
		return row{}, b.named(err)
	}
	return row{key: b.key, value: b.value}, nil
}

func (b *binaryReader) skip() error {
	n, err := b.keyLength()
	if err != nil {
		return err
	}
	if _, err = b.r.Discard(n); err == nil {
		if n, err = b.length("value", b.o.maxValue); err == nil {
			_, err = b.r.Discard(n)
		}
	}
	if err != nil {
		return b.named(err)
	}
	return nil
}

// keyLength reads the beginning of a row, or returns io.EOF.
func (b *binaryReader) keyLength() (int, error) {
	if _, err := b.r.Peek(1); err != nil {
		return 0, err
	}
	b.n++
	n, err := b.length("key", b.o.maxKey)
	if err != nil {
		return 0, b.named(err)
	}
	return n, nil
}

func (b *binaryReader) length(what string, limit int) (int, error) {
	bytes, err := b.r.Peek(binary.MaxVarintLen64 + 1)
	n, size := binary.Uvarint(bytes)
	switch {
	case size == 0:
		return 0, err // the end of the input, or a failed read
	case size < 0 || n > uint64(limit):
		return 0, usagef("the length of the %s is more than the %d bytes that are allowed; is this the binary format?", what, limit)
	}
	_, err = b.r.Discard(size)
	return int(n), err
}

// pieceOfRow is how many bytes are read at a time: memory is allocated only as
// far as bytes follow a length.
const pieceOfRow = 1 << 20

// bytes appends n bytes of the input to buf.
func (b *binaryReader) bytes(buf []byte, n int) ([]byte, error) {
	for n > 0 {
		piece := min(n, max(len(buf), pieceOfRow))
		at := len(buf)
		buf = slices.Grow(buf, piece)[:at+piece]
		if _, err := io.ReadFull(b.r, buf[at:]); err != nil {
			return buf[:at], err
		}
		n -= piece
	}
	return buf, nil
}

func (b *binaryReader) named(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = usageError{errCut}
	}
	if errors.As(err, new(usageError)) {
		return usagef("row %d: %w", b.n, err)
	}
	return fmt.Errorf("row %d: %w", b.n, err)
}

type binaryWriter struct {
	w       *bufio.Writer
	scratch []byte
}

func (b *binaryWriter) write(r row) error {
	var err error
	for _, f := range [][]byte{r.key, r.value} {
		b.scratch = binary.AppendUvarint(b.scratch[:0], uint64(len(f)))
		_, _ = b.w.Write(b.scratch)
		_, err = b.w.Write(f) // a bufio.Writer remembers the first error
	}
	return err
}
