package jobs

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/commit"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/keyspace"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/pace"
)

// This file holds how a bulk load takes its place: its tables are written, and go as deep as
// nothing overlaps them. All of them have the one sequence that the load gets.

// Load makes tables part of a keyspace, all at once and newer than everything before, and
// returns the sequence and the level that they got. If it fails they are not part of the
// database, and the caller discards them, unless errors.Is(err, base.ErrCommitUnknown).
func (js *Jobs) Load(ctx context.Context, k *keyspace.Keyspace, res compaction.Result) (seq base.SeqNum, level int, err error) {
	if err := js.env.Room.Lacking(); err != nil {
		return 0, 0, err // the tables took what deletes will need
	}
	// Most of what is in memory goes to tables while commits go on.
	if err := js.Flush(ctx); err != nil {
		return 0, 0, err
	}
	stopped := func(p *pace.Pressure) string { return p.StopsKeyspace(k.ID()) }
	if err := js.env.Commit.WaitUnstopped(ctx, stopped); err != nil {
		return 0, 0, err
	}
	if slices.ContainsFunc(res.Tables, func(m *manifest.FileMeta) bool { return m.Expiring > 0 }) {
		js.env.Clock.Use() // before any read can see them
	}
	seq, err = js.Ingest(ctx, &Ingestion{
		Ingestion: commit.Ingestion{Batch: span(k, res.Tables), First: res.Tables[0].Num},
		Enter: func(at *Loading) (err error) {
			level, err = js.enter(at, k, res)
			return err
		},
	})
	return seq, level, err
}

// span is a load to the conflict checks of transactions: a batch that writes the
// range of its keys.
func span(k *keyspace.Keyspace, tables []*manifest.FileMeta) *batch.Batch {
	b := new(batch.Batch)
	if err := b.DeleteRange(k.ID(), tables[0].Smallest, rightAfter(tables[len(tables)-1].Largest)); err != nil {
		panic(fmt.Sprintf("jobs: the range of a load: %v", err)) // both are keys
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

// enter installs the tables of a load.
func (js *Jobs) enter(at *Loading, k *keyspace.Keyspace, res compaction.Result) (level int, err error) {
	js.env.Versions.Lock()
	defer js.env.Versions.Unlock()
	js.mu.Lock()
	lo, end := res.Tables[0].Smallest, res.Tables[len(res.Tables)-1].End()
	level, run := compaction.IngestLevel(js.env.Store.Current().Version(), js.busy, k.ID(), lo, end, js.env.Config)
	if level == 0 {
		run = uint64(js.env.Versions.NewFileNum())
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
	js.markInputs(at.job)
	js.mu.Unlock()
	return level, js.Outcome(func() error { return js.installLocked(edit, nil, k, false) })
}
