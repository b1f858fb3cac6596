package manifest

import (
	"cmp"
	"fmt"
	"slices"
)

// FindKeyspace returns the keyspace with a number, or nil.
func (s *State) FindKeyspace(id uint32) *Keyspace {
	i, ok := slices.BinarySearchFunc(s.Keyspaces, id, func(k Keyspace, id uint32) int { return cmp.Compare(k.ID, id) })
	if !ok {
		return nil
	}
	return &s.Keyspaces[i]
}

// advanceKeyspaces applies the keyspaces of an edit.
func (s *State) advanceKeyspaces(e *Edit) error {
	for _, id := range e.DropKeyspaces {
		if id == 0 || s.FindKeyspace(id) == nil {
			return fmt.Errorf("dropped keyspace %d does not exist", id)
		}
		s.Keyspaces = slices.DeleteFunc(slices.Clone(s.Keyspaces), func(k Keyspace) bool { return k.ID == id })
	}
	taken := s.taken(len(e.SetKeyspaces))
	for _, k := range e.SetKeyspaces {
		if err := s.setKeyspace(k, taken); err != nil {
			return err
		}
	}
	s.NextKeyspace = max(s.NextKeyspace, e.NextKeyspace, 1)
	for _, n := range e.Add {
		if id := n.Meta.Keyspace; id != 0 && s.FindKeyspace(id) == nil {
			return fmt.Errorf("table %d belongs to keyspace %d, which does not exist", n.Meta.Num, id)
		}
	}
	return nil
}

// fewKeyspaces is the number of new names up to which each is compared with all
// others. For a manifest with ten thousand keyspaces that would be fifty
// million comparisons.
const fewKeyspaces = 8

// taken returns a func that reports whether another keyspace has a name, for an
// edit that sets n keyspaces.
func (s *State) taken(n int) func(name string) bool {
	if n <= fewKeyspaces {
		return func(name string) bool {
			return slices.ContainsFunc(s.Keyspaces, func(o Keyspace) bool { return o.Name == name })
		}
	}
	names := make(map[string]bool, len(s.Keyspaces)+n)
	for _, k := range s.Keyspaces {
		names[k.Name] = true
	}
	return func(name string) bool {
		taken := names[name]
		names[name] = true // taken from now on
		return taken
	}
}

// setKeyspace adds a keyspace, or changes one.
func (s *State) setKeyspace(k Keyspace, taken func(name string) bool) error {
	switch {
	case k.ID > maxKeyspace:
		return fmt.Errorf("keyspace %d is past the limit", k.ID)
	case len(k.Name) > MaxKeyspaceName || len(k.Merger) > MaxKeyspaceName:
		return fmt.Errorf("keyspace %d: a name of %d bytes is too long", k.ID, max(len(k.Name), len(k.Merger)))
	case (k.ID == 0) != (k.Name == ""):
		return fmt.Errorf("keyspace %d must have no name, and has %q", k.ID, k.Name)
	}
	if old := s.FindKeyspace(k.ID); old != nil {
		if old.Name != k.Name {
			return fmt.Errorf("keyspace %d is named %q and cannot be renamed to %q", k.ID, old.Name, k.Name)
		}
		s.Keyspaces = slices.Clone(s.Keyspaces)
		*s.FindKeyspace(k.ID) = k
		return nil
	}
	if taken(k.Name) {
		return fmt.Errorf("two keyspaces are named %q", k.Name)
	}
	if n := len(s.Keyspaces); n == 0 || s.Keyspaces[n-1].ID < k.ID {
		// Older states do not see beyond their length of the array, and only
		// the newest state appends to it.
		s.Keyspaces = append(s.Keyspaces, k)
	} else {
		i, _ := slices.BinarySearchFunc(s.Keyspaces, k.ID, func(o Keyspace, id uint32) int { return cmp.Compare(o.ID, id) })
		s.Keyspaces = slices.Insert(slices.Clone(s.Keyspaces), i, k)
	}
	s.NextKeyspace = max(s.NextKeyspace, k.ID+1)
	return nil
}
