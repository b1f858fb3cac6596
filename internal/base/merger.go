package base

// Merger is the seerdb.Merger of the packages below it: users read there what the
// methods must do.
type Merger interface {
	Name() string
	Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error)
	Partial(dst, key, older, newer []byte) (operand []byte, ok bool, err error)
}

// ExpirySize is the bytes of the expiry, in Unix milliseconds, that the values
// of KindPutTTL and KindPutTTLPointer begin with.
const ExpirySize = 8
