package compaction

import "bytes"

// splitter decides where one output table ends and the next begins: when it is
// full, and at every guard.
type splitter struct {
	guards [][]byte // those beyond the current key
	passed bool     // the current key is the first beyond a guard
}

// enter moves on to a user key.
func (s *splitter) enter(key []byte) {
	s.passed = false
	for len(s.guards) > 0 && bytes.Compare(s.guards[0], key) <= 0 {
		s.guards = s.guards[1:]
		s.passed = true
	}
}

// cut reports whether the current table, of a size so far, ends before the
// current key.
func (s *splitter) cut(size, sizeMax uint64) bool { return s.passed || size >= sizeMax }
