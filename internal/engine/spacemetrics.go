package engine

import (
	"cmp"
	"slices"

	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/observe"
)

// KeyspaceMetrics describes the tables of every keyspace: the default one first, then
// by name. It takes no lock and reads no file. A closed engine has none. A keyspace that
// is created or dropped during the call may be missing or present.
func (e *Engine) KeyspaceMetrics() []observe.KeyspaceMetrics {
	s, shard := e.store.Acquire()
	if s == nil {
		return nil
	}
	v := s.Version() // safe after Release: it is ordinary Go memory
	s.Release(shard)
	out := []observe.KeyspaceMetrics{treeFigures("", v.Tree(0))}
	e.keyspaces.Others(func(k *keyspace.Keyspace) {
		out = append(out, treeFigures(k.Name(), v.Tree(k.ID())))
	})
	slices.SortFunc(out, func(a, b observe.KeyspaceMetrics) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// treeFigures describes the tree of a keyspace.
func treeFigures(name string, t *manifest.Tree) observe.KeyspaceMetrics {
	m := observe.KeyspaceMetrics{Name: name}
	n := len(t.Levels)
	for n > 0 && len(t.Levels[n-1]) == 0 {
		n--
	}
	for l := range n {
		f := levelFigures(t, l)
		m.Levels = append(m.Levels, f)
		m.Total.Level = l
		m.Total.Runs += f.Runs
		m.Total.Files += f.Files
		m.Total.Bytes += f.Bytes
		m.Total.Values += f.Values
		m.Total.Entries += f.Entries
		m.Total.Deletes += f.Deletes
		m.Total.Expiring += f.Expiring
		m.Total.RangeDeletes += f.RangeDeletes
	}
	return m
}

// levelFigures describes one level of a tree.
func levelFigures(t *manifest.Tree, level int) observe.KeyspaceLevel {
	sum := &t.Sums[level]
	f := observe.KeyspaceLevel{
		Level: level, Runs: len(t.Levels[level]), Files: sum.Tables, Bytes: int64(sum.Bytes), Values: int64(sum.Values),
		Deletes: int64(sum.Deletes), Expiring: int64(sum.Expiring), RangeDeletes: int64(sum.Ranges),
	}
	for _, r := range t.Levels[level] {
		for _, m := range r.Files {
			f.Entries += int64(m.Entries)
		}
	}
	return f
}
