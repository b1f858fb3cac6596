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

// Config says where a Set is.
type Config struct {
	Versions *versions.Set
	// SyncNew makes a keyspace durable when it is created. Without it a keyspace becomes
	// durable before the first row that needs it is in the log (see Settle), and by the next
	// Sync, Flush or Close, so that ten thousand keyspaces are created with one sync.
	SyncNew bool
	Closed  func() bool // reports whether the database is closed
}

// Set is the keyspaces of a database. It is safe for concurrent use.
type Set struct {
	c    Config
	root *Keyspace // the default one

	byID   sync.Map             // uint32 to *Keyspace, but for the default one; changed with the versions locked
	byName map[string]*Keyspace // guarded by the lock of the versions; as byID
	next   uint32               // guarded by the lock of the versions; above the numbers that this opening handed out

	// leaving is held while a transaction drops keyspaces, from when the first is
	// missed until all that it wrote is seen. Reads that miss one wait for that.
	leaving sync.RWMutex
}

// New returns a set with the default keyspace alone.
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

// Load takes over what the manifest lists, before anything else uses the set. It returns an
// error if the default keyspace was written with another merge operator.
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

// Root is the default keyspace.
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

// Of returns the keyspace with a number. Where there is none it returns one without a name
// that counts as dropped: a version that is about to be replaced may still have its tables.
func (s *Set) Of(id uint32) *Keyspace {
	k := s.Get(id)
	if k == nil {
		k = s.keyspace(manifest.Keyspace{ID: id})
		k.dropped.Store(true)
	}
	return k
}

// Others calls fn for each keyspace but the default one, in no order.
func (s *Set) Others(fn func(*Keyspace)) {
	s.byID.Range(func(_, k any) bool {
		fn(k.(*Keyspace))
		return true
	})
}

// Named returns the keyspace with a name, or nil. The versions are locked.
func (s *Set) Named(name string) *Keyspace { return s.byName[name] }

// Names lists the names of the keyspaces but the default one, sorted.
func (s *Set) Names() ([]string, error) {
	s.c.Versions.Lock()
	defer s.c.Versions.Unlock()
	if s.c.Closed() {
		return nil, base.ErrClosed
	}
	return slices.Sorted(maps.Keys(s.byName)), nil
}

// Add makes a keyspace known. The versions are locked, or the caller is alone.
func (s *Set) Add(k *Keyspace) {
	s.byID.Store(k.id, k)
	s.byName[k.name] = k
}

// Remove takes a keyspace away from commits and from reads to come, once the edit that drops
// it is durable. The versions are locked, and the caller holds the lock of commits, so that
// no commit writes to it any more.
func (s *Set) Remove(k *Keyspace) {
	if s.byName[k.name] == k {
		delete(s.byName, k.name)
	}
	k.dropped.Store(true)
	s.byID.Delete(k.id)
}

// BeginLeaving makes reads that miss a keyspace wait for EndLeaving. The caller drops
// keyspaces, and the versions are locked.
func (s *Set) BeginLeaving() { s.leaving.Lock() }

// EndLeaving ends what BeginLeaving began.
func (s *Set) EndLeaving() { s.leaving.Unlock() }

// Check says whether the keyspaces that a batch writes to are there.
func (s *Set) Check(ids []uint32) error {
	for _, id := range ids {
		if s.Missing(id) {
			return fmt.Errorf("%w: number %d was dropped", base.ErrNoKeyspace, id)
		}
	}
	return nil
}

// CheckMergers says whether every keyspace that a batch merges in has a merge operator. get
// finds keyspaces.
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

// Settle makes the keyspaces durable to which a batch writes: a log never writes to one that
// the manifest does not have.
func (s *Set) Settle(ids []uint32) error {
	v := s.c.Versions
	if durable := v.DurableKeyspaces(); !slices.ContainsFunc(ids, func(id uint32) bool { return id >= durable }) {
		return nil
	}
	v.Lock()
	defer v.Unlock()
	if v.Manifest() == nil {
		return nil // the commit will be refused, and its caller says why
	}
	return v.Sync()
}
