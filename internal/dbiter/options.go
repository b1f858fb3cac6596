package dbiter

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/pins"
)

// Options restrict an iterator.
type Options struct {
	Lower, Upper []byte // Lower <= key < Upper; nil = unbounded
	KeysOnly     bool
	Bulk         bool // a long scan: the pages that it reads do not displace hot pages
	Own          bool // opened and closed within one call: the program cannot leak it
	// Site is where the program opened it; the zero value is the caller of the
	// caller of NewIter.
	Site pins.CallSite
}

// Within returns the options narrowed to lo <= key < hi; nil is no bound.
func (o Options) Within(lo, hi []byte) Options {
	if lo != nil && (o.Lower == nil || bytes.Compare(lo, o.Lower) > 0) {
		o.Lower = lo
	}
	if hi != nil && (o.Upper == nil || bytes.Compare(hi, o.Upper) < 0) {
		o.Upper = hi
	}
	return o
}
