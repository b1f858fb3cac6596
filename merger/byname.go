package merger

import (
	"strconv"
	"strings"
)

// Operator has the methods that the operators of this package share, which make
// them operators of a database.
type Operator interface {
	Name() string
	Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error)
	Partial(dst, key, older, newer []byte) (operand []byte, ok bool, err error)
}

// ByName returns the operator of this package with a name, as databases store
// it. It returns false for names of other operators.
func ByName(name string) (Operator, bool) {
	for _, op := range []Operator{Counter{}, Max{}, Min{}, Union{}} {
		if op.Name() == name {
			return op, true
		}
	}
	literal, ok := strings.CutPrefix(name, appendPrefix)
	if !ok {
		return nil, false
	}
	sep, err := strconv.Unquote(literal)
	op := Append{Sep: sep}
	// A literal that Append would write differently is another operator's name.
	if err != nil || op.Name() != name {
		return nil, false
	}
	return op, true
}
