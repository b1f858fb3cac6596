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

// This file installs the tables of a bulk load, as deep as compaction.IngestLevel allows.
// All of them have the one sequence of the load.

// Load adds tables to a keyspace, all at once and newer than everything before, and
// returns their sequence and level. If it fails, the tables are not part of the
// database, and the caller discards them, unless errors.Is(err, base.ErrCommitUnknown).
func (js *Jobs) Load(ctx context.Context, k *keyspace.Keyspace, res compaction.Result) (seq base.SeqNum, level int, err error) {
	if err := js.env.Room.Lacking(); err != nil {
		return 0, 0, err // the tables took space that deletes will need
	}
	// Flush most of memory while commits still go on.
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

// span returns a batch that represents a load in the conflict checks of transactions:
// it writes the range of keys of the load.
func span(k *keyspace.Keyspace, tables []*manifest.FileMeta) *batch.Batch {
	b := new(batch.Batch)
	if err := b.DeleteRange(k.ID(), tables[0].Smallest, rightAfter(tables[len(tables)-1].Largest)); err != nil {
		panic(fmt.Sprintf("jobs: the range of a load: %v", err)) // both are keys
	}
	return b
}

// rightAfter returns the smallest key after key that is not too long, to end a range that
// holds key. If there is none it returns nil, which is no end.
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
	// The picker must know of the tables before they are in the version: a job
	// that it starts now must not write across them.
	at.job = &compaction.Job{
		Keyspace: k.ID(), OutputLevel: level, OutputRun: run,
		Inputs: []compaction.Input{{Level: level, Run: run, Files: res.Tables}},
	}
	js.markInputs(at.job)
	js.mu.Unlock()
	return level, js.Outcome(func() error { return js.installLocked(edit, nil, k, false) })
}
