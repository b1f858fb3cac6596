package engine

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Keyspaces. Each is a tree of its own: its tables, and what options say of
// them. All share the log, the sequence, the generations, the manifest, the
// cache, the budget and the workers.
//
// Package memtable keeps them apart: ten thousand cost no more there than what was
// written, and an idle one pins neither memory nor a log.
//
// Creating and dropping are edits of the manifest. Numbers are not used twice,
// so what generations, logs and running jobs still hold of a keyspace that was
// dropped is recognised by its number and passed over.

// Keyspace is an open keyspace. It is safe for concurrent use.
type Keyspace struct {
	// Immutable.
	e    *Engine
	id   uint32
	name string

	newest  base.SeqNum                     // of the commits that wrote to it since Open, but for the default one; guarded by commit.mu
	merger  string                          // the operator's name that the manifest has; guarded by installMu
	dropped atomic.Bool                     // stored under installMu
	opts    atomic.Pointer[KeyspaceOptions] // stored under installMu; nil: not opened by the program yet
}

// errNoKeyspace ends a job of a keyspace that was dropped since.
var errNoKeyspace = base.ErrNoKeyspace

// keyspaces are those that exist.
type keyspaces struct {
	byID   sync.Map             // uint32 to *Keyspace, the default one included; changed under installMu
	byName map[string]*Keyspace // guarded by installMu; the others
	next   uint32               // guarded by installMu; above the numbers that this opening handed out
	// leaving is held while a transaction drops keyspaces, from when the first is
	// missed until all that it wrote is seen. Reads that miss one wait for that.
	leaving sync.RWMutex
	// durable is above the numbers of those that a crash of the system cannot take
	// away; stored under installMu.
	durable atomic.Uint32
	made    atomic.Uint32 // above the numbers of all; stored under installMu
}

// space is the keyspace with a number, or nil.
func (e *Engine) space(id uint32) *Keyspace {
	if id == 0 {
		return e.root
	}
	if k, ok := e.spaces.byID.Load(id); ok {
		return k.(*Keyspace)
	}
	return nil
}

// addSpace makes a keyspace known. The caller holds installMu, or is alone.
func (e *Engine) addSpace(k *Keyspace) {
	e.spaces.byID.Store(k.id, k)
	e.spaces.byName[k.name] = k
}

func (e *Engine) newKeyspace(m manifest.Keyspace) *Keyspace {
	return &Keyspace{e: e, id: m.ID, name: m.Name, merger: m.Merger}
}

// Root is the default keyspace.
func (e *Engine) Root() *Keyspace { return e.root }

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

// options are those that the program gave, or defaults.
func (k *Keyspace) options() *KeyspaceOptions {
	if o := k.opts.Load(); o != nil {
		return o
	}
	return k.e.root.opts.Load().withoutMerger()
}

// Merger is the merge operator, or nil.
func (k *Keyspace) Merger() base.Merger { return k.options().Merger }

// usable says why a keyspace cannot be used, or nil.
func (k *Keyspace) usable() error {
	if !k.dropped.Load() {
		return nil
	}
	k.e.spaces.leaving.RLock() // what the same commit wrote shows from here on
	defer k.e.spaces.leaving.RUnlock()
	return fmt.Errorf("%w: %q was dropped", base.ErrNoKeyspace, k.name)
}

// foreign says why a keyspace cannot be used here, when it is one of another
// database or of another opening of this one: there its number may be another's.
func (e *Engine) foreign(k *Keyspace) error {
	if k.e == e {
		return nil
	}
	return e.Foreign(k.e, k.Describe())
}

// Foreign is the error for a thing of another engine that was given to this one.
func (e *Engine) Foreign(other *Engine, thing string) error {
	if other.name == e.name {
		return fmt.Errorf("%w: %s is of another Open of %s; get it anew after each Open", base.ErrInvalidOptions, thing, e.name)
	}
	return fmt.Errorf("%w: %s is of the database in %s, and was used with that in %s", base.ErrInvalidOptions, thing, other.name, e.name)
}

// loadKeyspaces takes over what the manifest lists.
func (e *Engine) loadKeyspaces(list []manifest.Keyspace) {
	e.spaces.byName = make(map[string]*Keyspace, len(list))
	for _, m := range list {
		if m.ID == 0 {
			e.root.merger = m.Merger
		} else {
			e.addSpace(e.newKeyspace(m))
		}
	}
}

// Keyspaces lists the names of the keyspaces but the default one, sorted.
func (e *Engine) Keyspaces() ([]string, error) {
	e.installMu.Lock()
	defer e.installMu.Unlock()
	if e.store.Closed() {
		return nil, base.ErrClosed
	}
	return slices.Sorted(maps.Keys(e.spaces.byName)), nil
}

// Keyspace opens a keyspace, or creates it unless create is false. The first
// call for one since the engine was opened decides its options.
func (e *Engine) Keyspace(name string, c KeyspaceChoice, create bool) (*Keyspace, error) {
	mergerName, err := askKeyspace(name, &c)
	if err != nil {
		return nil, err
	}
	return e.keyspace(name, &c, mergerName, create)
}

// askKeyspace checks the name of a keyspace and asks for that of its merge
// operator, which is the program's code, so it runs without locks.
func askKeyspace(name string, c *KeyspaceChoice) (mergerName string, err error) {
	switch {
	case name == "":
		return "", fmt.Errorf("%w: a keyspace needs a name; the database itself is the one without", base.ErrInvalidOptions)
	case len(name) > manifest.MaxKeyspaceName:
		return "", fmt.Errorf("%w: the name of a keyspace has %d bytes; at most %d are allowed", base.ErrInvalidOptions, len(name), manifest.MaxKeyspaceName)
	}
	return nameOf(c.Merger), nil
}

// keyspace is Keyspace for a choice whose merge operator was asked for its name.
func (e *Engine) keyspace(name string, c *KeyspaceChoice, mergerName string, create bool) (*Keyspace, error) {
	e.installMu.Lock()
	defer e.installMu.Unlock()
	if e.store.Closed() {
		return nil, base.ErrClosed
	}
	k := e.spaces.byName[name]
	var o KeyspaceOptions
	if k != nil {
		o = c.over(k.options(), mergerName)
	} else {
		o = c.over(e.root.opts.Load().withoutMerger(), mergerName)
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	if k == nil {
		if !create {
			return nil, fmt.Errorf("%w: %q", base.ErrNoKeyspace, name)
		}
		return e.createKeyspace(name, o)
	}
	if err := e.openKeyspace(k, o); err != nil {
		return nil, err
	}
	return k, nil
}

// openRoot writes down the merge operator of the default keyspace.
func (e *Engine) openRoot() error {
	e.installMu.Lock()
	defer e.installMu.Unlock()
	return e.openKeyspace(e.root, *e.root.opts.Load())
}

// openKeyspace gives a keyspace its options. The caller holds installMu.
func (e *Engine) openKeyspace(k *Keyspace, o KeyspaceOptions) error {
	if err := k.checkMerger(&o); err != nil {
		return err
	}
	old := k.opts.Load()
	if old != nil {
		if err := k.agrees(old, &o); err != nil {
			return err
		}
	}
	if e.manifest == nil { // read-only: nothing can be recorded
		k.opts.CompareAndSwap(nil, &o)
		return nil
	}
	merger := o.mergerName
	if k.merger != merger {
		m := manifest.Keyspace{ID: k.id, Name: k.name, Merger: merger}
		if err := e.editKeyspaces(&manifest.Edit{SetKeyspaces: []manifest.Keyspace{m}}, true); err != nil {
			return err
		}
		k.merger = merger
	}
	if old == nil || old.mergerName != merger {
		k.opts.Store(&o)
	}
	return nil
}

// Describe names the keyspace in a message.
func (k *Keyspace) Describe() string {
	if k.id == 0 {
		return "the database"
	}
	return fmt.Sprintf("keyspace %q", k.name)
}

// createKeyspace adds a keyspace. The caller holds installMu.
func (e *Engine) createKeyspace(name string, o KeyspaceOptions) (*Keyspace, error) {
	if e.manifest == nil {
		return nil, fmt.Errorf("%w: keyspace %q cannot be created", base.ErrReadOnly, name)
	}
	m := manifest.Keyspace{ID: e.nextKeyspace(), Name: name, Merger: o.mergerName}
	edit := &manifest.Edit{SetKeyspaces: []manifest.Keyspace{m}}
	if err := e.editKeyspaces(edit, e.opts.Durability == Sync); err != nil {
		return nil, err
	}
	k := e.newKeyspace(m)
	k.opts.Store(&o)
	e.addSpace(k)
	return k, nil
}

// nextKeyspace hands out a number. Numbers are not used twice, those of transactions
// that were rolled back included. The caller holds installMu, and there is a manifest.
func (e *Engine) nextKeyspace() uint32 {
	id := max(e.spaces.next, e.manifest.State().NextKeyspace)
	e.spaces.next = id + 1
	return id
}

// editKeyspaces makes an edit: durable at once, or else before the first row is in
// the log that needs it (see settleSpaces), and by the next Sync, Flush or Close, so
// that ten thousand keyspaces are created with one sync. The caller holds installMu.
func (e *Engine) editKeyspaces(edit *manifest.Edit, durable bool) error {
	if err := e.appendable(); err != nil {
		return err
	}
	if durable {
		return e.appendEdit(edit)
	}
	if err := e.manifest.AppendLater(edit); err != nil {
		return e.appended(err)
	}
	e.spaces.made.Store(e.manifest.State().NextKeyspace)
	return nil
}

// settleSpaces makes the keyspaces durable to which a batch writes: a log never
// writes to one that the manifest does not have.
func (e *Engine) settleSpaces(ids []uint32) error {
	if durable := e.spaces.durable.Load(); !slices.ContainsFunc(ids, func(id uint32) bool { return id >= durable }) {
		return nil
	}
	e.installMu.Lock()
	defer e.installMu.Unlock()
	if e.manifest == nil {
		return nil // the commit will be refused, and its caller says why
	}
	return e.syncManifest()
}

// syncSpaces makes all keyspaces durable that were created.
func (e *Engine) syncSpaces() error {
	if e.spaces.made.Load() <= e.spaces.durable.Load() {
		return nil
	}
	e.installMu.Lock()
	defer e.installMu.Unlock()
	return e.syncManifest()
}

// syncManifest makes durable what was appended to the manifest. The caller holds
// installMu.
func (e *Engine) syncManifest() error {
	if err := e.appendable(); err != nil {
		return err
	}
	return e.appended(e.manifest.Sync())
}

// DropKeyspace removes a keyspace and all that is in it, at once for readers
// that begin now; iterators that are open go on. The files go with the last
// reader.
func (e *Engine) DropKeyspace(name string) error {
	e.installMu.Lock()
	defer e.installMu.Unlock()
	if e.store.Closed() {
		return base.ErrClosed
	}
	if e.manifest == nil {
		return fmt.Errorf("%w: keyspace %q cannot be dropped", base.ErrReadOnly, name)
	}
	k := e.spaces.byName[name]
	if k == nil {
		return fmt.Errorf("%w: %q", base.ErrNoKeyspace, name)
	}
	if err := e.appendable(); err != nil {
		return err
	}
	edit := new(manifest.Edit)
	dropTree(edit, e.manifest.Version(), k)
	err := e.makeCurrent(edit, e.missing, func() {
		if newest, asked := e.leaveKeyspace(k); asked {
			e.keepDropped(k, newest)
		}
	}, nil, false)
	if err != nil {
		return err
	}
	e.commitChanged() // its writers may be waiting for a compaction
	return nil
}

// dropTree adds to an edit of version v that a keyspace goes with its tables.
func dropTree(edit *manifest.Edit, v *manifest.Version, k *Keyspace) {
	edit.DropKeyspaces = append(edit.DropKeyspaces, k.id)
	v.Tree(k.id).All(func(level int, f *manifest.FileMeta) bool {
		edit.Remove = append(edit.Remove, manifest.OldFile{Level: level, Num: f.Num})
		return true
	})
}

// leaveKeyspace takes a keyspace away from commits and from reads to come, once the
// edit that drops it is durable. It also returns the sequence of the newest commit
// to it, and whether transactions are open that may ask what that was. The caller
// holds installMu.
func (e *Engine) leaveKeyspace(k *Keyspace) (newest base.SeqNum, asked bool) {
	if e.spaces.byName[k.name] == k {
		delete(e.spaces.byName, k.name)
	}
	e.commit.mu.Lock() // so that no commit writes to it any more
	defer e.commit.mu.Unlock()
	k.dropped.Store(true)
	e.spaces.byID.Delete(k.id)
	oldest, open := e.commit.tracker.Oldest()
	return k.newest, open && oldest < k.newest
}

// checkSpaces says whether the keyspaces that a batch writes to are there.
func (e *Engine) checkSpaces(ids []uint32) error {
	for _, id := range ids {
		if e.space(id) == nil {
			return fmt.Errorf("%w: number %d was dropped", base.ErrNoKeyspace, id)
		}
	}
	return nil
}

// checkMergers says whether every keyspace that a batch merges in has a merge
// operator. space finds keyspaces.
func checkMergers(b *batch.Batch, space func(uint32) *Keyspace) error {
	for r := b.Reader(); ; {
		op, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		if op.Kind != base.KindMerge {
			continue
		}
		if k := space(op.Keyspace); k != nil && k.options().Merger == nil {
			return fmt.Errorf("%w: Merge needs a merge operator, and %s was opened without one", base.ErrInvalidOptions, k.Describe())
		}
	}
}

// missing reports whether there is no keyspace with a number.
func (e *Engine) missing(id uint32) bool { return e.space(id) == nil }

// withoutMissing takes out of an edit the tables of keyspaces that are missing, which
// were dropped since some job made them, and returns them.
func withoutMissing(edit *manifest.Edit, missing func(uint32) bool) (dead []manifest.Dropped) {
	gone := func(n manifest.NewFile) bool { return missing(n.Meta.Keyspace) }
	if !slices.ContainsFunc(edit.Add, gone) {
		return nil
	}
	referenced := map[base.FileNum]bool{}
	for _, n := range edit.Add {
		if gone(n) {
			continue
		}
		referenced[n.Meta.Pack] = true
		for _, r := range n.Meta.ValueRefs {
			referenced[r.File] = true
		}
	}
	edit.Add = slices.DeleteFunc(edit.Add, func(n manifest.NewFile) bool {
		if !gone(n) {
			return false
		}
		m := n.Meta
		switch {
		case m.Pack == 0:
			dead = append(dead, manifest.Dropped{Type: base.FileTypeTable, Num: m.Num})
		case !referenced[m.Pack]:
			referenced[m.Pack] = true // once
			dead = append(dead, manifest.Dropped{Type: base.FileTypePack, Num: m.Pack})
		}
		return true
	})
	edit.AddValues = slices.DeleteFunc(slices.Clone(edit.AddValues), func(m manifest.ValueMeta) bool {
		if referenced[m.Num] {
			return false
		}
		dead = append(dead, manifest.Dropped{Type: base.FileTypeValues, Num: m.Num})
		return true
	})
	return dead
}
