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

// advanceKeyspaces takes over what an edit says about keyspaces.
func (s *State) advanceKeyspaces(e *Edit) error {
	for _, id := range e.DropKeyspaces {
		if id == 0 || s.FindKeyspace(id) == nil {
			return fmt.Errorf("keyspace %d is dropped, and is not there", id)
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
			return fmt.Errorf("table %d belongs to keyspace %d, which is not there", n.Meta.Num, id)
		}
	}
	return nil
}

// fewKeyspaces is up to how many new names are looked for one by one. A manifest that
// begins with ten thousand keyspaces would compare fifty million.
const fewKeyspaces = 8

// taken returns what reports whether a new keyspace's name is another's, for an edit
// that sets n of them.
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
		names[name] = true // by the keyspace that asks
		return taken
	}
}

// setKeyspace adds a keyspace, or says more about one.
func (s *State) setKeyspace(k Keyspace, taken func(name string) bool) error {
	switch {
	case k.ID > maxKeyspace:
		return fmt.Errorf("keyspace %d is past the limit", k.ID)
	case len(k.Name) > MaxKeyspaceName || len(k.Merger) > MaxKeyspaceName:
		return fmt.Errorf("keyspace %d: a name of %d bytes", k.ID, max(len(k.Name), len(k.Merger)))
	case (k.ID == 0) != (k.Name == ""):
		return fmt.Errorf("keyspace %d has the name %q", k.ID, k.Name)
	}
	if old := s.FindKeyspace(k.ID); old != nil {
		if old.Name != k.Name {
			return fmt.Errorf("keyspace %d is called %q, and not %q", k.ID, old.Name, k.Name)
		}
		s.Keyspaces = slices.Clone(s.Keyspaces)
		*s.FindKeyspace(k.ID) = k
		return nil
	}
	if taken(k.Name) {
		return fmt.Errorf("there are two keyspaces %q", k.Name)
	}
	if n := len(s.Keyspaces); n == 0 || s.Keyspaces[n-1].ID < k.ID {
		// What older states see of the array does not change; there is one
		// newest state.
		s.Keyspaces = append(s.Keyspaces, k)
	} else {
		i, _ := slices.BinarySearchFunc(s.Keyspaces, k.ID, func(o Keyspace, id uint32) int { return cmp.Compare(o.ID, id) })
		s.Keyspaces = slices.Insert(slices.Clone(s.Keyspaces), i, k)
	}
	s.NextKeyspace = max(s.NextKeyspace, k.ID+1)
	return nil
}
