package merger

import (
	"strconv"
	"strings"
)

// Operator is what the operators of this package have in common: they are
// operators to a database as they are.
type Operator interface {
	Name() string
	Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error)
	Partial(dst, key, older, newer []byte) (operand []byte, ok bool, err error)
}

// ByName returns the operator of this package that has a name, as a database
// stores it. It answers false for the names of others.
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
	// A literal that Append would write in another way is the name of another
	// operator.
	if err != nil || op.Name() != name {
		return nil, false
	}
	return op, true
}
