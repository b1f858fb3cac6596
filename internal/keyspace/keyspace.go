// Package keyspace keeps the keyspaces of a database. Each keyspace is a tree of its own
// with its own tables and options. All share the log, the sequence, the generations, the
// manifest, the cache, the budget and the workers.
//
// Package memtable separates the keyspaces within a memtable: ten thousand cost no more
// there than their data, and an idle one pins neither memory nor a log.
//
// Creating and dropping a keyspace are edits of the manifest. No number is used twice, so
// generations, logs and running jobs recognise by its number what still belongs to a
// dropped keyspace, and skip it.
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
	merger  string                  // the operator's name in the manifest; guarded by the lock of the versions
	dropped atomic.Bool             // stored by Remove
	opts    atomic.Pointer[Options] // stored with the versions locked; nil until the program opens it
}

// Name returns the keyspace's name, which is empty for the default one.
func (k *Keyspace) Name() string { return k.name }

// ID returns the keyspace's number, as operations of a batch carry it.
func (k *Keyspace) ID() uint32 { return k.id }

// TTL returns how long a Put lasts, 0 for ever.
func (k *Keyspace) TTL() time.Duration {
	if o := k.opts.Load(); o != nil {
		return o.TTL
	}
	return 0
}

// Options returns the options that the program set, or defaults.
func (k *Keyspace) Options() *Options {
	if o := k.opts.Load(); o != nil {
		return o
	}
	return k.set.root.opts.Load().withoutMerger()
}

// Merger returns the merge operator, or nil.
func (k *Keyspace) Merger() base.Merger { return k.Options().Merger }

// Dropped reports whether the keyspace was dropped.
func (k *Keyspace) Dropped() bool { return k.dropped.Load() }

// Usable returns nil, or an error if the keyspace was dropped.
func (k *Keyspace) Usable() error {
	if !k.Dropped() {
		return nil
	}
	k.set.leaving.RLock() // wait until all of the commit that dropped it is visible
	defer k.set.leaving.RUnlock()
	return fmt.Errorf("%w: %q was dropped", base.ErrNoKeyspace, k.name)
}

// Describe returns a name of the keyspace for messages.
func (k *Keyspace) Describe() string {
	if k.id == 0 {
		return "the database"
	}
	return fmt.Sprintf("keyspace %q", k.name)
}

// Wrote records a commit that writes to the keyspace. The caller holds the lock of commits.
func (k *Keyspace) Wrote(seq base.SeqNum) { k.newest = seq }

// Newest returns the sequence of the newest commit since Open that wrote to the keyspace.
// It is not known for the default keyspace. The caller holds the lock of commits.
func (k *Keyspace) Newest() base.SeqNum { return k.newest }

// Record returns the manifest's entry for the keyspace.
func (k *Keyspace) Record() manifest.Keyspace {
	return manifest.Keyspace{ID: k.id, Name: k.name, Merger: k.merger}
}
