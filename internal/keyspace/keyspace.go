// Package keyspace keeps the keyspaces of a database. Each is a tree of its own: its tables,
// and what options say of them. All share the log, the sequence, the generations, the manifest,
// the cache, the budget and the workers.
//
// Package memtable keeps them apart: ten thousand cost no more there than what was
// written, and an idle one pins neither memory nor a log.
//
// Creating and dropping are edits of the manifest. Numbers are not used twice,
// so what generations, logs and running jobs still hold of a keyspace that was
// dropped is recognised by its number and passed over.
package keyspace

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Keyspace is an open keyspace. It is safe for concurrent use.
type Keyspace struct {
	// Immutable.
	set  *Set
	id   uint32
	name string

	newest  base.SeqNum             // guarded by the lock of commits; see Wrote
	merger  string                  // the operator's name that the manifest has; guarded by the lock of the versions
	dropped atomic.Bool             // stored by Remove
	opts    atomic.Pointer[Options] // stored with the versions locked; nil: not opened by the program yet
}

// Name is the keyspace's name; that of the default one is empty.
func (k *Keyspace) Name() string { return k.name }

// ID is the keyspace's number, as operations of a batch carry it.
func (k *Keyspace) ID() uint32 { return k.id }

// TTL is for how long a Put lasts.
func (k *Keyspace) TTL() time.Duration {
	if o := k.opts.Load(); o != nil {
		return o.TTL
	}
	return 0
}

// Options are those that the program gave, or defaults.
func (k *Keyspace) Options() *Options {
	if o := k.opts.Load(); o != nil {
		return o
	}
	return k.set.root.opts.Load().withoutMerger()
}

// Merger is the merge operator, or nil.
func (k *Keyspace) Merger() base.Merger { return k.Options().Merger }

// Dropped reports whether the keyspace was dropped.
func (k *Keyspace) Dropped() bool { return k.dropped.Load() }

// Usable says why a keyspace cannot be used, or nil.
func (k *Keyspace) Usable() error {
	if !k.Dropped() {
		return nil
	}
	k.set.leaving.RLock() // what the same commit wrote shows from here on
	defer k.set.leaving.RUnlock()
	return fmt.Errorf("%w: %q was dropped", base.ErrNoKeyspace, k.name)
}

// Describe names the keyspace in a message.
func (k *Keyspace) Describe() string {
	if k.id == 0 {
		return "the database"
	}
	return fmt.Sprintf("keyspace %q", k.name)
}

// Wrote notes a commit that writes to the keyspace. The caller holds the lock of commits.
func (k *Keyspace) Wrote(seq base.SeqNum) { k.newest = seq }

// Newest is the sequence of the newest commit since Open that wrote to the keyspace. That of
// the default one is not known. The caller holds the lock of commits.
func (k *Keyspace) Newest() base.SeqNum { return k.newest }

// Record is what the manifest says of the keyspace.
func (k *Keyspace) Record() manifest.Keyspace {
	return manifest.Keyspace{ID: k.id, Name: k.name, Merger: k.merger}
}
