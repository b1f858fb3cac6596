package compaction

import (
	"bytes"
	"context"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
)

// TableOutput is a new table, open for writing.
type TableOutput struct {
	Num    base.FileNum
	Writer *sstable.Writer
	// Close makes the file durable and closes it. It is called once, after
	// Writer.Finish and after every value file that the table refers to was
	// closed (invariant I4).
	Close func() error
	// Abort closes the file, if it is open, and removes it.
	Abort func()
}

// ValueOutput is a new value file, open for writing. Its functions are those of
// TableOutput.
type ValueOutput struct {
	Num    base.FileNum
	Writer *valuelog.Writer
	Close  func() error
	Abort  func()
}

// RunOptions say what Run works on.
type RunOptions struct {
	// Input yields every version of every key, ascending by base.Compare. Of
	// two entries that are the same version the first counts. Run does not
	// close it.
	Input base.Iterator
	// Snapshots are the live snapshots, ascending, and last the sequence that
	// was visible when the job began.
	Snapshots []base.SeqNum
	// Elide reports whether nothing deeper in the tree overlaps a key. It is
	// asked about ascending keys. nil never does.
	Elide func(key []byte) bool
	// ZeroSeq replaces sequences by zero where no read can tell and nothing
	// deeper overlaps, which makes them take no room. Not for level 0, whose
	// runs are held to the order of their sequences.
	ZeroSeq bool

	MaxTableSize uint64
	// Guards are keys, ascending, at which a new table begins.
	Guards [][]byte

	Values    ValueOptions
	NewTable  func() (TableOutput, error)
	NewValues func() (ValueOutput, error)

	// Progress, if set, is told every 64 KiB or so how many bytes of input
	// were worked off since the last call. It may block, to hold the job back.
	Progress func(bytes int)
}

// Result is what Run made. The tables lack their keyspace and run, which
// Job.Edit sets.
type Result struct {
	Tables []*manifest.FileMeta
	Values []manifest.ValueMeta
	Stats  Stats
}

// Append adds what another Run made.
func (r *Result) Append(o Result) {
	r.Tables = append(r.Tables, o.Tables...)
	r.Values = append(r.Values, o.Values...)
	r.Stats.add(&o.Stats)
}

// Stats counts what happened in a Run.
type Stats struct {
	EntriesIn, BytesIn uint64 // bytes of keys, trailers and inline values
	EntriesOut         uint64
	BytesOut           uint64 // of the files written
	Shadowed           uint64 // versions that no read can reach
	Duplicates         uint64 // versions that came twice
	Tombstones         uint64 // tombstones with nothing left to hide
	Separated          uint64 // inline values that went to a value file
	Inlined            uint64 // values of value files that came back inline
	Rewritten          uint64 // values copied from one value file to another
	RewrittenBytes     uint64 // their length
}

func (s *Stats) add(o *Stats) {
	s.EntriesIn += o.EntriesIn
	s.BytesIn += o.BytesIn
	s.EntriesOut += o.EntriesOut
	s.BytesOut += o.BytesOut
	s.Shadowed += o.Shadowed
	s.Duplicates += o.Duplicates
	s.Tombstones += o.Tombstones
	s.Separated += o.Separated
	s.Inlined += o.Inlined
	s.Rewritten += o.Rewritten
	s.RewrittenBytes += o.RewrittenBytes
}

const (
	// pollBytes is how much input passes between two looks at the context and
	// calls of Progress. A job of 100 MB/s looks 1600 times a second.
	pollBytes = 64 << 10
	// maxWaiting is how many finished tables may wait for a value file to
	// fill before it is closed as it is: each holds an open file, and bytes
	// that are not synced.
	maxWaiting = 8
)

// Run streams the input into new tables, dropping what is dead. When it fails
// it has called Abort on all outputs, and the result is empty.
func Run(ctx context.Context, o RunOptions) (Result, error) {
	r := runner{o: o, keep: keeper{snapshots: o.Snapshots}, split: splitter{guards: o.Guards}}
	err := r.run(ctx)
	if err == nil {
		err = r.finish()
	}
	if err != nil {
		r.abort()
		return Result{}, err
	}
	return r.res, nil
}

// runner is the state of one Run.
type runner struct {
	o     RunOptions
	keep  keeper
	res   Result
	split splitter

	key     []byte // the current user key; a copy
	started bool   // key is valid
	polled  int    // bytes of input since the last poll

	table   *openTable    // nil between tables
	tables  []TableOutput // all that were made
	waiting []TableOutput // finished, waiting for the value file to close
	values  valueRouter
}

// openTable is the table being written.
type openTable struct {
	out  TableOutput
	meta *manifest.FileMeta
	refs refCounts
}

func (r *runner) run(ctx context.Context) error {
	r.values.init(r)
	for kv := r.o.Input.First(); kv != nil; kv = r.o.Input.Next() {
		size := len(kv.Key) + 8 + len(kv.Value)
		r.res.Stats.EntriesIn++
		r.res.Stats.BytesIn += uint64(size)
		if r.polled += size; r.polled >= pollBytes {
			if err := r.poll(ctx); err != nil {
				return err
			}
		}
		if err := r.enterKey(kv); err != nil {
			return err
		}
		switch r.keep.judge(kv.Trailer, r.elidable) {
		case dropShadowed:
			r.res.Stats.Shadowed++
		case dropDuplicate:
			r.res.Stats.Duplicates++
		case dropTombstone:
			r.res.Stats.Tombstones++
		default:
			if err := r.emit(kv); err != nil {
				return err
			}
		}
	}
	if err := r.o.Input.Err(); err != nil {
		return err
	}
	return ctx.Err()
}

func (r *runner) poll(ctx context.Context) error {
	if r.o.Progress != nil {
		r.o.Progress(r.polled)
	}
	r.polled = 0
	return ctx.Err()
}

// enterKey notices a new user key, and ends the current table before it when
// the table is full: the versions of one key are never in two tables.
func (r *runner) enterKey(kv *base.KV) error {
	if r.started {
		switch c := bytes.Compare(kv.Key, r.key); {
		case c == 0:
			return nil
		case c < 0:
			return fmt.Errorf("%w: compaction input out of order: %q after %q", base.ErrCorruption, kv.Key, r.key)
		}
	}
	r.started = true
	r.key = append(r.key[:0], kv.Key...)
	r.keep.startKey()

	r.split.enter(r.key)
	if r.table != nil && r.split.cut(r.table.out.Writer.EstimatedSize(), r.o.MaxTableSize) {
		return r.endTable()
	}
	return nil
}

func (r *runner) elidable() bool { return r.o.Elide != nil && r.o.Elide(r.key) }

// emit writes a version that lives.
func (r *runner) emit(kv *base.KV) error {
	if r.table == nil {
		if err := r.beginTable(); err != nil {
			return err
		}
	}
	t := r.table
	v, err := r.values.route(kv)
	if err != nil {
		return err
	}
	trailer := base.MakeTrailer(kv.Trailer.Seq(), v.kind)
	if r.o.ZeroSeq && trailer.Seq() != 0 && v.kind != base.KindDelete && r.keep.visibleToAll() && r.elidable() {
		trailer = base.MakeTrailer(0, v.kind)
	}
	if err := t.out.Writer.Add(kv.Key, trailer, v.data); err != nil {
		return err
	}
	m := t.meta
	m.Entries++
	m.RawKeyBytes += uint64(len(kv.Key))
	m.RawValueBytes += uint64(v.raw)
	if v.kind == base.KindDelete {
		m.Deletes++
	}
	r.res.Stats.EntriesOut++
	return nil
}

func (r *runner) beginTable() error {
	out, err := r.o.NewTable()
	if err != nil {
		return err
	}
	r.tables = append(r.tables, out)
	r.table = &openTable{out: out, meta: &manifest.FileMeta{Num: out.Num, Format: base.FormatNewest}}
	return nil
}

// endTable finishes the current table and closes it, or lets it wait for the
// value file that it refers to.
func (r *runner) endTable() error {
	t := r.table
	info, err := t.out.Writer.Finish()
	if err != nil {
		return err
	}
	m := t.meta
	m.Size = info.Size
	m.Smallest, m.Largest = bytes.Clone(info.Smallest), bytes.Clone(info.Largest)
	m.SmallestSeq, m.LargestSeq = info.SmallestSeq, info.LargestSeq
	m.ValueRefs = t.refs.list()
	r.res.Tables = append(r.res.Tables, m)
	r.res.Stats.BytesOut += m.Size
	r.table = nil

	if !r.values.isOpen() || !t.refs.has(r.values.out.Num) {
		return t.out.Close()
	}
	r.waiting = append(r.waiting, t.out)
	if r.values.wantsClose() || len(r.waiting) >= maxWaiting {
		return r.closeValues()
	}
	return nil
}

// closeValues makes the value file durable, then the tables that waited for
// it.
func (r *runner) closeValues() error {
	if err := r.values.close(); err != nil {
		return err
	}
	for len(r.waiting) > 0 {
		t := r.waiting[0]
		r.waiting = r.waiting[1:]
		if err := t.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) finish() error {
	if r.table != nil {
		if err := r.endTable(); err != nil {
			return err
		}
	}
	if r.values.isOpen() {
		if err := r.closeValues(); err != nil {
			return err
		}
	}
	if r.o.Progress != nil {
		r.o.Progress(r.polled)
	}
	return nil
}

// abort removes everything that was made.
func (r *runner) abort() {
	for _, t := range r.tables {
		t.Abort()
	}
	r.values.abort()
}
