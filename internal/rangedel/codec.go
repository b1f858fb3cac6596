package rangedel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
)

// A list is encoded as its fragments, one after another:
//
//	+--------------+---------+------+---------+------+---------------+------------+-----+
//	| form uvarint | lo len  | lo   | hi len  | hi   | count uvarint | newest seq | ... |
//	+--------------+---------+------+---------+------+---------------+------------+-----+
//
// form is a sum: 1 if lo is left out, since the fragment begins where the one
// before it ends; 2 if hi is left out, since there is no end. Lengths and
// sequences are uvarints. Each sequence after the newest is stored as the
// difference to the one before. Keys share nothing but whole keys, so a decoded
// list never takes more memory than a small multiple of its bytes, however
// malformed.
const (
	formAdjacent = 1
	formEndless  = 2
)

// Append appends the encoding of the list.
func (l *List) Append(dst []byte) []byte {
	u := func(v uint64) { dst = binary.AppendUvarint(dst, v) }
	for i := range l.frags {
		f := &l.frags[i]
		form := uint64(0)
		if i > 0 && bytes.Equal(l.frags[i-1].Hi, f.Lo) {
			form += formAdjacent
		}
		if f.Hi == nil {
			form += formEndless
		}
		u(form)
		if form&formAdjacent == 0 {
			u(uint64(len(f.Lo)))
			dst = append(dst, f.Lo...)
		}
		if f.Hi != nil {
			u(uint64(len(f.Hi)))
			dst = append(dst, f.Hi...)
		}
		u(uint64(len(f.Seqs)))
		for j, s := range f.Seqs {
			if j == 0 {
				u(uint64(s))
			} else {
				u(uint64(f.Seqs[j-1] - s))
			}
		}
	}
	return dst
}

// EncodedBound returns an upper bound of the bytes of f in an encoded list.
func EncodedBound(f *Fragment) int {
	return len(f.Lo) + len(f.Hi) + 16 + 8*len(f.Seqs) // a sequence has 56 bits: 8 groups of 7
}

// ErrMalformed is Decode's error for bytes that Append did not write.
var ErrMalformed = errors.New("rangedel: malformed list")

// Decode is the inverse of Append. It copies b. Whatever b is, a list that it
// returns is valid.
func Decode(b []byte) (List, error) {
	d := decoder{rest: bytes.Clone(b)}
	var l List
	for len(d.rest) > 0 {
		at := len(b) - len(d.rest)
		if !d.fragment(&l) {
			return List{}, fmt.Errorf("%w: fragment %d, at byte %d of %d", ErrMalformed, len(l.frags), at, len(b))
		}
	}
	return l, nil
}

type decoder struct{ rest []byte }

// fragment decodes one more fragment.
func (d *decoder) fragment(l *List) bool {
	form, ok := d.uvarint()
	if !ok || form > formAdjacent+formEndless {
		return false
	}
	var f, prev Fragment
	first := len(l.frags) == 0
	if !first {
		if prev = l.frags[len(l.frags)-1]; prev.Hi == nil {
			return false
		}
	}
	switch {
	case form&formAdjacent == 0:
		if f.Lo, ok = d.key(); !ok || !first && bytes.Compare(prev.Hi, f.Lo) >= 0 {
			return false
		}
	case first:
		return false
	default:
		f.Lo = prev.Hi
	}
	if form&formEndless == 0 {
		if f.Hi, ok = d.key(); !ok || bytes.Compare(f.Lo, f.Hi) >= 0 {
			return false
		}
	}
	if f.Seqs, ok = d.seqs(); !ok {
		return false
	}
	l.frags = append(l.frags, f)
	return true
}

func (d *decoder) uvarint() (uint64, bool) {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		return 0, false
	}
	d.rest = d.rest[n:]
	return v, true
}

func (d *decoder) key() ([]byte, bool) {
	n, ok := d.uvarint()
	if !ok || n > base.MaxKeySize || n > uint64(len(d.rest)) {
		return nil, false
	}
	k := d.rest[:n:n]
	d.rest = d.rest[n:]
	return k, true
}

func (d *decoder) seqs() ([]base.SeqNum, bool) {
	n, ok := d.uvarint()
	if !ok || n == 0 || n > uint64(len(d.rest)) { // each takes at least a byte
		return nil, false
	}
	seqs := make([]base.SeqNum, n)
	last := uint64(0)
	for i := range seqs {
		v, ok := d.uvarint()
		switch {
		case !ok || v == 0:
			return nil, false
		case i == 0 && v > uint64(base.SeqNumMax), i > 0 && v >= last:
			return nil, false
		case i == 0:
			last = v
		default:
			last -= v
		}
		seqs[i] = base.SeqNum(last)
	}
	return seqs, true
}
