package compaction

import "bytes"

// splitter decides where one output table ends and the next begins: when it is
// full, and at every guard.
type splitter struct {
	guards [][]byte // those beyond the current key
	passed [][]byte // those between the key before and the current one
}

// enter moves on to a user key.
func (s *splitter) enter(key []byte) {
	n := 0
	for n < len(s.guards) && bytes.Compare(s.guards[n], key) <= 0 {
		n++
	}
	s.passed, s.guards = s.guards[:n], s.guards[n:]
}

// end moves on beyond all keys.
func (s *splitter) end() { s.passed, s.guards = s.guards, nil }

// cut reports whether the current table, of a size so far, ends before the
// current key.
func (s *splitter) cut(size, sizeMax, guardMin uint64) bool {
	return len(s.passed) > 0 && size >= guardMin || size >= sizeMax
}
