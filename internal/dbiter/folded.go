package dbiter

import (
	"bytes"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/readstate"
)

// A key that is merged often has many operands until a flush combines them. A read has to
// merge them all. It stores the result, so that later reads merge only the operands that
// came since. Without that, reads of a counter to which four goroutines added took up to
// 1.3 s, each time.

// DefaultFoldFrom is how many operands a read has to merge before it stores the result:
// fewer are merged in the time that a lookup takes.
const DefaultFoldFrom = 64

// foldedKeys is how many results are stored at most, and foldedMax is the largest key and
// value in bytes: all results together take at most half a megabyte.
const (
	foldedKeys = 128
	foldedMax  = 4 << 10
)

// foldKey is a key of a keyspace.
type foldKey struct {
	space uint32
	key   string
}

// fold is the value of a key at a sequence: the result of merging operands onto nothing or
// onto a value that does not expire. It is immutable.
//
// The value of a key at a sequence never changes, since commits and loads get later
// sequences. But a read can use it only under these conditions:
//
//   - All newer operands are in memtables, where each is what was written. A flush or a
//     compaction may combine several operands, older and newer than the fold, into one.
//   - No compaction filter has changed keys in between.
//   - The read is not at an earlier time. A value below the operands may have expired by the
//     time of the fold; for the earlier read it still counts.
type fold struct {
	seq      base.SeqNum
	filters  uint64 // that of the state; see readstate.State
	time     uint64 // at which expired values were left out
	value    []byte
	operands int // how many the value was made of
}

// Folded stores the values of keys with many operands: about those that were read last.
type Folded struct {
	mu sync.Mutex
	at map[foldKey]*fold // guarded by mu
}

// get returns the stored value of a key if a read of s at a time can use it; otherwise nil.
// newest is the sequence of the newest operand that the read sees. The stored value may be
// newer than that: reads of older states are common.
func (c *Folded) get(s *readstate.State, time uint64, space uint32, key []byte, newest base.SeqNum) *fold {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.at[foldKey{space, string(key)}]
	if f == nil || f.seq < s.Oldest().After || f.seq > newest || f.filters != s.Filters || f.time > time {
		return nil
	}
	return f
}

// put stores the value of a key, unless a newer one is stored.
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
