package jobstest

import (
	"bytes"
	"slices"
)

// Joiner is a merge operator that joins values and operands, with a comma between them: one
// that is lost, or taken twice, shows.
type Joiner struct{}

// Name implements base.Merger.
func (Joiner) Name() string { return "join" }

// Full implements base.Merger.
func (Joiner) Full(dst, _, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	if exists {
		operands = slices.Insert(slices.Clone(operands), 0, existing)
	}
	return append(dst, bytes.Join(operands, []byte(","))...), nil
}

// Partial implements base.Merger.
func (Joiner) Partial(dst, _, older, newer []byte) ([]byte, bool, error) {
	return append(dst, bytes.Join([][]byte{older, newer}, []byte(","))...), true, nil
}
