package compaction

import (
	"bytes"
	"context"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

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

	// Ranges are the range tombstones of all inputs; nil is none.
	Ranges *rangedel.List
	// ElideRange reports whether nothing deeper in the tree overlaps [lo, hi);
	// a nil hi is no end. It is asked in any order. nil never does.
	ElideRange func(lo, hi []byte) bool
	// Merger collapses merge operands; nil leaves them as they are.
	Merger base.Merger
	// ExpireAt is the time of the live reader that is furthest behind: an entry
	// with an expiry at or before it is expired for all readers. 0 is none.
	ExpireAt uint64
	// Filter, if set, is asked about values that all Snapshots see and nothing
	// newer in the input hides, and told them as their user knows them. It keeps
	// neither slice, and Run takes newValue before it asks again. A read at one of
	// the snapshots sees what the filter made. An error fails the Run.
	Filter Filter

	MaxTableSize uint64
	// Guards are keys, ascending, at which a new table begins.
	Guards [][]byte
	// GuardMin is the size below which a table does not end at a guard. It is
	// for inputs of unknown size, with guards for large ones.
	GuardMin uint64

	Values    ValueOptions
	NewTable  func() (TableOutput, error)
	NewValues func() (ValueOutput, error)

	// Progress, if set, gets every 64 KiB or so how many bytes of input
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
	RangeCovered       uint64 // versions under a range tombstone, as far as they were read
	Merged             uint64 // operands, and values under them, that became part of another entry
	MergeFailures      uint64 // times the merger refused operands; they stayed
	Expired            uint64 // values that became tombstones by their expiry
	Filtered           uint64 // values that the filter removed or changed
	SingleDeleteMisuse uint64 // single deletes over more than one value
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
	s.RangeCovered += o.RangeCovered
	s.Merged += o.Merged
	s.MergeFailures += o.MergeFailures
	s.Expired += o.Expired
	s.Filtered += o.Filtered
	s.SingleDeleteMisuse += o.SingleDeleteMisuse
	s.Separated += o.Separated
	s.Inlined += o.Inlined
	s.Rewritten += o.Rewritten
	s.RewrittenBytes += o.RewrittenBytes
}

// pollBytes is how much input passes between two looks at the context and calls
// of Progress. A job of 100 MB/s looks 1600 times a second.
const pollBytes = 64 << 10

// Run streams the input into new tables, dropping what is dead. When it fails
// it has called Abort on all outputs, and the result is empty.
func Run(ctx context.Context, o RunOptions) (Result, error) {
	r := runner{o: o, keep: retention{snapshots: o.Snapshots}, split: splitter{guards: o.Guards}}
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
	o             RunOptions
	keep          retention
	ranges        rangeWalker
	pendingSingle pendingSingleDelete
	fold          OperandMerger
	res           Result
	split         splitter

	key     []byte // the current user key; a copy
	started bool   // key is valid
	wrote   bool   // an entry of the current key
	polled  int    // bytes of input since the last poll

	table   *openTable    // nil between tables
	tables  []TableOutput // all that were made
	waiting []TableOutput // finished, waiting for the value file to close
	values  valueRouter
}

func (r *runner) run(ctx context.Context) error {
	r.values.init(r)
	r.ranges.init(&r.o, &r.keep)
	r.fold.merger = r.o.Merger
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
		if err := r.version(kv); err != nil {
			return err
		}
	}
	if err := r.o.Input.Err(); err != nil {
		return err
	}
	if err := r.endKey(); err != nil {
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
		if err := r.endKey(); err != nil {
			return err
		}
	}
	r.started, r.wrote = true, false
	r.key = append(r.key[:0], kv.Key...)
	r.keep.startKey()
	r.ranges.enter(r.key)

	r.split.enter(r.key)
	if len(r.split.passed) > 0 && r.o.GuardMin == 0 {
		return r.passGuards()
	}
	if r.table != nil && r.split.cut(r.table.out.Writer.EstimatedSize(), r.o.MaxTableSize, r.o.GuardMin) {
		return r.endTable(r.key)
	}
	return nil
}

// passGuards ends the current table at the first guard passed. What range
// tombstones lie between one guard and the next makes a table of its own.
func (r *runner) passGuards() error {
	for _, g := range r.split.passed {
		if len(g) == 0 {
			continue // nothing lies before it
		}
		if err := r.endTable(g); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) elidable() bool { return r.o.Elide != nil && r.o.Elide(r.key) }

func (r *runner) finish() error {
	r.split.end()
	if r.ranges.any() {
		if err := r.passGuards(); err != nil {
			return err
		}
	}
	if err := r.endTable(nil); err != nil {
		return err
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
