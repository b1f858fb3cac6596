package engine

import (
	"bytes"
	"sync"
	"time"

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

// foldedKey is a key of a keyspace.
type foldedKey struct {
	space uint32
	key   string
}

// folded is what a key was at a sequence, made of a value that does not expire, or
// of nothing, and of operands. It is immutable. What a key was at a sequence never
// changes, for commits and loads get later ones. But a flush or a compaction makes
// one operand of several, older and newer ones. So folded is of use to a read as
// long as all newer operands are in memtables, where each is what was written. And
// filters do change what keys were: it is of use where none did in between. So does
// time: what the operands lay on may have expired, and be gone from the tables. Then
// folded is not for reads at an earlier time, whose tables still have it.
type folded struct {
	seq      base.SeqNum
	filters  uint64 // see state
	time     uint64 // by which values were expired
	value    []byte
	operands int // it was made of
}

// foldedValues are the keys with many operands that were read last, more or less.
type foldedValues struct {
	mu sync.Mutex
	at map[foldedKey]*folded // guarded by mu
}

// get returns the newest that is known of a key, if that is of use to a read of s at a
// time that sees an operand of sequence newest, and none that is newer. That s is older
// than what the read might see is no rarity: then what is known may be newer.
func (c *foldedValues) get(s *readstate.State, time uint64, space uint32, key []byte, newest base.SeqNum) *folded {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.at[foldedKey{space, string(key)}]
	if f == nil || f.seq < s.Oldest().After || f.seq > newest || f.filters != s.Filters || f.time > time {
		return nil
	}
	return f
}

// put notes what a key was, unless something newer is known.
func (c *foldedValues) put(space uint32, key []byte, f folded) {
	if len(key)+len(f.value) > foldedMax {
		return
	}
	k := foldedKey{space, string(key)}
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
		c.at = map[foldedKey]*folded{}
	}
	c.at[k] = &f
}

// collapseFrom is how many operands a read may have to merge before its key is
// compacted: that is when merging them takes as long as a dozen reads.
const collapseFrom = 1 << 10

// collapseEvery is the time between two such compactions, each of which begins
// with a flush.
const collapseEvery = 5 * time.Second

// collapseLater compacts the versions of a key in the background, unless that
// was done for some key lately.
func (k *Keyspace) collapseLater(key []byte) {
	e := k.e
	last, now := e.collapsed.Load(), int64(time.Since(e.opened))+1
	if last != 0 && now-last < int64(collapseEvery) || !e.collapsed.CompareAndSwap(last, now) || e.opts.ReadOnly || e.opts.ManualOnly {
		return
	}
	if !e.background.Enter() {
		return
	}
	lo := bytes.Clone(key)
	go func() {
		defer e.background.Leave()
		hi := append(bytes.Clone(lo), 0)
		if err := k.Compact(e.background.ctx, lo, hi); err != nil {
			e.background.report("compaction of a key with many operands", err)
		}
	}()
}
