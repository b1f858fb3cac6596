package base

import "encoding/binary"

// SplitExpiry takes the expiry off the value of a KindPutTTL or KindPutTTLPointer.
func SplitExpiry(value []byte) (expiry uint64, rest []byte, err error) {
	if len(value) < ExpirySize {
		return 0, nil, Corruptf("database", -1, "an expiry of %d bytes", len(value))
	}
	return binary.LittleEndian.Uint64(value), value[ExpirySize:], nil
}

// Expires reports whether an entry of this kind has an expiry before its value.
func (k Kind) Expires() bool { return k == KindPutTTL || k == KindPutTTLPointer }

// WithoutExpiry is the kind of a value whose expiry, if it has one, was taken off.
func (k Kind) WithoutExpiry() Kind {
	switch k {
	case KindPutTTL:
		return KindPut
	case KindPutTTLPointer:
		return KindPutPointer
	}
	return k
}

// UnknownKind is the error for an entry of a kind that this version does not know
// how to apply.
func UnknownKind(k Kind) error {
	return Corruptf("database", -1, "an entry of kind %v cannot be read by this version", k)
}
