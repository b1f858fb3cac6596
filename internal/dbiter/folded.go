package dbiter

import (
	"bytes"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// A key that is merged often has many operands, until a flush makes them one. A
// read merges them all; so that the next one need not, it leaves what they came
// to, and later reads merge only what came on top. Without that, a counter that
// four goroutines added to was read in up to 1.3 s, the next time as well.

// DefaultFoldFrom is how many operands a read has to merge before it leaves what they
// came to: fewer are merged in the time that it takes to look.
const DefaultFoldFrom = 64

// foldedKeys is how many keys are known at a time, and foldedMax how large a key
// and its value may be: together what all may take is half a megabyte.
const (
	foldedKeys = 128
	foldedMax  = 4 << 10
)

// foldKey is a key of a keyspace.
type foldKey struct {
	space uint32
	key   string
}

// fold is what a key was at a sequence, made of a value that does not expire, or
// of nothing, and of operands. It is immutable. What a key was at a sequence never
// changes, for commits and loads get later ones. But a flush or a compaction makes
// one operand of several, older and newer ones. So folded is of use to a read as
// long as all newer operands are in memtables, where each is what was written. And
// filters do change what keys were: it is of use where none did in between. So does
// time: what the operands lay on may have expired, and be gone from the tables. Then
// folded is not for reads at an earlier time, whose tables still have it.
type fold struct {
	seq      base.SeqNum
	filters  uint64 // see state
	time     uint64 // by which values were expired
	value    []byte
	operands int // it was made of
}

// Folded are the keys with many operands that were read last, more or less.
type Folded struct {
	mu sync.Mutex
	at map[foldKey]*fold // guarded by mu
}

// get returns the newest that is known of a key, if that is of use to a read of s at a
// time that sees an operand of sequence newest, and none that is newer. That s is older
// than what the read might see is no rarity: then what is known may be newer.
func (c *Folded) get(s *readstate.State, time uint64, space uint32, key []byte, newest base.SeqNum) *fold {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.at[foldKey{space, string(key)}]
	if f == nil || f.seq < s.Oldest().After || f.seq > newest || f.filters != s.Filters || f.time > time {
		return nil
	}
	return f
}

// put notes what a key was, unless something newer is known.
func (c *Folded) put(space uint32, key []byte, f fold) {
	if len(key)+len(f.value) > foldedMax {
		return
	}
	k := foldKey{space, string(key)}
	f.value = bytes.Clone(f.value)
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.at[k]; old != nil && (old.filters > f.filters || old.filters == f.filters && old.seq >= f.seq) {
		return
	} else if old == nil && len(c.at) >= foldedKeys {
		for other := range c.at { // any one
			delete(c.at, other)
			break
		}
	}
	if c.at == nil {
		c.at = map[foldKey]*fold{}
	}
	c.at[k] = &f
}
