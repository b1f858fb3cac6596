package engine

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/versions"
)

// This file keeps dropped keyspaces for the conflict checks of older transactions. A
// transaction that read in a keyspace before its drop depends on later commits to it.
// If the tracker no longer has these commits, the transaction reads the stored
// versions. Transactions that begin after the drop cannot read the keyspace.
//
// A keyspace without commits since the oldest open transaction began is not kept.
// For any other keyspace the engine pins the state of the drop, as an iterator would,
// until all open transactions are newer than its last commit. Pinned memtables take
// memory, so their number is bounded: beyond it the engine releases the states of the
// keyspaces dropped first, and keeps only the sequence of their last commit.

// droppedSpace is a dropped keyspace.
type droppedSpace struct {
	k      *keyspace.Keyspace
	newest base.SeqNum      // sequence of the last commit to it
	s      *readstate.State // pinned, with its entries; nil once released
	shard  int              // of s
}

// droppedSpaces holds dropped keyspaces in the order of their drops.
type droppedSpaces struct {
	// Immutable after init.
	store     *readstate.Store
	versions  *versions.Set
	keyspaces *keyspace.Set
	commits   *commit.Pipeline

	any  atomic.Bool // reports that list is not empty; a hint for transactions that end
	mu   sync.Mutex
	list []droppedSpace // guarded by mu
}

func (g *droppedSpaces) init(store *readstate.Store, v *versions.Set, k *keyspace.Set, c *commit.Pipeline) {
	g.store, g.versions, g.keyspaces, g.commits = store, v, k, c
}

// pinnedGenerations is how many generations may be pinned by dropped keyspaces:
// memtables of an eighth of the default budget.
const pinnedGenerations = 4

// keep keeps a dropped keyspace for open transactions that may need it. Commits and
// new reads no longer find the keyspace, but the state still has its tables. The
// caller has the versions locked.
func (g *droppedSpaces) keep(k *keyspace.Keyspace, newest base.SeqNum) {
	d := droppedSpace{k: k, newest: newest}
	if d.s, d.shard = g.store.Keep(); d.s == nil {
		return // closed
	}
	g.add(d)
	g.forget() // the last transaction may have ended before it saw the entry
}

func (g *droppedSpaces) add(d droppedSpace) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = append(g.list, d)
	g.any.Store(true)
	for i := range g.list {
		if g.generations() <= pinnedGenerations {
			break
		}
		g.list[i].giveUp()
	}
}

// generations counts pinned generations. The caller holds mu.
func (g *droppedSpaces) generations() int {
	seen := map[*generation.Generation]bool{}
	for i := range g.list {
		if s := g.list[i].s; s != nil {
			for j := range 1 + len(s.Imm) {
				seen[s.Generation(j)] = true
			}
		}
	}
	return len(seen)
}

// giveUp releases the pinned state.
func (d *droppedSpace) giveUp() {
	if d.s != nil {
		d.s.LetGo(d.shard)
		d.s = nil
	}
}

// forget releases the keyspaces that no open transaction may need, and all of them
// when the engine is closed.
func (g *droppedSpaces) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.list) == 0 {
		return
	}
	oldest, open := g.commits.OldestTxn()
	g.list = slices.DeleteFunc(g.list, func(d droppedSpace) bool {
		gone := !open || oldest >= d.newest || g.store.Closed()
		if gone {
			d.giveUp()
		}
		return gone
	})
	g.any.Store(len(g.list) > 0)
}

// pinnedTree is the tree of a keyspace in a pinned state. If the state is nil, the
// tree is gone and only newest is known: the sequence of its last write, or 0.
type pinnedTree struct {
	k      *keyspace.Keyspace
	s      *readstate.State
	shard  int
	newest base.SeqNum
}

// tree returns the tree that a transaction reads in a conflict check.
func (g *droppedSpaces) tree(keyspace uint32) (pinnedTree, error) {
	if k := g.keyspaces.Get(keyspace); k != nil {
		s, shard := g.store.Keep()
		if s == nil {
			return pinnedTree{}, base.ErrClosed
		}
		// A dropped keyspace may have no tables in s: Dropped is checked after s
		// was acquired.
		if !k.Dropped() {
			return pinnedTree{k: k, s: s, shard: shard}, nil
		}
		s.LetGo(shard)
	}
	g.versions.Lock() // wait for a drop that has begun
	defer g.versions.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.list, func(d droppedSpace) bool { return d.k.ID() == keyspace })
	if i < 0 {
		return pinnedTree{}, nil
	}
	d := &g.list[i]
	if d.s != nil {
		d.s.KeepAgain(d.shard)
	}
	return pinnedTree{k: d.k, s: d.s, shard: d.shard, newest: d.newest}, nil
}

// NewestSeq implements txn.Tree.
func (g *droppedSpaces) NewestSeq(keyspace uint32, key []byte) (base.SeqNum, error) {
	t, err := g.tree(keyspace)
	if err != nil || t.s == nil {
		return t.newest, err
	}
	defer t.s.LetGo(t.shard)
	return t.s.NewestSeq(keyspace, key)
}

// AnyNewer implements txn.Tree.
func (g *droppedSpaces) AnyNewer(keyspace uint32, lo, hi []byte, after base.SeqNum) (bool, error) {
	t, err := g.tree(keyspace)
	if err != nil || t.s == nil {
		return t.newest > after, err
	}
	defer t.s.LetGo(t.shard)
	return t.s.AnyNewer(keyspace, lo, hi, after)
}
