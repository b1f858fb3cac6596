package dbiter

import "bytes"

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
