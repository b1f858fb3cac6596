package compaction

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// Reason is why a job was picked.
type Reason uint8

// The reasons.
const (
	ReasonL0         Reason = iota // too many runs in level 0
	ReasonSize                     // too much lies above the last level
	ReasonRuns                     // an inner level has too many runs
	ReasonTombstones               // tombstones free more than merging them down costs
	ReasonValues                   // value files hold too much garbage
	ReasonIdle                     // nothing else to do: fewer runs to read
	ReasonManual                   // a caller asked
	ReasonExpired                  // too much has expired
	ReasonRanges                   // range tombstones cover whole tables
	ReasonJoin                     // small files that lie side by side
)

var reasonNames = [...]string{"l0", "size", "runs", "tombstones", "values", "idle", "manual", "expired", "ranges", "join"}

func (r Reason) String() string { return reasonNames[r] }

// Input is tables of one run, ascending.
type Input struct {
	Level int
	Run   uint64
	Files []*manifest.FileMeta
}

// Job is a piece of work: it removes its inputs and puts new tables in run
// OutputRun of level OutputLevel. It is immutable once picked.
type Job struct {
	Reason   Reason
	Score    float64 // urgency; a job is due from 1 on
	Keyspace uint32
	// Inputs are listed from the newest run to the oldest.
	Inputs      []Input
	OutputLevel int
	OutputRun   uint64
	// Move is set if the input tables themselves move to the output run, where
	// they overlap nothing. No byte is rewritten.
	Move bool
	// Drop is set if nothing in the inputs is live, so that they are removed
	// without a replacement. No byte is read.
	Drop bool
	// RewriteValues are the value files whose values the job copies out when it
	// meets pointers to them.
	RewriteValues map[base.FileNum]bool
	// Guards are ascending keys at which an output table must end.
	Guards [][]byte
	// Dense is that of RunOptions.
	Dense bool
}

// Busy maps the input tables of running jobs to their jobs.
type Busy map[base.FileNum]*Job

// Files calls fn for every input table.
func (j *Job) Files(fn func(level int, f *manifest.FileMeta)) {
	for _, in := range j.Inputs {
		for _, f := range in.Files {
			fn(in.Level, f)
		}
	}
}

// Size returns the bytes of the input tables.
func (j *Job) Size() uint64 {
	var n uint64
	j.Files(func(_ int, f *manifest.FileMeta) { n += f.Size })
	return n
}

// Written returns roughly how many bytes a job writes at most.
func (j *Job) Written() uint64 {
	if j.Move || j.Drop {
		return 0
	}
	return j.Size()
}

// Bounds returns the smallest user key of the inputs and the end of their keys.
func (j *Job) Bounds() (lo []byte, end base.End) {
	first := true
	j.Files(func(_ int, f *manifest.FileMeta) {
		if first || bytes.Compare(f.Smallest, lo) < 0 {
			lo = f.Smallest
		}
		if e := f.End(); first || e.Compare(end) > 0 {
			end = e
		}
		first = false
	})
	return lo, end
}

// Dropped returns the statistics of a job with Drop set.
func (j *Job) Dropped() (s Stats) {
	n := &s.RangeCovered
	if j.Reason == ReasonExpired {
		n = &s.Expired
	}
	j.Files(func(_ int, f *manifest.FileMeta) { *n += f.Entries })
	return s
}

// Edit returns the change of the manifest that installs the job. outputs and
// values are the tables and value files that Run made, none of them for a Move.
// Edit sets the outputs' Keyspace and Run.
func (j *Job) Edit(outputs []*manifest.FileMeta, values []manifest.ValueMeta) *manifest.Edit {
	e := &manifest.Edit{AddValues: values}
	j.Files(func(level int, f *manifest.FileMeta) {
		e.Remove = append(e.Remove, manifest.OldFile{Level: level, Num: f.Num})
		if j.Move {
			moved := *f
			outputs = append(outputs, &moved)
		}
	})
	for _, f := range outputs {
		f.Keyspace, f.Run = j.Keyspace, j.OutputRun
		e.Add = append(e.Add, manifest.NewFile{Level: j.OutputLevel, Meta: f})
	}
	return e
}

func (j *Job) String() string {
	var b strings.Builder
	verb := "compact"
	switch {
	case j.Move:
		verb = "move"
	case j.Drop:
		verb = "drop"
	}
	fmt.Fprintf(&b, "%s (%v, score %.2f)", verb, j.Reason, j.Score)
	for _, in := range j.Inputs {
		fmt.Fprintf(&b, " L%d.%d[", in.Level, in.Run)
		for i, f := range in.Files {
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%d", f.Num)
		}
		b.WriteByte(']')
	}
	if !j.Drop {
		fmt.Fprintf(&b, " -> L%d.%d", j.OutputLevel, j.OutputRun)
	}
	if len(j.RewriteValues) > 0 {
		nums := make([]base.FileNum, 0, len(j.RewriteValues))
		for n := range j.RewriteValues {
			nums = append(nums, n)
		}
		slices.Sort(nums)
		fmt.Fprintf(&b, " rewriting values %d", nums)
	}
	return b.String()
}
