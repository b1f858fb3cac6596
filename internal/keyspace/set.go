package keyspace

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/versions"
)

// Config is what a Set needs.
type Config struct {
	Versions *versions.Set
	// SyncNew makes each new keyspace durable when it is created. Otherwise a keyspace
	// becomes durable before the log has the first row that needs it (see Settle), and with
	// the next Sync, Flush or Close, so that one sync suffices for ten thousand new
	// keyspaces.
	SyncNew bool
	Closed  func() bool // reports whether the database is closed
}

// Set is the keyspaces of a database. It is safe for concurrent use.
type Set struct {
	c    Config
	root *Keyspace // the default one

	byID   sync.Map             // uint32 to *Keyspace, without the default one; changed with the versions locked
	byName map[string]*Keyspace // guarded by the lock of the versions; without the default one
	next   uint32               // guarded by the lock of the versions; above the numbers that this opening handed out

	// leaving is locked while a transaction drops keyspaces, from when the first is missing
	// until all writes of the transaction are visible. Reads that miss a keyspace wait for
	// that.
	leaving sync.RWMutex
}

// New returns a set that holds only the default keyspace.
func New(c Config, root Options) *Set {
	s := &Set{c: c, byName: map[string]*Keyspace{}}
	s.root = s.keyspace(manifest.Keyspace{})
	root = root.Named()
	s.root.opts.Store(&root)
	return s
}

func (s *Set) keyspace(m manifest.Keyspace) *Keyspace {
	return &Keyspace{set: s, id: m.ID, name: m.Name, merger: m.Merger}
}

// Load adds the keyspaces that the manifest lists, before anything else uses the set. It
// returns an error if the default keyspace was written with another merge operator.
func (s *Set) Load(list []manifest.Keyspace) error {
	for _, m := range list {
		if m.ID == 0 {
			s.root.merger = m.Merger
		} else {
			s.Add(s.keyspace(m))
		}
	}
	return s.root.checkMerger(s.root.opts.Load())
}

// Root returns the default keyspace.
func (s *Set) Root() *Keyspace { return s.root }

// Get returns the keyspace with a number, or nil.
func (s *Set) Get(id uint32) *Keyspace {
	if id == 0 {
		return s.root
	}
	if k, ok := s.byID.Load(id); ok {
		return k.(*Keyspace)
	}
	return nil
}

// Missing reports whether there is no keyspace with a number.
func (s *Set) Missing(id uint32) bool { return s.Get(id) == nil }

// Of returns the keyspace with a number. If there is none, it returns one without a name
// that counts as dropped: a version that is about to be replaced may still have tables of
// it.
func (s *Set) Of(id uint32) *Keyspace {
	k := s.Get(id)
	if k == nil {
		k = s.keyspace(manifest.Keyspace{ID: id})
		k.dropped.Store(true)
	}
	return k
}

// Others calls fn for each keyspace except the default one, in no order.
func (s *Set) Others(fn func(*Keyspace)) {
	s.byID.Range(func(_, k any) bool {
		fn(k.(*Keyspace))
		return true
	})
}

// Named returns the keyspace with a name, or nil. The versions are locked.
func (s *Set) Named(name string) *Keyspace { return s.byName[name] }

// Names returns the names of all keyspaces except the default one, sorted.
func (s *Set) Names() ([]string, error) {
	s.c.Versions.Lock()
	defer s.c.Versions.Unlock()
	if s.c.Closed() {
		return nil, base.ErrClosed
	}
	return slices.Sorted(maps.Keys(s.byName)), nil
}

// Add adds a keyspace. The versions are locked, or the caller is alone.
func (s *Set) Add(k *Keyspace) {
	s.byID.Store(k.id, k)
	s.byName[k.name] = k
}

// Remove hides a keyspace from later commits and reads, once the edit that drops it is
// durable. The versions are locked, and the caller holds the lock of commits, so no commit
// writes to the keyspace afterwards.
func (s *Set) Remove(k *Keyspace) {
	if s.byName[k.name] == k {
		delete(s.byName, k.name)
	}
	k.dropped.Store(true)
	s.byID.Delete(k.id)
}

// BeginLeaving makes reads that miss a keyspace wait until EndLeaving. The caller drops
// keyspaces, and the versions are locked.
func (s *Set) BeginLeaving() { s.leaving.Lock() }

// EndLeaving lets waiting reads proceed.
func (s *Set) EndLeaving() { s.leaving.Unlock() }

// Check returns an error if one of the keyspaces that a batch writes to is missing.
func (s *Set) Check(ids []uint32) error {
	for _, id := range ids {
		if s.Missing(id) {
			return fmt.Errorf("%w: number %d was dropped", base.ErrNoKeyspace, id)
		}
	}
	return nil
}

// CheckMergers returns an error if a keyspace that a batch merges in has no merge operator.
// get returns a keyspace by number, or nil.
func CheckMergers(b *batch.Batch, get func(uint32) *Keyspace) error {
	if b.Merges() == 0 {
		return nil
	}
	for r := b.Reader(); ; {
		op, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		if op.Kind != base.KindMerge {
			continue
		}
		if k := get(op.Keyspace); k != nil && k.Options().Merger == nil {
			return fmt.Errorf("%w: Merge needs a merge operator, and %s was opened without one", base.ErrInvalidOptions, k.Describe())
		}
	}
}

// Settle makes the keyspaces that a batch writes to durable: a log never writes to a
// keyspace that the manifest does not have.
func (s *Set) Settle(ids []uint32) error {
	v := s.c.Versions
	if durable := v.DurableKeyspaces(); !slices.ContainsFunc(ids, func(id uint32) bool { return id >= durable }) {
		return nil
	}
	v.Lock()
	defer v.Unlock()
	if v.Manifest() == nil {
		return nil // the commit will be refused, with a better reason
	}
	return v.Sync()
}
