package keyspace

import (
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// This file holds how keyspaces are opened and created.

// Ask checks the name of a keyspace and asks the merge operator for its name. The operator
// is the program's code, so callers hold no locks. The result is for Open.
func (c Choice) Ask(name string) (asked Asked, err error) {
	switch {
	case name == "":
		return asked, fmt.Errorf("%w: a keyspace needs a name; the database itself is the one without", base.ErrInvalidOptions)
	case len(name) > manifest.MaxKeyspaceName:
		return asked, fmt.Errorf("%w: the name of a keyspace has %d bytes; at most %d are allowed", base.ErrInvalidOptions, len(name), manifest.MaxKeyspaceName)
	}
	return Asked{name, c, nameOf(c.Merger)}, nil
}

// Asked is a Choice for a named keyspace, with the name of its merge operator.
type Asked struct {
	Name       string
	choice     Choice
	mergerName string
}

// Open opens a keyspace, creating it if it is missing and create is true. The first call
// for a keyspace after the database was opened sets its options.
func (s *Set) Open(a Asked, create bool) (*Keyspace, error) {
	s.c.Versions.Lock()
	defer s.c.Versions.Unlock()
	if s.c.Closed() {
		return nil, base.ErrClosed
	}
	k := s.byName[a.Name]
	if k != nil {
		o, err := a.over(k.Options())
		if err == nil {
			err = s.open(k, o)
		}
		if err != nil {
			return nil, err
		}
		return k, nil
	}
	o, err := a.over(s.root.opts.Load().withoutMerger())
	switch {
	case err != nil:
		return nil, err
	case !create:
		return nil, fmt.Errorf("%w: %q", base.ErrNoKeyspace, a.Name)
	}
	return s.create(a.Name, o)
}

// OpenRoot records the merge operator of the default keyspace in the manifest.
func (s *Set) OpenRoot() error {
	s.c.Versions.Lock()
	defer s.c.Versions.Unlock()
	return s.open(s.root, *s.root.opts.Load())
}

// over returns o changed by the choice, or an error if the result is invalid.
func (a *Asked) over(o *Options) (Options, error) {
	r := a.choice.over(o, a.mergerName)
	return r, r.validate()
}

// open sets the options of a keyspace. The versions are locked.
func (s *Set) open(k *Keyspace, o Options) error {
	if err := k.checkMerger(&o); err != nil {
		return err
	}
	old := k.opts.Load()
	if old != nil {
		if err := k.agrees(old, &o); err != nil {
			return err
		}
	}
	if s.c.Versions.Manifest() == nil { // read-only: nothing can be recorded
		k.opts.CompareAndSwap(nil, &o)
		return nil
	}
	merger := o.mergerName
	if k.merger != merger {
		m := manifest.Keyspace{ID: k.id, Name: k.name, Merger: merger}
		if err := s.edit(&manifest.Edit{SetKeyspaces: []manifest.Keyspace{m}}, true); err != nil {
			return err
		}
		k.merger = merger
	}
	if old == nil || old.mergerName != merger {
		k.opts.Store(&o)
	}
	return nil
}

// create adds a keyspace. The versions are locked.
func (s *Set) create(name string, o Options) (*Keyspace, error) {
	if s.c.Versions.Manifest() == nil {
		return nil, fmt.Errorf("%w: keyspace %q cannot be created", base.ErrReadOnly, name)
	}
	m := manifest.Keyspace{ID: s.number(), Name: name, Merger: o.mergerName}
	if err := s.edit(&manifest.Edit{SetKeyspaces: []manifest.Keyspace{m}}, s.c.SyncNew); err != nil {
		return nil, err
	}
	k := s.keyspace(m)
	k.opts.Store(&o)
	s.Add(k)
	return k, nil
}

// number returns an unused number. No number is used twice, even if it was that of a
// transaction that was rolled back. The versions are locked, and there is a manifest.
func (s *Set) number() uint32 {
	id := max(s.next, s.c.Versions.Manifest().State().NextKeyspace)
	s.next = id + 1
	return id
}

// edit appends an edit to the manifest, durably or to become durable later. The versions
// are locked.
func (s *Set) edit(edit *manifest.Edit, durable bool) error {
	v := s.c.Versions
	if err := v.Appendable(); err != nil {
		return err
	}
	if durable {
		return v.Append(edit)
	}
	return v.AppendLater(edit)
}

// Tentative makes a keyspace with a new number. It is not part of the database until Add.
func (s *Set) Tentative(a Asked) (*Keyspace, error) {
	s.c.Versions.Lock()
	defer s.c.Versions.Unlock()
	switch {
	case s.c.Closed():
		return nil, base.ErrClosed
	case s.c.Versions.Manifest() == nil:
		return nil, fmt.Errorf("%w: keyspace %q cannot be created", base.ErrReadOnly, a.Name)
	}
	o, err := a.over(s.root.opts.Load().withoutMerger())
	if err != nil {
		return nil, err
	}
	k := s.keyspace(manifest.Keyspace{ID: s.number(), Name: a.Name, Merger: o.mergerName})
	k.opts.Store(&o)
	return k, nil
}

// Reopen checks a choice for a tentative keyspace and applies it.
func (s *Set) Reopen(k *Keyspace, a Asked) error {
	s.c.Versions.Lock()
	defer s.c.Versions.Unlock()
	old := k.opts.Load()
	o, err := a.over(old)
	if err != nil {
		return err
	}
	if err := k.checkMerger(&o); err != nil {
		return err
	}
	if err := k.agrees(old, &o); err != nil {
		return err
	}
	k.merger = o.mergerName // it is not in the manifest yet
	k.opts.Store(&o)
	return nil
}
