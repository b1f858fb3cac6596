// Package outputs makes the files of jobs: tables, value files, and packs of small
// tables. It makes them durable in the order of I4, and removes them when a job fails.
package outputs

import (
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Env is what the Outputs of a database's jobs need of it. It is immutable.
type Env struct {
	FS   vfs.FS  // the directory
	Room vfs.FS  // the same, for files that may take the reserve
	Dir  vfs.Dir // its names
	// Reserve makes sure that numbers can be handed out which recovery takes for the
	// database's own; NewIdentity hands one out.
	Reserve     func() error
	NewIdentity func(base.FileType) base.Identity
	// Made, Created and Remove are called for a file that was created, is complete, and
	// is not wanted.
	Made    func(base.Identity)
	Created func(t base.FileType, n base.FileNum, size int64, job int)
	Remove  func(t base.FileType, n base.FileNum, size int64)
	// Poison is called where it is not known what of the directory is durable. Poisoned
	// reports whether that happened.
	Poison   func(error)
	Poisoned func() bool
	Built    func(job int, s *compaction.Stats) // called for what complete jobs did
	Logger   *slog.Logger

	PageSize      int
	FilterBits    float64
	Index         sstable.IndexMode
	ValueFileSize uint64
	PackFrom      int // jobs for more keyspaces make packs
	PackedMax     int // bytes of a table that goes into a pack
}

// Outputs makes the files of one job. compaction.Run decides when each is
// complete; outputs makes it durable, and removes it when the job fails. The
// order is I4: Run closes a value file before the tables that point into it,
// syncDir follows when Run is done, and only then comes the edit.
type Outputs struct {
	env     *Env
	job     int
	frees   bool // the files may take the reserve: once they are there others go
	made    int
	packs   *packer // nil: every table has a file of its own
	scratch sstable.Scratch

	level     int // where the tables go: filters are sized by level
	codec     compress.Codec
	threshold int // of values that lie apart
}

// New makes the outputs of a job. frees says that its files may take the reserve,
// since others go once they are there.
func New(env *Env, job int, frees bool) *Outputs {
	return &Outputs{env: env, job: job, frees: frees}
}

// ForKeyspaces says for how many keyspaces the job writes: for many, small tables lie
// together in packs.
func (o *Outputs) ForKeyspaces(n int) {
	if n > o.env.PackFrom {
		o.packs = newPacker(o)
	}
}

// Next says of which level, and with which options of a keyspace, the files are that
// come next.
func (o *Outputs) Next(level int, codec compress.Codec, threshold int) {
	o.level, o.codec, o.threshold = level, codec, threshold
}

// file creates a file under a new number. Its number is not reused if the job
// fails: a retry writes new files, and meets no half-written one.
func (o *Outputs) file(t base.FileType) (base.Identity, vfs.File, error) {
	if err := o.env.Reserve(); err != nil {
		return base.Identity{}, nil, err
	}
	id := o.env.NewIdentity(t)
	f, err := o.create(id)
	return id, f, err
}

// create creates a file under a number that was handed out.
func (o *Outputs) create(id base.Identity) (vfs.File, error) {
	fs := o.env.FS
	if o.frees {
		fs = o.env.Room
	}
	f, err := fs.Create(id.Name())
	if err != nil {
		return nil, vfs.Cannot("create "+id.Name(), err)
	}
	o.made++
	o.env.Made(id)
	return f, nil
}

// NewTable makes a table: see compaction.RunOptions.
func (o *Outputs) NewTable() (compaction.TableOutput, error) {
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

func (o *Outputs) writer(w io.Writer, id base.Identity) *sstable.Writer {
	return sstable.NewWriter(w, sstable.WriterOptions{
		ID: id, PageSize: o.env.PageSize, Codec: o.codec,
		FilterBits: o.env.filterBits(o.level), Index: o.env.Index, Scratch: &o.scratch,
	})
}

// NewValues makes a value file: see compaction.RunOptions.
func (o *Outputs) NewValues() (compaction.ValueOutput, error) {
	id, f, err := o.file(base.FileTypeValues)
	if err != nil {
		return compaction.ValueOutput{}, err
	}
	out := compaction.ValueOutput{ID: id, Writer: valuelog.NewWriter(f, id, o.codec)}
	out.Close, out.Abort = o.closers(id, f, failpoint.OutputAfterValuesSync)
	return out, nil
}

// closers returns what makes a file durable, and what undoes it.
func (o *Outputs) closers(id base.Identity, f vfs.File, point failpoint.Name) (finish func() error, abort func()) {
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
			o.env.Logger.Warn("seerdb: close after sync failed", "file", id.Name(), "err", cerr)
		}
		if err == nil {
			err = sizeErr
		}
		if err != nil {
			return vfs.Cannot("write "+id.Name(), err)
		}
		o.env.Created(id.Type, id.Num, size, o.job)
		return nil
	}
	abort = func() {
		if open {
			open = false
			_ = f.Close()
		}
		o.env.Remove(id.Type, id.Num, 0)
	}
	return finish, abort
}

// syncDir makes the names of the new files durable. A directory that does not
// sync poisons: nothing says which names survived.
func (o *Outputs) syncDir() error {
	if o.made == 0 {
		return nil
	}
	if err := o.env.Dir.Sync(); err != nil {
		err = fmt.Errorf("sync of the database directory: %w", err)
		o.env.Poison(err)
		return fmt.Errorf("%w until it is reopened: %w", base.ErrReadOnly, err)
	}
	return failpoint.Hit(failpoint.OutputAfterDirSync)
}

// Discard removes the files of a result that will not be installed. When
// the engine is poisoned it is not known whether the edit that names them is
// in the manifest, and they stay for the next Open to judge.
func (env *Env) Discard(r compaction.Result) {
	if env.Poisoned() {
		return
	}
	for num := range packsIn(r.Tables) {
		env.Remove(base.FileTypePack, num, 0)
	}
	for _, t := range r.Tables {
		if t.Pack == 0 {
			env.Remove(base.FileTypeTable, t.Num, 0)
		}
	}
	for _, v := range r.Values {
		env.Remove(base.FileTypeValues, v.Num, 0)
	}
}

// Broken reports whether a pack, which several runs share, is lost. The job can only fail then.
func (o *Outputs) Broken() bool { return o.packs != nil && o.packs.broken }

// discard removes what a job has made that failed before its end; res is what its
// complete runs made, and the others have undone theirs.
func (o *Outputs) discard(res compaction.Result) {
	if o.packs != nil {
		o.packs.discard()
		res.Tables = slices.DeleteFunc(res.Tables, func(m *manifest.FileMeta) bool {
			_, packed := o.packs.places[m.Num] // it went with its pack
			return packed
		})
	}
	o.env.Discard(res)
}

// filterBits gives the upper levels, which hold little and are asked by every
// read, more bits than the last (Dayan, Athanassoulis, Idreos, "Monkey",
// SIGMOD 2017).
func (env *Env) filterBits(level int) float64 {
	bits := env.FilterBits
	if bits == 0 || level >= base.NumLevels-1 {
		return bits
	}
	return bits + min(2*float64(base.NumLevels-1-level), 6)
}

// Finish returns the common end of flushes and compactions, with what their
// runs made: the packs are completed, and the directory is synced. The files of
// a failed job are gone when it returns.
func (o *Outputs) Finish(res compaction.Result, err error) (compaction.Result, error) {
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
		o.env.Discard(res)
		return compaction.Result{}, err
	}
	o.env.Built(o.job, &res.Stats)
	return res, nil
}

// ValueOptions say where the values of a job go. What it rewrites is in value files of s,
// which may be nil when there is none.
func (o *Outputs) ValueOptions(s *readstate.State, rewrite map[base.FileNum]bool) compaction.ValueOptions {
	return compaction.ValueOptions{
		Threshold:   o.threshold,
		MaxFileSize: o.env.ValueFileSize,
		Rewrite:     func(n base.FileNum) bool { return rewrite[n] },
		Fetch: func(dst []byte, p valuelog.Pointer) ([]byte, error) {
			return s.Fetch(dst, p)
		},
	}
}
