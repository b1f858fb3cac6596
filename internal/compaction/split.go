package compaction

import "bytes"

// splitter decides where one output table ends and the next begins: when it is
// full, and at guards.
type splitter struct {
	guards [][]byte // those after the current key
	passed [][]byte // those between the previous key and the current one
}

// enter moves to a user key.
func (s *splitter) enter(key []byte) {
	n := 0
	for n < len(s.guards) && bytes.Compare(s.guards[n], key) <= 0 {
		n++
	}
	s.passed, s.guards = s.guards[:n], s.guards[n:]
}

// end moves past all keys.
func (s *splitter) end() { s.passed, s.guards = s.guards, nil }

// cut reports whether the current table, which has the given size, ends before
// the current key.
func (s *splitter) cut(size, sizeMax, guardMin uint64) bool {
	return len(s.passed) > 0 && size >= guardMin || size >= sizeMax
}
