package base

// Merger combines the operands of merges. Its methods are pure, and safe for
// concurrent use.
type Merger interface {
	// Name identifies the meaning of operands for as long as any is stored.
	Name() string
	// Full returns the value of key after operands, oldest first, on top of
	// existing; exists is false when there was no value. It may append to dst;
	// the result is never an alias of the inputs.
	Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error)
	// Partial combines two neighbouring operands, the older first, into one. It
	// answers false when it cannot; then both stay.
	Partial(dst, key, older, newer []byte) (operand []byte, ok bool, err error)
}

// ExpirySize is the bytes of the expiry, in Unix milliseconds, that the values
// of KindPutTTL and KindPutTTLPointer begin with.
const ExpirySize = 8
