package engine

import (
	"context"
	"fmt"
	"iter"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Keyspace is a keyspace of an engine. It is safe for concurrent use.
type Keyspace struct {
	e *Engine // immutable
	*keyspace.Keyspace
}

// Root returns the default keyspace.
func (e *Engine) Root() *Keyspace { return e.root }

// foreign returns an error if a keyspace is of another database, or of another Open
// of this one: its number may be that of a different keyspace here.
func (e *Engine) foreign(k *Keyspace) error {
	if k.e == e {
		return nil
	}
	return e.Foreign(k.e, k.Describe())
}

// Foreign returns the error for using a thing of another engine with this one.
func (e *Engine) Foreign(other *Engine, thing string) error {
	if other.dir.name == e.dir.name {
		return fmt.Errorf("%w: %s is of another Open of %s; get it anew after each Open", base.ErrInvalidOptions, thing, e.dir.name)
	}
	return fmt.Errorf("%w: %s is of the database in %s, and was used with that in %s", base.ErrInvalidOptions, thing, other.dir.name, e.dir.name)
}

// Keyspaces lists the names of all keyspaces except the default one, sorted.
func (e *Engine) Keyspaces() ([]string, error) { return e.keyspaces.Names() }

// Keyspace opens a keyspace. If it does not exist and create is true, Keyspace creates
// it. The first call for a keyspace since Open decides its options.
func (e *Engine) Keyspace(name string, c KeyspaceChoice, create bool) (*Keyspace, error) {
	asked, err := c.Ask(name)
	if err != nil {
		return nil, err
	}
	return e.handle(e.keyspaces.Open(asked, create))
}

// handle wraps a keyspace of package keyspace for callers of the engine.
func (e *Engine) handle(k *keyspace.Keyspace, err error) (*Keyspace, error) {
	if err != nil {
		return nil, err
	}
	return &Keyspace{e, k}, nil
}

// DropKeyspace removes a keyspace with its content. New reads fail at once; open
// iterators go on. The files are removed with their last reader.
func (e *Engine) DropKeyspace(name string) error {
	e.versions.Lock()
	defer e.versions.Unlock()
	if e.store.Closed() {
		return base.ErrClosed
	}
	if e.versions.Manifest() == nil {
		return fmt.Errorf("%w: keyspace %q cannot be dropped", base.ErrReadOnly, name)
	}
	k := e.keyspaces.Named(name)
	if k == nil {
		return fmt.Errorf("%w: %q", base.ErrNoKeyspace, name)
	}
	if err := e.versions.Appendable(); err != nil {
		return err
	}
	edit := new(manifest.Edit)
	dropTree(edit, e.versions.Manifest().Version(), k)
	err := e.jobs.MakeCurrent(edit, e.keyspaces.Missing, func() {
		if newest, asked := e.commit.Drop(k); asked {
			e.dropped.keep(k, newest)
		}
	}, nil, false)
	if err != nil {
		return err
	}
	e.commit.Changed() // its writers may wait for a compaction
	return nil
}

// dropTree adds the removal of a keyspace and its tables to an edit of version v.
func dropTree(edit *manifest.Edit, v *manifest.Version, k *keyspace.Keyspace) {
	edit.DropKeyspaces = append(edit.DropKeyspaces, k.ID())
	v.Tree(k.ID()).All(func(level int, f *manifest.FileMeta) bool {
		edit.Remove = append(edit.Remove, manifest.OldFile{Level: level, Num: f.Num})
		return true
	})
}

// Compact flushes and compacts a range of the keyspace: see jobs.Jobs.Compact.
func (k *Keyspace) Compact(ctx context.Context, lo, hi []byte) error {
	return k.e.jobs.Compact(ctx, k.Keyspace, lo, hi)
}

// Load adds rows, all at once and newer than everything before: see bulk.Env.Load.
func (k *Keyspace) Load(ctx context.Context, rows iter.Seq2[[]byte, []byte], o LoadOptions) (LoadStats, error) {
	return k.e.loads.Load(ctx, k.Keyspace, rows, o)
}
