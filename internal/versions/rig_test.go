package versions_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/poison"
	"github.com/seerdb-go/seerdb/internal/versions"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// opening is one opening of a database, as the engine makes it.
type opening struct {
	*versions.Set
	fs        vfs.FS
	latch     poison.Latch
	poisons   []error // what Poison was called with
	used      []base.FileNum
	installed bool // CURRENT names its manifest, or may
}

func newOpening(fs vfs.FS) *opening {
	o := &opening{fs: fs}
	o.Set = versions.New(versions.Options{Latch: &o.latch, Poison: func(cause error) {
		o.poisons = append(o.poisons, cause)
		o.latch.Set(cause)
	}})
	return o
}

// file takes a number, and makes a file with it, whose name is durable.
func (o *opening) file(t base.FileType) error {
	id := o.NewIdentity(t)
	o.used = append(o.used, id.Num)
	f, err := o.fs.Create(id.Name())
	if err != nil {
		return err
	}
	o.Made(id)
	if err := f.Close(); err != nil {
		return err
	}
	return vfs.SyncDir(o.fs, vfs.Top)
}

// open creates or restores the database, with a new log.
func (o *opening) open() error {
	names, err := o.fs.List(vfs.Top)
	if err != nil {
		return err
	}
	st, err := manifest.Recover(o.fs, vfs.Top)
	switch {
	case errors.Is(err, base.ErrNotExist):
		if _, err := o.Create(o.fs); err != nil {
			return err
		}
		o.installed = true
	case err != nil:
		return err
	default:
		o.Restore(st, names)
		if err := o.Begin(o.fs, st); err != nil {
			return err
		}
		for range 2 { // what replay writes to tables
			if err := o.file(base.FileTypeTable); err != nil {
				return err
			}
		}
	}
	if err := o.file(base.FileTypeLog); err != nil {
		return err
	}
	if err := o.append(&manifest.Edit{LogNum: &o.used[len(o.used)-1], LogIncarnation: o.Incarnation()}); err != nil {
		return err
	}
	if o.installed {
		return nil
	}
	o.installed = true // from here on it may be
	return o.Install()
}

// append is Append with the lock.
func (o *opening) append(edit *manifest.Edit) error {
	o.Lock()
	defer o.Unlock()
	if err := o.Appendable(); err != nil {
		return err
	}
	return o.Append(edit)
}

// keyspace creates a keyspace that is not durable yet.
func (o *opening) keyspace() error {
	o.Lock()
	defer o.Unlock()
	if err := o.Appendable(); err != nil {
		return err
	}
	id := o.Manifest().State().NextKeyspace
	return o.AppendLater(&manifest.Edit{SetKeyspaces: []manifest.Keyspace{{ID: id, Name: fmt.Sprint("k", id)}}})
}

func (o *opening) close() error {
	o.Lock()
	defer o.Unlock()
	return o.Close()
}

// rig is a directory in memory.
type rig struct {
	testing.TB
	mem  *memfs.FS
	disk *faultfs.FS // over mem
}

func newRig(t testing.TB) *rig {
	mem := memfs.New()
	return &rig{t, mem, faultfs.New(mem)}
}

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) open() *opening {
	r.Helper()
	o := newOpening(r.disk)
	r.check(o.open())
	return o
}

// contents are the files in the directory.
func (r *rig) contents() map[string]string {
	r.Helper()
	names, err := r.mem.List(vfs.Top)
	r.check(err)
	files := map[string]string{}
	for _, name := range names {
		f, err := r.mem.Open(name)
		r.check(err)
		size, err := f.Size()
		r.check(err)
		p := make([]byte, size)
		_, err = f.ReadAt(p, 0)
		r.check(err)
		r.check(f.Close())
		files[name] = string(p)
	}
	return files
}

// crashes are directories that a power cut may leave.
func crashes(k, random int) []memfs.CrashOptions {
	list := []memfs.CrashOptions{{Keep: 0}, {Keep: 1}}
	for s := range random {
		list = append(list, memfs.CrashOptions{Keep: 0.5, Rand: rand.New(rand.NewPCG(uint64(s), uint64(k)))})
	}
	return list
}

// recovered is what a power cut now would leave at the least.
func (r *rig) recovered() *manifest.State {
	r.Helper()
	st, err := manifest.Recover(r.mem.CrashClone(memfs.CrashOptions{}), vfs.Top)
	r.check(err)
	return st
}

// keyspaces are the names in a state.
func keyspaces(st *manifest.State) (names []string) {
	for _, k := range st.Keyspaces {
		names = append(names, k.Name)
	}
	return slices.Clip(names)
}
