package txn

import (
	"bytes"
)

// Range is the keys in [Lo, Hi) of a keyspace. A nil Hi is no end.
type Range struct {
	Keyspace uint32
	Lo, Hi   []byte
}

func (g *Range) holds(keyspace uint32, key []byte) bool {
	return g.Keyspace == keyspace && bytes.Compare(g.Lo, key) <= 0 && (g.Hi == nil || bytes.Compare(key, g.Hi) < 0)
}

func (g *Range) contains(o *Range) bool {
	return g.Keyspace == o.Keyspace && bytes.Compare(g.Lo, o.Lo) <= 0 &&
		(g.Hi == nil || o.Hi != nil && bytes.Compare(o.Hi, g.Hi) <= 0)
}

// upper returns the end of a range delete; an empty hi is no end.
func upper(hi []byte) []byte {
	if len(hi) == 0 {
		return nil
	}
	return hi
}
