package base

// Merger is seerdb.Merger for the packages below the root, where its methods
// are documented.
type Merger interface {
	Name() string
	Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error)
	Partial(dst, key, older, newer []byte) (operand []byte, ok bool, err error)
}

// ExpirySize is the length of the expiry, in Unix milliseconds, with which
// values of KindPutTTL and KindPutTTLPointer begin.
const ExpirySize = 8
