package engine

import (
	"fmt"
	"io"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// outputs makes the files of one job. compaction.Run decides when each is
// complete; outputs makes it durable, and removes it when the job fails. The
// order is I4: Run closes a value file before the tables that point into it,
// syncDir follows when Run is done, and only then comes the edit.
type outputs struct {
	e       *Engine
	job     int
	level   int // where the tables go: filters are sized by level
	opts    *KeyspaceOptions
	made    int
	frees   bool    // the files may take the reserve: once they are there others go
	packs   *packer // nil: every table has a file of its own
	scratch sstable.Scratch
}

// forSpaces says for how many keyspaces the job writes: for many, small tables lie
// together in packs.
func (o *outputs) forSpaces(n int) {
	if n > o.e.opts.PackFrom {
		o.packs = newPacker(o)
	}
}

// file creates a file under a new number. Its number is not reused if the job
// fails: a retry writes new files (the original's S19).
func (o *outputs) file(t base.FileType) (base.Identity, vfs.File, error) {
	if err := o.e.reserveNumbers(); err != nil {
		return base.Identity{}, nil, err
	}
	id := o.e.newIdentity(t)
	f, err := o.create(id)
	return id, f, err
}

// create creates a file under a number that was handed out.
func (o *outputs) create(id base.Identity) (vfs.File, error) {
	fs := vfs.FS(o.e.fs)
	if o.frees {
		fs = o.e.roomFS()
	}
	f, err := fs.Create(id.Name())
	if err != nil {
		return nil, vfs.Cannot("create "+id.Name(), err)
	}
	o.made++
	o.e.noteMade(id)
	return f, nil
}

func (o *outputs) newTable() (compaction.TableOutput, error) {
	if o.packs != nil {
		return o.packs.newTable()
	}
	id, f, err := o.file(base.FileTypeTable)
	if err != nil {
		return compaction.TableOutput{}, err
	}
	out := compaction.TableOutput{ID: id, Writer: o.writer(f, id)}
	out.Close, out.Abort = o.closers(id, f, failpoint.OutputAfterTableSync)
	return out, nil
}

func (o *outputs) writer(w io.Writer, id base.Identity) *sstable.Writer {
	return sstable.NewWriter(w, sstable.WriterOptions{
		ID: id, PageSize: o.e.opts.PageSize, Codec: o.opts.Codec,
		FilterBits: o.e.filterBits(o.level), Index: o.e.opts.Index, Scratch: &o.scratch,
	})
}

func (o *outputs) newValues() (compaction.ValueOutput, error) {
	id, f, err := o.file(base.FileTypeValues)
	if err != nil {
		return compaction.ValueOutput{}, err
	}
	out := compaction.ValueOutput{ID: id, Writer: valuelog.NewWriter(f, id, o.opts.Codec)}
	out.Close, out.Abort = o.closers(id, f, failpoint.OutputAfterValuesSync)
	return out, nil
}

// closers returns what makes a file durable, and what undoes it.
func (o *outputs) closers(id base.Identity, f vfs.File, point failpoint.Name) (finish func() error, abort func()) {
	open := true
	finish = func() error {
		open = false
		err := f.Sync()
		if err == nil {
			err = failpoint.Hit(point)
		}
		size, sizeErr := f.Size()
		// A failed close after a sync loses nothing; the descriptor is gone
		// either way.
		if cerr := f.Close(); cerr != nil {
			o.e.opts.Logger.Warn("seerdb: close after sync failed", "file", id.Name(), "err", cerr)
		}
		if err == nil {
			err = sizeErr
		}
		if err != nil {
			return vfs.Cannot("write "+id.Name(), err)
		}
		o.e.fileCreated(id.Type, id.Num, size, o.job)
		return nil
	}
	abort = func() {
		if open {
			open = false
			_ = f.Close()
		}
		o.e.removeFile(id.Type, id.Num, 0)
	}
	return finish, abort
}

// syncDir makes the names of the new files durable. A directory that does not
// sync poisons: nothing says which names survived.
func (o *outputs) syncDir() error {
	if o.made == 0 {
		return nil
	}
	if err := o.e.dirHandle.Sync(); err != nil {
		err = fmt.Errorf("sync of the database directory: %w", err)
		o.e.poison(err)
		return fmt.Errorf("%w until it is reopened: %w", base.ErrReadOnly, err)
	}
	return failpoint.Hit(failpoint.OutputAfterDirSync)
}

// discardOutputs removes the files of a result that will not be installed. When
// the engine is poisoned it is not known whether the edit that names them is
// in the manifest, and they stay for the next Open to judge.
func (e *Engine) discardOutputs(r compaction.Result) {
	if e.poisoned.Load() != nil {
		return
	}
	for num := range packsIn(r.Tables) {
		e.removeFile(base.FileTypePack, num, 0)
	}
	for _, t := range r.Tables {
		if t.Pack == 0 {
			e.removeFile(base.FileTypeTable, t.Num, 0)
		}
	}
	for _, v := range r.Values {
		e.removeFile(base.FileTypeValues, v.Num, 0)
	}
}

// broken reports whether the files that several runs share are lost.
func (o *outputs) broken() bool { return o.packs != nil && o.packs.broken }

// discard removes what a job has made that failed before its end; res is what its
// complete runs made, and the others have undone theirs.
func (o *outputs) discard(res compaction.Result) {
	if o.packs != nil {
		o.packs.place(res.Tables)
		o.packs.discard()
	}
	o.e.discardOutputs(res)
}

// filterBits gives the upper levels, which hold little and are asked by every
// read, more bits than the last (Dayan, Athanassoulis, Idreos, "Monkey",
// SIGMOD 2017).
func (e *Engine) filterBits(level int) float64 {
	bits := e.opts.FilterBits
	if bits == 0 || level >= base.NumLevels-1 {
		return bits
	}
	return bits + min(2*float64(base.NumLevels-1-level), 6)
}

// finish is the common end of flushes and compactions, with what their runs made:
// the packs are completed, and the directory is synced. The files of a failed
// job are gone when it returns.
func (o *outputs) finish(res compaction.Result, err error) (compaction.Result, error) {
	o.scratch.Release()
	if err == nil && o.packs != nil {
		if err = o.packs.end(); err == nil {
			o.packs.place(res.Tables)
			o.packs.discardUnused(res.Tables)
		}
	}
	if err != nil {
		o.discard(res)
		return compaction.Result{}, err
	}
	if err := o.syncDir(); err != nil {
		o.e.discardOutputs(res)
		return compaction.Result{}, err
	}
	o.e.noteBuilt(o.job, &res.Stats)
	return res, nil
}

// valueOptions say where the values of a job go. What it rewrites is in value files of s,
// which may be nil when there is none.
func (o *outputs) valueOptions(s *readstate.State, rewrite map[base.FileNum]bool) compaction.ValueOptions {
	return compaction.ValueOptions{
		Threshold:   o.opts.ValueThreshold,
		MaxFileSize: o.e.opts.valueFileSize(),
		Rewrite:     func(n base.FileNum) bool { return rewrite[n] },
		Fetch: func(dst []byte, p valuelog.Pointer) ([]byte, error) {
			return s.Fetch(dst, p)
		},
	}
}

// noteBuilt counts what a job did with versions and values, and reports what
// its user did not mean.
func (e *Engine) noteBuilt(job int, st *compaction.Stats) {
	e.stats.rewritten.Add(int64(st.RewrittenBytes))
	e.stats.versions.add(st)
	if n := st.SingleDeleteMisuse; n > 0 {
		e.opts.Logger.Warn("seerdb: a key was put more than once under a single delete, which was taken for a delete",
			"job", job, "keys", n)
	}
}
