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

// What transactions may yet ask of keyspaces that were dropped: a transaction
// that began before and read in one of them depends on what was committed to it
// since, and asks the stored versions when its history was lost. Transactions
// that begin later cannot read it.
//
// A keyspace that got nothing since the oldest open transaction began needs
// nothing. Of another one the state is pinned in which it was dropped, as an
// iterator would pin it, until no transaction is open that is older than its last
// commit. Pinned memtables are memory, so there is an end to that: beyond a few
// all that is known of the keyspaces dropped first is when they were written to.

// droppedSpace is such a keyspace.
type droppedSpace struct {
	k      *keyspace.Keyspace
	newest base.SeqNum      // of the commits that wrote to it
	s      *readstate.State // pinned, with what it held; nil when that was given up
	shard  int              // of s
}

// droppedSpaces are in the order in which they were dropped.
type droppedSpaces struct {
	// Immutable after init.
	store     *readstate.Store
	versions  *versions.Set
	keyspaces *keyspace.Set
	commits   *commit.Pipeline

	any  atomic.Bool // the list is not empty; a hint for transactions that end
	mu   sync.Mutex
	list []droppedSpace // guarded by mu
}

func (g *droppedSpaces) init(store *readstate.Store, v *versions.Set, k *keyspace.Set, c *commit.Pipeline) {
	g.store, g.versions, g.keyspaces, g.commits = store, v, k, c
}

// pinnedGenerations is how many generations may be pinned by dropped keyspaces:
// memtables of an eighth of the default budget.
const pinnedGenerations = 4

// keep keeps what transactions may ask of a keyspace that no commit, and
// no new read, finds any more, while the state still has its tables. The caller
// has the versions locked.
func (g *droppedSpaces) keep(k *keyspace.Keyspace, newest base.SeqNum) {
	d := droppedSpace{k: k, newest: newest}
	if d.s, d.shard = g.store.Keep(); d.s == nil {
		return // closed
	}
	g.add(d)
	g.forget() // the last transaction may have ended before it could see that
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

// generations counts those that are pinned. The caller holds mu.
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

// giveUp lets go of what the keyspace held.
func (d *droppedSpace) giveUp() {
	if d.s != nil {
		d.s.LetGo(d.shard)
		d.s = nil
	}
}

// forget lets go of the keyspaces that no open transaction may ask for:
// all of them when the engine is closed.
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

// pinnedTree is the tree of a keyspace in a pinned state. Without a state it is
// gone, and only known to have been written to last at newest, 0 for never.
type pinnedTree struct {
	k      *keyspace.Keyspace
	s      *readstate.State
	shard  int
	newest base.SeqNum
}

// tree is what a transaction that asks the stored versions looks at.
func (g *droppedSpaces) tree(keyspace uint32) (pinnedTree, error) {
	if k := g.keyspaces.Get(keyspace); k != nil {
		s, shard := g.store.Keep()
		if s == nil {
			return pinnedTree{}, base.ErrClosed
		}
		// In a state that is as new as the drop the tables are missing.
		if !k.Dropped() {
			return pinnedTree{k: k, s: s, shard: shard}, nil
		}
		s.LetGo(shard)
	}
	g.versions.Lock() // a drop that has begun is through then
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
