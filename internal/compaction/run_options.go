package compaction

import (
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
)

// RunOptions are the inputs and settings of Run.
type RunOptions struct {
	// Input yields every version of every key in the order of base.Compare. Of
	// two copies of one version the first counts. Run does not close it.
	Input base.Iterator
	// Snapshots are the live snapshots, ascending, and after them the sequence
	// that was visible when the job began.
	Snapshots []base.SeqNum
	// Elide reports whether nothing deeper in the tree overlaps a key. Run
	// passes ascending keys. A nil func reports false.
	Elide func(key []byte) bool
	// ZeroSeq replaces sequences by zero, which take no room, where no read can
	// tell and nothing deeper overlaps. It must be off for level 0, whose runs
	// are ordered by their sequences.
	ZeroSeq bool

	// Ranges are the range tombstones of all inputs, or nil.
	Ranges *rangedel.List
	// ElideRange reports whether nothing deeper in the tree overlaps [lo, hi);
	// a nil hi is no end. Run passes ranges in any order. A nil func reports
	// false.
	ElideRange func(lo, hi []byte) bool
	// Merger collapses merge operands. If it is nil they stay as they are.
	Merger base.Merger
	// ExpireAt is the time of the live reader that is furthest behind: an entry
	// with an expiry at or before it is expired for all readers. 0 is no time.
	ExpireAt uint64
	// Filter, if set, is called for values, as users know them, that all
	// Snapshots see and nothing newer in the input hides. It must not keep the
	// slices; Run copies newValue before the next call. Reads at the snapshots
	// see what the filter makes. An error fails the Run.
	Filter Filter

	MaxTableSize uint64
	// Dense leaves entries that wait to be compressed out of the size of a table, so that a
	// table may exceed MaxTableSize by them. It is for joins of small tables: counted in full,
	// entries that compress well would end in as many small tables again, to be joined again.
	Dense bool
	// Guards are ascending keys at which a new table begins.
	Guards [][]byte
	// GuardMin is the size below which a table does not end at a guard. It
	// serves inputs of unknown size, whose guards suit large ones.
	GuardMin uint64

	Values    ValueOptions
	NewTable  func() (TableOutput, error)
	NewValues func() (ValueOutput, error)

	// Progress, if set, is called about every 64 KiB with the bytes of input
	// since the last call. It may block to slow the job down.
	Progress func(bytes int)
}

// ValueOptions say where values go.
type ValueOptions struct {
	// Threshold is the length from which a value goes to a value file. If it is
	// 0 all values stay in the tables.
	Threshold int
	// MaxFileSize is the size at which a value file ends.
	MaxFileSize uint64
	// Rewrite reports whether values are to be copied out of a file. A nil func
	// reports false.
	Rewrite func(base.FileNum) bool
	// Fetch appends the value that p points to.
	Fetch func(dst []byte, p valuelog.Pointer) ([]byte, error)
}

// TableOutput is a new table, open for writing.
type TableOutput struct {
	ID     base.Identity
	Writer *sstable.Writer
	// Close makes the file durable and closes it. Run calls it once, after
	// Writer.Finish and after it closed every value file that the table refers
	// to (I4).
	Close func() error
	// Abort closes the file if it is open, and removes it.
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

// Append adds the outputs and statistics of another Run.
func (r *Result) Append(o Result) {
	r.Tables = append(r.Tables, o.Tables...)
	r.Values = append(r.Values, o.Values...)
	r.Stats.add(&o.Stats)
}

// Stats counts the entries and bytes of a Run.
type Stats struct {
	EntriesIn, BytesIn uint64 // bytes of keys, trailers and inline values
	EntriesOut         uint64
	BytesOut           uint64 // of the files written
	Shadowed           uint64 // versions that no read can reach
	Duplicates         uint64 // second copies of a version
	Tombstones         uint64 // tombstones that hid nothing any more
	RangeCovered       uint64 // versions under a range tombstone, of those that were read
	Merged             uint64 // operands, and values under them, that became part of another entry
	MergeFailures      uint64 // times the merger failed and the operands stayed
	Expired            uint64 // values that became tombstones by their expiry
	Filtered           uint64 // values that the filter removed or changed
	SingleDeleteMisuse uint64 // single deletes over more than one value
	Separated          uint64 // inline values that went to a value file
	Inlined            uint64 // values of value files that became inline again
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

// Filter decides about a value. See RunOptions.Filter.
type Filter func(key, value []byte) (verdict FilterVerdict, newValue []byte, err error)

// FilterVerdict is the decision of a filter about a value.
type FilterVerdict uint8

// The verdicts.
const (
	FilterKeep   FilterVerdict = iota
	FilterRemove               // the key is deleted at the value's sequence
	FilterChange               // the value is replaced and keeps its expiry
)
