package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/keyspace"
)

// A transaction creates and drops keyspaces for itself until it commits: a keyspace
// that it created has a unique number, and no name in the database; a keyspace that
// it dropped still exists for all other clients. The transaction resolves names in the
// current database, not in that at its begin. Its commit fails with a conflict if a name
// that it created or dropped has another meaning by then.

// spaceEdits holds the changes of one transaction to keyspaces. Like the rest of its
// work they are guarded by its mu. The zero value holds none.
type spaceEdits struct {
	list  []spaceEdit
	bytes int // approximate memory of list
	// The result of list: names with another meaning than in the database, where nil
	// means no keyspace, and the numbers of keyspaces that cannot be used.
	names map[string]*keyspace.Keyspace
	gone  map[uint32]bool
}

// spaceEdit is one step: k is created, or dropped.
type spaceEdit struct {
	k    *keyspace.Keyspace
	drop bool
}

// none reports whether the transaction changes no keyspaces.
func (s *spaceEdits) none() bool { return len(s.list) == 0 }

func (s *spaceEdits) add(x spaceEdit) {
	if s.names == nil {
		s.names, s.gone = map[string]*keyspace.Keyspace{}, map[uint32]bool{}
	}
	s.list = append(s.list, x)
	s.bytes += x.size()
	s.note(x)
}

// size returns the bytes that a step takes of the transaction's share of the budget: the
// keyspace, its entries in maps, and its mark in the commit and in the conflict checks.
func (x *spaceEdit) size() int { return 512 + 2*len(x.k.Name()) }

func (s *spaceEdits) note(x spaceEdit) {
	if x.drop {
		s.names[x.k.Name()], s.gone[x.k.ID()] = nil, true
	} else {
		s.names[x.k.Name()] = x.k
	}
}

// rollback undoes all but the first n steps. A keyspace whose creation is undone is gone
// for good: its number is not reused.
func (s *spaceEdits) rollback(n int) {
	undone := s.list[n:]
	if len(undone) == 0 {
		return
	}
	for _, x := range undone {
		if x.drop {
			delete(s.gone, x.k.ID())
		}
	}
	for _, x := range undone {
		if !x.drop {
			s.gone[x.k.ID()] = true // even if a later step dropped it
		}
	}
	for i := range undone {
		s.bytes -= undone[i].size()
	}
	clear(undone)
	clear(s.names)
	s.list = s.list[:n]
	for _, x := range s.list {
		s.note(x)
	}
}

// created lists the keyspaces that the commit creates, in the order of the steps.
func (s *spaceEdits) created() (out []*keyspace.Keyspace) {
	for _, x := range s.list {
		if !x.drop && !s.gone[x.k.ID()] {
			out = append(out, x.k)
		}
	}
	return out
}

// dropped lists the keyspaces that the commit drops.
func (s *spaceEdits) dropped() (out []*keyspace.Keyspace) {
	own := map[uint32]bool{}
	for _, x := range s.list {
		switch {
		case !x.drop:
			own[x.k.ID()] = true
		case !own[x.k.ID()]:
			out = append(out, x.k)
		}
	}
	return out
}

// usable returns an error if a keyspace cannot be used in the transaction.
func (s *spaceEdits) usable(k *Keyspace) error {
	if s.gone[k.ID()] {
		return fmt.Errorf("%w: %q was dropped in the transaction, or its creation was undone", base.ErrNoKeyspace, k.Name())
	}
	return nil
}

// reset removes all steps.
func (s *spaceEdits) reset() { *s = spaceEdits{} }

// Keyspace is Engine.Keyspace in the transaction: other clients see a keyspace that it
// creates only after Commit.
func (t *Txn) Keyspace(name string, c KeyspaceChoice, create bool) (*Keyspace, error) {
	asked, err := c.Ask(name)
	if err != nil {
		return nil, err
	}
	w, err := t.enter()
	if err != nil {
		return nil, err
	}
	defer t.mu.Unlock()
	return t.e.handle(t.keyspace(w, asked, create))
}

func (t *Txn) keyspace(w *txnBuffers, asked keyspace.Asked, create bool) (*keyspace.Keyspace, error) {
	set := t.e.keyspaces
	k, own := w.spaces.names[asked.Name]
	if k != nil {
		return k, set.Reopen(k, asked)
	}
	if !own {
		if k, err := set.Open(asked, false); !errors.Is(err, base.ErrNoKeyspace) {
			return k, err
		}
	}
	switch {
	case !create:
		return nil, fmt.Errorf("%w: %q", base.ErrNoKeyspace, asked.Name)
	case t.o.ReadOnly:
		return nil, fmt.Errorf("%w: the transaction is read-only; keyspace %q cannot be created", base.ErrReadOnly, asked.Name)
	}
	k, err := set.Tentative(asked)
	if err == nil {
		err = t.addSpaceEdit(w, spaceEdit{k: k})
	}
	return k, err
}

// addSpaceEdit adds a step, unless the transaction would exceed its share of the budget.
func (t *Txn) addSpaceEdit(w *txnBuffers, x spaceEdit) error {
	if !t.fits(w, 0, x.size()) {
		return fmt.Errorf("%w: it has created and dropped %d keyspaces", base.ErrTxnTooLarge, len(w.spaces.list))
	}
	w.spaces.add(x)
	t.charge(w)
	return nil
}

// DropKeyspace is Engine.DropKeyspace in the transaction.
func (t *Txn) DropKeyspace(name string) error {
	w, err := t.enter()
	if err != nil {
		return err
	}
	defer t.mu.Unlock()
	switch {
	case t.o.ReadOnly:
		return fmt.Errorf("%w: the transaction is read-only; keyspace %q cannot be dropped", base.ErrReadOnly, name)
	case t.e.opts.ReadOnly:
		return fmt.Errorf("%w: keyspace %q cannot be dropped", base.ErrReadOnly, name)
	}
	k, own := w.spaces.names[name]
	if !own {
		t.e.versions.Lock()
		k = t.e.keyspaces.Named(name)
		t.e.versions.Unlock()
	}
	if k == nil {
		return fmt.Errorf("%w: %q", base.ErrNoKeyspace, name)
	}
	return t.addSpaceEdit(w, spaceEdit{k: k, drop: true})
}

// Keyspaces is Engine.Keyspaces as the transaction will leave them.
func (t *Txn) Keyspaces() ([]string, error) {
	w, err := t.enter()
	if err != nil {
		return nil, err
	}
	defer t.mu.Unlock()
	list, err := t.e.Keyspaces()
	if err != nil || w.spaces.none() {
		return list, err
	}
	names := make(map[string]bool, len(list))
	for _, name := range list {
		names[name] = true
	}
	for name, k := range w.spaces.names {
		names[name] = k != nil
	}
	maps.DeleteFunc(names, func(_ string, there bool) bool { return !there })
	return slices.Sorted(maps.Keys(names)), nil
}
