package engine

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// recover brings a database back. In order:
//
//	1 check that each file that the manifest names exists in full size
//	2 replay the logs that are still needed, oldest first, into memtables, and
//	  write these to new, synced tables (the page cache may show bytes that a
//	  failed sync never wrote)
//	3 write a new manifest that adds those tables and retires those logs, then
//	  make CURRENT name it
//	4 only then remove the logs and all other files that the manifest does not
//	  name (I11)
//
// Until CURRENT names the new manifest, all old files are unchanged and none refers to
// a new one: after a crash the next Open does all of it again, and an Open that
// fails removes what it added (see versions.Set.Undo).
func (o *opening) recover(names []string) error {
	e := o.e
	begin := time.Now()
	st, err := manifest.Recover(e.dir.fs, vfs.Top)
	if err != nil {
		return err
	}
	if err := o.restore(st, names); err != nil {
		return err
	}
	r := &replay{o: o, e: e, st: st, begin: func() error { return e.versions.Begin(e.room.Over(e.dir.fs), st) }}
	if err := r.logs(names); err != nil {
		r.free()
		return err
	}
	if e.opts.ReadOnly {
		return o.beginReadOnly(st.Version, r)
	}
	if err := r.finish(); err != nil {
		r.free()
		return err
	}
	if err := e.versions.Install(); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.RecoverBeforeSweep); err != nil {
		return err
	}
	r.event.Removed, r.event.Foreign = o.sweep(names, st)
	r.event.Duration = time.Since(begin)
	e.report.Listener.Recovered(r.event)
	if r.event.TornFile != "" {
		e.report.Logger.Warn("seerdb: an incomplete tail of the log was cut", "file", r.event.TornFile, "offset", r.event.TornAt)
	}
	return nil
}

// restore takes over the state of the manifest, and checks the files it names.
func (o *opening) restore(st *manifest.State, names []string) error {
	e := o.e
	e.versions.Restore(st, names)
	e.commit.Follow(st.LastSeq)
	// Check the merge operators now: replay calls them.
	if err := e.keyspaces.Load(st.Keyspaces); err != nil {
		return err
	}
	st.Clock = e.clock.Begin(st.Clock, e.opts.ResetClock)
	st.Version.All(func(_ int, f *manifest.FileMeta) bool {
		if f.Expiring > 0 {
			e.clock.Use()
		}
		return f.Expiring == 0
	})
	return o.checkFiles(st.Version)
}

// checkFiles checks that every file that the manifest names exists in full size.
func (o *opening) checkFiles(v *manifest.Version) error {
	e := o.e
	check := func(name string, size uint64) error {
		info, err := e.dir.fs.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			c := base.Corruptf(name, -1, "the file is missing, but the manifest names it")
			c.Err = err
			return c
		case err != nil:
			return vfs.Cannot("look at "+name, err)
		case uint64(info.Size()) != size:
			return base.Corruptf(name, -1, "the file has %d bytes; the manifest says %d", info.Size(), size)
		}
		return nil
	}
	var err error
	packs := map[base.FileNum]bool{}
	v.All(func(_ int, f *manifest.FileMeta) bool {
		switch {
		case f.Pack == 0:
			err = check(f.FileName(), f.Size)
		case !packs[f.Pack]:
			packs[f.Pack] = true
			err = check(f.FileName(), f.PackSize)
		}
		return err == nil
	})
	for _, f := range v.SortedValues() {
		if err == nil {
			err = check(base.FileName(base.FileTypeValues, f.Num), f.Size)
		}
	}
	return err
}

// beginReadOnly keeps the content of the logs in memory and changes no file.
func (o *opening) beginReadOnly(v *manifest.Version, r *replay) error {
	e := o.e
	mem, err := memtable.New(memtable.Options{Capacity: 1 << 10, Partitions: 1})
	if err != nil {
		r.free()
		return err
	}
	slices.Reverse(r.gens)
	e.commit.BeginReadOnly(v, &generation.Generation{Mem: mem}, r.gens)
	return nil
}
