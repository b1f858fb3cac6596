package keyspace_test

import (
	"errors"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/poison"
	"github.com/seerdb-go/seerdb/internal/versions"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// rig is the keyspaces of a database in memory.
type rig struct {
	testing.TB
	*keyspace.Set
	mem    *memfs.FS
	disk   *faultfs.FS // over mem
	vs     *versions.Set
	latch  poison.Latch
	closed bool
}

// options of a rig.
type options struct {
	mem      *memfs.FS // a directory that is there
	root     keyspace.Options
	syncNew  bool
	readOnly bool
}

// open opens a database, or creates one.
func open(t testing.TB, o options) (*rig, error) {
	r := &rig{TB: t, mem: o.mem}
	if r.mem == nil {
		r.mem = memfs.New()
	}
	r.disk = faultfs.New(r.mem)
	r.vs = versions.New(versions.Options{Latch: &r.latch, Poison: func(cause error) { r.latch.Set(cause) }})
	r.Set = keyspace.New(keyspace.Config{Versions: r.vs, SyncNew: o.syncNew, Closed: func() bool { return r.closed }}, o.root)
	st, err := manifest.Recover(r.mem, vfs.Top)
	switch {
	case errors.Is(err, base.ErrNotExist):
		_, err := r.vs.Create(r.disk)
		r.check(err)
	default:
		r.check(err)
		r.vs.Restore(st, nil)
		if err := r.Load(st.Keyspaces); err != nil {
			return nil, err
		}
		if o.readOnly {
			return r, nil
		}
		r.check(r.vs.Begin(r.disk, st))
		r.check(r.vs.Install())
	}
	r.vs.Lock()
	r.check(r.vs.Append(new(manifest.Edit)))
	r.vs.Unlock()
	return r, r.OpenRoot()
}

func newRig(t testing.TB, o options) *rig {
	t.Helper()
	r, err := open(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// ask opens a keyspace, or creates it.
func (r *rig) ask(name string, c keyspace.Choice, create bool) (*keyspace.Keyspace, error) {
	asked, err := c.Ask(name)
	if err != nil {
		return nil, err
	}
	return r.Open(asked, create)
}

func (r *rig) must(name string, c keyspace.Choice) *keyspace.Keyspace {
	r.Helper()
	k, err := r.ask(name, c, true)
	r.check(err)
	return k
}

// drop drops a keyspace, as the engine does.
func (r *rig) drop(k *keyspace.Keyspace) {
	r.Helper()
	r.vs.Lock()
	defer r.vs.Unlock()
	r.check(r.vs.Append(&manifest.Edit{DropKeyspaces: []uint32{k.ID()}}))
	r.Remove(k)
}

// commit makes tentative keyspaces known, as the commit of a transaction does.
func (r *rig) commit(list ...*keyspace.Keyspace) {
	r.Helper()
	r.vs.Lock()
	defer r.vs.Unlock()
	edit := new(manifest.Edit)
	for _, k := range list {
		edit.SetKeyspaces = append(edit.SetKeyspaces, k.Record())
	}
	r.check(r.vs.Append(edit))
	for _, k := range list {
		r.Add(k)
	}
}

// crash is the directory that a power cut now would leave at the least.
func (r *rig) crash() *memfs.FS { return r.mem.CrashClone(memfs.CrashOptions{}) }

// record is what the manifest would say of a keyspace after a power cut, or nil.
func (r *rig) record(id uint32) *manifest.Keyspace {
	r.Helper()
	st, err := manifest.Recover(r.crash(), vfs.Top)
	r.check(err)
	return st.FindKeyspace(id)
}

// operator is a merge operator that only has a name.
type operator struct {
	base.Merger
	name string
}

func (o *operator) Name() string { return o.name }
