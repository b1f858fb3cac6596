package compaction

import (
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
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

// ValueOptions say what becomes of values.
type ValueOptions struct {
	// Threshold is the length from which a value goes to a value file; 0
	// leaves all values in the tables.
	Threshold int
	// MaxFileSize is where a value file ends.
	MaxFileSize uint64
	// Rewrite reports whether the values of a file shall be copied out of it.
	// nil never does.
	Rewrite func(base.FileNum) bool
	// Fetch appends the value that p points to.
	Fetch func(dst []byte, p valuelog.Pointer) ([]byte, error)
}

// TableOutput is a new table, open for writing.
type TableOutput struct {
	ID     base.Identity
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
	ID     base.Identity
	Writer *valuelog.Writer
	Close  func() error
	Abort  func()
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

	Duration time.Duration // from the first entry read to the last table closed
	Training time.Duration // of that, the time spent on deciding where pages end
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
	s.Duration += o.Duration
	s.Training += o.Training
}

// Filter decides about a value: see RunOptions.Filter.
type Filter func(key, value []byte) (verdict FilterVerdict, newValue []byte, err error)

// FilterVerdict is what a filter wants done with a value.
type FilterVerdict uint8

// The verdicts.
const (
	FilterKeep   FilterVerdict = iota
	FilterRemove               // the key is deleted, as of the value's sequence
	FilterChange               // the value is replaced, an expiry stays
)
