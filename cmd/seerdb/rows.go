package main

import (
	"time"

	"github.com/seerdb-go/seerdb"
)

// Rows come and go in three formats, each in a file of its own: tsv.go, jsonl.go
// and binary.go. What a writer writes, its reader reads as the same bytes.
type rowReader interface {
	// next returns a row, or io.EOF. The slices are valid until the next call.
	// After a badRow the reader is behind that row.
	next() (row, error)
	// skip passes over a row without looking into it.
	skip() error
}

type rowWriter interface{ write(row) error }

// row is a key and its value. Only jsonl has its expiry.
type row struct {
	key, value []byte
	expires    time.Time // zero = never
}

// or is r, or the zero row if there is an error.
func (r row) or(err error) (row, error) {
	if err != nil {
		return row{}, err
	}
	return r, nil
}

// badRow is a row that cannot be taken, among others that can.
type badRow struct{ error }

func (e badRow) Unwrap() error { return e.error }

func badf(format string, args ...any) error { return badRow{usagef(format, args...)} }

// rowOptions say how rows are read and written.
type rowOptions struct {
	raw              bool // tsv: a backslash is a backslash
	crlf             bool // lines end in CR LF, and there may be a byte order mark
	maxKey, maxValue int  // bytes
}

// newRowOptions has the limits of the engine.
func newRowOptions() *rowOptions {
	return &rowOptions{maxKey: seerdb.MaxKeySize, maxValue: seerdb.MaxValueSize}
}
