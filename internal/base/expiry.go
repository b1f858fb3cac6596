package base

import "encoding/binary"

// SplitExpiry splits the value of a KindPutTTL or KindPutTTLPointer into its
// expiry and the rest.
func SplitExpiry(value []byte) (expiry uint64, rest []byte, err error) {
	if len(value) < ExpirySize {
		return 0, nil, Corruptf("database", -1, "a value of %d bytes is too short for its expiry", len(value))
	}
	return binary.LittleEndian.Uint64(value), value[ExpirySize:], nil
}

// Expires reports whether the values of entries of this kind begin with an
// expiry.
func (k Kind) Expires() bool { return k == KindPutTTL || k == KindPutTTLPointer }

// WithoutExpiry returns the kind of the same entry once SplitExpiry has removed
// its expiry.
func (k Kind) WithoutExpiry() Kind {
	switch k {
	case KindPutTTL:
		return KindPut
	case KindPutTTLPointer:
		return KindPutPointer
	}
	return k
}

// UnknownKind returns the error for an entry of a kind that this version cannot
// apply.
func UnknownKind(k Kind) error {
	return Corruptf("database", -1, "an entry has kind %v, which this version does not know", k)
}
