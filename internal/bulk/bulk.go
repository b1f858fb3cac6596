// Package bulk loads rows past the log and the memtables. Rows in key order go through
// compaction.Run straight to tables; other rows are sorted first, on disk if need be.
//
// The tables have sequence 0 in every entry, since the sequence of the load is not known
// yet. It is assigned when the tables are installed (jobs.Load), and recorded in the
// manifest (manifest.FileMeta.OneSeq), from where readers take it.
package bulk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/callback"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/extsort"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/jobs"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/poison"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/report"
	"github.com/seerdb-go/seerdb/internal/versions"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/work"
)

// Env is what loads need of the database.
type Env struct {
	FS           *filecache.FS   // the directory
	IO           *vfs.CountingFS // under FS
	Files        *filecache.Cache
	Cache        *cache.Cache
	MemoryBudget int64
	Config       compaction.Config
	Store        *readstate.Store
	Versions     *versions.Set
	Jobs         *jobs.Jobs
	Commit       *commit.Pipeline
	Report       *report.Reporter
	Work         *work.Group
	Latch        *poison.Latch
}

// Options configure a load.
type Options struct {
	Unsorted bool
	// Expires returns when a row expires, in the unit of clock.Clock.Now; 0 is never. It is
	// called once for each row, in the goroutine that called Load, while the sequence is at
	// the row. nil: no row expires.
	Expires  func(key, value []byte) uint64
	Progress func(Progress) // or nil
}

// Progress is how far a load is. The root package documents the fields.
type Progress struct {
	Sorting     bool
	Rows, Bytes uint64
}

// Stats is what a load did. The root package documents the fields.
type Stats struct {
	Rows, Bytes  uint64
	Duplicates   uint64
	Tables       int
	ValueFiles   int
	FileBytes    uint64
	SpilledBytes uint64
	Level        int
	Seq          uint64
}

// load is a load in progress.
type load struct {
	e     *Env
	k     *keyspace.Keyspace
	o     Options
	ctx   context.Context // ends with the caller's, and when the database closes
	stats Stats

	behind   []byte // scratch: the expiry of a row, followed by its value
	progress Progress
	told     uint64 // progress.Bytes when Progress was called last
}

// progressBytes is how many bytes are loaded between two calls of Progress.
const progressBytes = 1 << 20

// Load adds rows to a keyspace, all in one commit and newer than everything before.
func (e *Env) Load(ctx context.Context, k *keyspace.Keyspace, rows iter.Seq2[[]byte, []byte], o Options) (Stats, error) {
	if err := k.Usable(); err != nil {
		return Stats{}, err
	}
	if err := e.Report.Callers.Refuse("BulkLoad", callback.CallingJob); err != nil {
		return Stats{}, err
	}
	err := e.Commit.Refused()
	if err != nil {
		return Stats{}, err
	}
	if !e.Work.Enter() {
		return Stats{}, e.Latch.Refusal()
	}
	defer e.Work.Leave()
	defer e.Report.Callers.Enter(callback.CallingRows)()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.Work.Context(), cancel)()
	l := &load{e: e, k: k, o: o, ctx: ctx}
	if o.Unsorted {
		err = l.unsorted(rows)
	} else {
		err = l.sorted(rows)
	}
	switch {
	case err == nil:
		return l.stats, nil
	case ctx.Err() == nil || !errors.Is(err, ctx.Err()):
	case e.Work.Stopped():
		err = e.Latch.Refusal()
	default:
		err = context.Cause(ctx)
	}
	return Stats{}, err
}

// sorted loads rows that are in key order.
func (l *load) sorted(rows iter.Seq2[[]byte, []byte]) error {
	next, stop := iter.Pull2(func(yield func(key, value []byte) bool) {
		defer l.e.Report.Callers.Enter(callback.CallingRows)() // rows runs in a goroutine of its own
		rows(yield)
	})
	defer stop()
	return l.write(func() (r row, ok bool, err error) {
		key, value, ok := next()
		if ok {
			r, err = l.take(key, value)
		}
		return r, ok, err
	})
}

// unsorted sorts rows and loads them.
func (l *load) unsorted(rows iter.Seq2[[]byte, []byte]) error {
	memory := l.e.sortMemory()
	l.e.Cache.Charge(cache.Loads, memory)
	defer l.e.Cache.Charge(cache.Loads, -memory)
	s := extsort.New(extsort.Options{
		FS: l.e.FS, Dir: vfs.Top, Open: l.e.openSpill, NewID: l.e.newSpill,
		Memory: memory, Codec: l.k.Options().Codec, Poll: l.ctx.Err,
	})
	defer func() {
		if err := s.Close(); err != nil {
			l.e.Report.Logger.Warn("seerdb: temporary files of a load stay until the next Open", "err", err)
		}
	}()
	l.progress.Sorting = true
	for key, value := range rows {
		r, err := l.take(key, value)
		if err == nil {
			err = l.ctx.Err()
		}
		if err == nil {
			err = s.Add(key, r.sorts())
		}
		if err != nil {
			return err
		}
		l.count(key, value)
	}
	l.tell()
	if err := errors.Join(l.ctx.Err(), s.Sort()); err != nil {
		return err
	}
	l.progress, l.told, l.behind = Progress{}, 0, nil
	err := l.write(func() (r row, ok bool, err error) {
		key, value, ok, err := s.Next()
		if ok {
			r, err = l.sortedRow(key, value)
		}
		return r, ok, err
	})
	st := s.Stats()
	l.stats.Duplicates, l.stats.SpilledBytes = st.Duplicates, st.Spilled
	return err
}

// sortMemory returns the part of the memory budget in which a load sorts.
func (e *Env) sortMemory() int64 { return min(max(e.MemoryBudget/8, 64<<10), 1<<30) }

// SpillNum is added to the numbers of spilled files, to keep them far from those of
// manifests, which also have temporary files. The next Open removes all of them.
const SpillNum = 1 << 40

// newSpill returns the identity of a new spilled file. A load may make thousands, so it
// reserves their numbers like those of all files: otherwise they would push the numbers of
// logs that commits create beyond what is reserved.
func (e *Env) newSpill() (base.Identity, error) {
	if err := e.Versions.Reserve(); err != nil {
		return base.Identity{}, err
	}
	id := e.Versions.NewIdentity(base.FileTypeTemp)
	id.Num += SpillNum
	return id, nil
}

// openSpill returns a spilled file that the file cache opens and closes as needed: there
// may be more of them than descriptors.
func (e *Env) openSpill(name string) (extsort.File, error) {
	return e.Files.File(func() (vfs.File, error) { return e.IO.Open(name) }), nil
}

func checkRow(key, value []byte) error {
	switch {
	case len(key) > base.MaxKeySize:
		return fmt.Errorf("%w: %d bytes; at most %d are allowed", base.ErrKeyTooLarge, len(key), base.MaxKeySize)
	case len(value) > base.MaxValueSize:
		return fmt.Errorf("%w: %d bytes; at most %d are allowed", base.ErrValueTooLarge, len(value), base.MaxValueSize)
	}
	return nil
}

// row is a row on its way from the sequence to the tables. Its slices are valid until the
// next row is requested.
type row struct {
	key, value []byte
	expiry     uint64 // 0: none
	// behind is the expiry followed by the value, as entries store it and as the sort
	// carries it; nil if neither needs it.
	behind []byte
}

// take checks the current row of the sequence and asks when it expires.
func (l *load) take(key, value []byte) (row, error) {
	r := row{key: key, value: value}
	if err := checkRow(key, value); err != nil || l.o.Expires == nil {
		return r, err
	}
	if most := base.MaxValueSize - base.ExpirySize; len(value) > most {
		return r, fmt.Errorf("%w: %d bytes; at most %d are allowed where rows may expire", base.ErrValueTooLarge, len(value), most)
	}
	r.expiry = l.o.Expires(key, value)
	if r.expiry != 0 || l.o.Unsorted {
		l.behind = append(binary.LittleEndian.AppendUint64(l.behind[:0], r.expiry), value...)
		r.behind = l.behind
	}
	return r, nil
}

// sorts returns the form in which the row's value is sorted: if rows may expire, all values
// follow their expiry.
func (r *row) sorts() []byte {
	if r.behind != nil {
		return r.behind
	}
	return r.value
}

// sortedRow returns the row whose value was sorted as value.
func (l *load) sortedRow(key, value []byte) (row, error) {
	if l.o.Expires == nil {
		return row{key: key, value: value}, nil
	}
	expiry, rest, err := base.SplitExpiry(value)
	return row{key: key, value: rest, expiry: expiry, behind: value}, err
}

// entry returns the row as an entry of a table.
func (r *row) entry() base.KV {
	if r.expiry == 0 {
		return base.KV{Key: r.key, Trailer: base.MakeTrailer(0, base.KindPut), Value: r.value}
	}
	return base.KV{Key: r.key, Trailer: base.MakeTrailer(0, base.KindPutTTL), Value: r.behind}
}

// count counts a row that was taken.
func (l *load) count(key, value []byte) {
	l.progress.Rows++
	l.progress.Bytes += uint64(len(key) + len(value))
	if l.progress.Bytes-l.told >= progressBytes {
		l.tell()
	}
}

func (l *load) tell() {
	l.told = l.progress.Bytes
	if l.o.Progress != nil {
		l.o.Progress(l.progress)
	}
}

// write makes tables of rows that are in key order, and installs them.
func (l *load) write(next func() (row, bool, error)) error {
	begin := time.Now()
	res, err := l.run(&rowIter{l: l, next: next})
	if err != nil {
		return err
	}
	st := &l.stats
	st.Rows, st.Bytes = l.progress.Rows, l.progress.Bytes
	st.Tables, st.ValueFiles, st.FileBytes = len(res.Tables), len(res.Values), res.Stats.BytesOut
	if len(res.Tables) == 0 {
		return nil
	}
	seq, level, err := l.e.Jobs.Load(l.ctx, l.k, res)
	if err != nil {
		l.e.Jobs.Discard(res)
		return err
	}
	st.Seq, st.Level = uint64(seq), level
	l.e.Commit.Stats.Loaded(st.Bytes)
	l.e.Report.Logger.Info("seerdb: rows were loaded", "keyspace", l.k.Name(), "rows", st.Rows, "tables", st.Tables, "level", st.Level, "took", time.Since(begin))
	return nil
}

// run writes the tables. They end where a table of the last level begins, as those of
// flushes and compactions do, so that a later compaction takes few at a time. But tiny
// tables do not end there, since it is not known how much is to come.
func (l *load) run(in *rowIter) (compaction.Result, error) {
	e := l.e
	s, shard := e.Store.Acquire()
	if s == nil {
		return compaction.Result{}, base.ErrClosed
	}
	guards := compaction.FlushGuards(s.Version(), l.k.ID(), 1<<62, e.Config)
	s.Release(shard)
	o := l.k.Options()
	out := e.Jobs.Outputs(false)
	out.Next(base.NumLevels-1, o.Codec, o.ValueThreshold)
	// The sequence of rows and Progress are the caller's code and may panic. Run removes
	// its outputs if it fails, but not after a panic.
	var made []func()
	defer func() {
		for _, abort := range made {
			abort()
		}
	}()
	res, err := compaction.Run(l.ctx, compaction.RunOptions{
		Input:        in,
		MaxTableSize: e.Config.TableSize,
		Guards:       guards,
		GuardMin:     max(e.Config.TableSize/4, 1),
		Values:       out.ValueOptions(nil, nil), // no value is a pointer into a view
		NewTable: func() (compaction.TableOutput, error) {
			t, err := out.NewTable()
			if err == nil {
				made = append(made, t.Abort)
			}
			return t, err
		},
		NewValues: func() (compaction.ValueOutput, error) {
			v, err := out.NewValues()
			if err == nil {
				made = append(made, v.Abort)
			}
			return v, err
		},
	})
	if err == nil {
		l.tell()
	}
	made = nil
	return out.Finish(res, err)
}

// rowIter reads rows for compaction.Run: First, then Next until the end.
type rowIter struct {
	base.Iterator // nil: no other method is called
	l             *load
	next          func() (r row, ok bool, err error)
	kv            base.KV
	last          []byte // the preceding key
	err           error
}

func (r *rowIter) First() *base.KV { return r.Next() }

func (r *rowIter) Next() *base.KV {
	if r.err = r.l.ctx.Err(); r.err != nil {
		return nil
	}
	row, ok, err := r.next()
	if r.err = err; err != nil || !ok {
		return nil
	}
	key := row.key
	if r.l.progress.Rows > 0 {
		switch c := bytes.Compare(r.last, key); {
		case c == 0:
			r.err = fmt.Errorf("%w: key %.200q comes twice; only BulkOptions.Unsorted lets the last one win", base.ErrKeyOrder, key)
			return nil
		case c > 0:
			r.err = fmt.Errorf("%w: key %.200q comes after %.200q", base.ErrKeyOrder, key, r.last)
			return nil
		}
	}
	r.last = append(r.last[:0], key...)
	r.l.count(key, row.value)
	r.kv = row.entry()
	return &r.kv
}

func (r *rowIter) Err() error { return r.err }
