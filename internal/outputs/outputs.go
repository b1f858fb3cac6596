// Package outputs makes the files of jobs: tables, value files, and packs of
// small tables. It makes them durable in the order of I4, and removes them if a
// job fails.
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

// Env is what Outputs needs from the database. It is immutable.
type Env struct {
	FS   vfs.FS  // the database directory
	Room vfs.FS  // the same, for files that may take the reserve
	Dir  vfs.Dir // for syncing the names in it
	// Reserve ensures that NewIdentity can assign numbers which recovery
	// recognises as the database's own.
	Reserve     func() error
	NewIdentity func(base.FileType) base.Identity
	// Made, Created and Remove are called for a file that was created, that is
	// complete, and that is no longer wanted.
	Made    func(base.Identity)
	Created func(t base.FileType, n base.FileNum, size int64, job int)
	Remove  func(t base.FileType, n base.FileNum, size int64)
	// Poison is called if it is unknown what of the directory is durable.
	// Poisoned reports whether that happened.
	Poison   func(error)
	Poisoned func() bool
	Built    func(job int, s *compaction.Stats) // called with the statistics of complete jobs
	Logger   *slog.Logger

	PageSize      int
	FilterBits    float64
	Index         sstable.IndexMode
	ValueFileSize uint64
	PackFrom      int // jobs that write for more keyspaces make packs
	PackedMax     int // largest size in bytes of a table in a pack
}

// Outputs makes the files of one job. compaction.Run decides when each file is
// complete; Outputs makes it durable, and removes it if the job fails. The
// order is that of I4: Run closes a value file before the tables that point
// into it, syncDir follows when Run is done, and the edit comes last.
type Outputs struct {
	env     *Env
	job     int
	frees   bool // the files may take the reserve, because the job makes other files unnecessary
	made    int
	packs   *packer // nil if every table gets a file of its own
	scratch sstable.Scratch

	level     int // the level of the tables, by which filters are sized
	codec     compress.Codec
	threshold int // length from which values go to value files
}

// New returns the outputs of a job. frees says that its files may take the
// reserve, because they make other files unnecessary.
func New(env *Env, job int, frees bool) *Outputs {
	return &Outputs{env: env, job: job, frees: frees}
}

// ForKeyspaces sets the number of keyspaces that the job writes for. If there
// are many, small tables go into packs.
func (o *Outputs) ForKeyspaces(n int) {
	if n > o.env.PackFrom {
		o.packs = newPacker(o)
	}
}

// Next sets the level and the keyspace's options for the files that follow.
func (o *Outputs) Next(level int, codec compress.Codec, threshold int) {
	o.level, o.codec, o.threshold = level, codec, threshold
}

// file creates a file under a new number. The number is not reused if the job
// fails: a retry writes new files and never meets half-written ones.
func (o *Outputs) file(t base.FileType) (base.Identity, vfs.File, error) {
	if err := o.env.Reserve(); err != nil {
		return base.Identity{}, nil, err
	}
	id := o.env.NewIdentity(t)
	f, err := o.create(id)
	return id, f, err
}

// create creates a file under an assigned number.
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

// NewTable makes a table for compaction.RunOptions.
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

// NewValues makes a value file for compaction.RunOptions.
func (o *Outputs) NewValues() (compaction.ValueOutput, error) {
	id, f, err := o.file(base.FileTypeValues)
	if err != nil {
		return compaction.ValueOutput{}, err
	}
	out := compaction.ValueOutput{ID: id, Writer: valuelog.NewWriter(f, id, o.codec)}
	out.Close, out.Abort = o.closers(id, f, failpoint.OutputAfterValuesSync)
	return out, nil
}

// closers returns a func that makes a file durable and one that removes it.
func (o *Outputs) closers(id base.Identity, f vfs.File, point failpoint.Name) (finish func() error, abort func()) {
	open := true
	finish = func() error {
		open = false
		err := f.Sync()
		if err == nil {
			err = failpoint.Hit(point)
		}
		size, sizeErr := f.Size()
		// A failed close after a sync loses nothing, and the descriptor is gone
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

// syncDir makes the names of the new files durable. If the directory cannot be
// synced the engine is poisoned, since nothing says which names survive.
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

// Discard removes the files of a result that will not be installed. If the
// engine is poisoned it leaves them to the next Open, since the manifest may
// contain the edit that names them.
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

// Broken reports whether a pack, which several runs share, was lost. The job
// can then only fail.
func (o *Outputs) Broken() bool { return o.packs != nil && o.packs.broken }

// discard removes the files of a failed job: res has those of its complete
// runs. Runs that failed have removed their own.
func (o *Outputs) discard(res compaction.Result) {
	if o.packs != nil {
		o.packs.discard()
		res.Tables = slices.DeleteFunc(res.Tables, func(m *manifest.FileMeta) bool {
			_, packed := o.packs.places[m.Num] // removed with its pack
			return packed
		})
	}
	o.env.Discard(res)
}

// filterBits returns the filter size of a level in bits per key. Upper levels,
// which hold little and are asked by every read, get more than the last (Dayan,
// Athanassoulis, Idreos, "Monkey", SIGMOD 2017).
func (env *Env) filterBits(level int) float64 {
	bits := env.FilterBits
	if bits == 0 || level >= base.NumLevels-1 {
		return bits
	}
	return bits + min(2*float64(base.NumLevels-1-level), 6)
}

// Finish ends a flush or compaction, given the result and error of its runs: it
// completes the packs and syncs the directory. If the job failed, its files are
// removed when Finish returns.
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

// ValueOptions returns where the values of a job go. The values that it
// rewrites are in value files of s, which may be nil if there are none.
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
