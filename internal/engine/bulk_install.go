package engine

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/pace"
)

// How a load takes its place: its tables are written, and go as deep as nothing
// overlaps them. All of them have the one sequence that it gets.

// install makes tables visible, all at once. If it fails they are not part of
// the database, unless errors.Is(err, base.ErrCommitUnknown).
func (l *load) install(res compaction.Result) error {
	e := l.e
	if err := e.room.Lacking(); err != nil {
		return err // the tables took what deletes will need
	}
	// Most of what is in memory goes to tables while commits go on.
	if err := e.Flush(l.ctx); err != nil {
		return err
	}
	if err := e.commit.WaitUnstopped(l.ctx, l.stopped); err != nil {
		return err
	}
	if slices.ContainsFunc(res.Tables, func(m *manifest.FileMeta) bool { return m.Expiring > 0 }) {
		e.clock.Use() // before any read can see them
	}
	seq, err := e.ingest(l.ctx, &ingestion{
		Ingestion: commit.Ingestion{Batch: l.span(res.Tables), First: res.Tables[0].Num},
		enter:     func(at *loading) error { return l.enter(at, res) },
	})
	if err == nil {
		l.stats.Seq = uint64(seq)
	}
	return err
}

// stopped says why writers to the keyspace are stopped, or nothing.
func (l *load) stopped(p *pace.Pressure) string { return p.StopsKeyspace(l.k.ID()) }

// span is a load to the conflict checks of transactions: a batch that writes the
// range of its keys.
func (l *load) span(tables []*manifest.FileMeta) *batch.Batch {
	b := new(batch.Batch)
	if err := b.DeleteRange(l.k.ID(), tables[0].Smallest, rightAfter(tables[len(tables)-1].Largest)); err != nil {
		panic(fmt.Sprintf("engine: the range of a load: %v", err)) // both are keys
	}
	return b
}

// rightAfter is an end of ranges that hold key, right after it or, if that were
// too long for a key, at the next that is not; nil is no end.
func rightAfter(key []byte) []byte {
	if len(key) < base.MaxKeySize {
		return append(bytes.Clone(key), 0)
	}
	n := len(key)
	for n > 0 && key[n-1] == 0xff {
		n--
	}
	if n == 0 {
		return nil
	}
	hi := bytes.Clone(key[:n])
	hi[n-1]++
	return hi
}

// enter is step 3.
func (l *load) enter(at *loading, res compaction.Result) error {
	e, k := l.e, l.k
	e.versions.Lock()
	defer e.versions.Unlock()
	e.mu.Lock()
	lo, end := res.Tables[0].Smallest, res.Tables[len(res.Tables)-1].End()
	level, run := compaction.IngestLevel(e.store.Current().Version(), e.busy, k.ID(), lo, end, e.pickConfig())
	if level == 0 {
		run = uint64(e.versions.NewFileNum())
	}
	edit := &manifest.Edit{AddValues: res.Values}
	for _, m := range res.Tables {
		m.Keyspace, m.Run = k.ID(), run
		m.OneSeq, m.SmallestSeq, m.LargestSeq = at.Seq, at.Seq, at.Seq
		edit.Add = append(edit.Add, manifest.NewFile{Level: level, Meta: m})
	}
	// Until the tables are in the version the picker has to know of them: a
	// job that it starts now must not write across them.
	at.job = &compaction.Job{
		Keyspace: k.ID(), OutputLevel: level, OutputRun: run,
		Inputs: []compaction.Input{{Level: level, Run: run, Files: res.Tables}},
	}
	e.markInputs(at.job)
	e.mu.Unlock()
	l.stats.Level = level
	healthy := e.latch.Cause() == nil
	err := e.installLocked(edit, nil, k, false)
	if err != nil && healthy && e.latch.Cause() != nil {
		return fmt.Errorf("%w: %w", base.ErrCommitUnknown, e.latch.Cause())
	}
	return err
}
