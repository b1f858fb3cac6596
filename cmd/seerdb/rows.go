package main

import (
	"time"

	"github.com/seerdb-go/seerdb"
)

// rowReader and rowWriter read and write rows in three formats: see tsv.go,
// jsonl.go and binary.go. A reader reads exactly the bytes that the writer of
// its format was given.
type rowReader interface {
	// next returns a row, or io.EOF. The slices are valid until the next call.
	// After a badRow the reader is at the row after it.
	next() (row, error)
	// skip skips a row without checking it.
	skip() error
}

type rowWriter interface{ write(row) error }

// row is a key and its value. Only jsonl has its expiry.
type row struct {
	key, value []byte
	expires    time.Time // zero for never
}

// or returns r, or the zero row if err is not nil.
func (r row) or(err error) (row, error) {
	if err != nil {
		return row{}, err
	}
	return r, nil
}

// badRow is the error of a row that cannot be taken, while others can.
type badRow struct{ error }

func (e badRow) Unwrap() error { return e.error }

func badf(format string, args ...any) error { return badRow{usagef(format, args...)} }

// rowOptions configure how rows are read and written.
type rowOptions struct {
	raw              bool // tsv: a backslash is a backslash
	crlf             bool // lines end in CR LF, and the file may begin with a byte order mark
	maxKey, maxValue int  // bytes
}

// newRowOptions returns options with the limits of the engine.
func newRowOptions() *rowOptions {
	return &rowOptions{maxKey: seerdb.MaxKeySize, maxValue: seerdb.MaxValueSize}
}
