package compaction

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
)

// pollBytes is how much input passes between two checks of the context and
// calls of Progress. A job of 100 MB/s checks 1600 times a second.
const pollBytes = 64 << 10

// Run streams the input into new tables and drops what is dead. If it fails, it
// has called Abort on all outputs, and the result is empty.
func Run(ctx context.Context, o RunOptions) (Result, error) {
	begin := time.Now()
	r := runner{o: o, keep: retention{snapshots: o.Snapshots}, split: splitter{guards: o.Guards}}
	err := r.run(ctx)
	if err == nil {
		err = r.finish()
	}
	if err != nil {
		r.abort()
		return Result{}, err
	}
	r.res.Stats.Duration = time.Since(begin)
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
	wrote   bool   // an entry of the current key was written
	polled  int    // bytes of input since the last poll

	table   *openTable    // nil between tables
	tables  []TableOutput // all tables made
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

// enterKey notices a new user key. If the table is full it ends the table
// before the key, since all versions of a key go into one table.
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
	if r.table != nil && r.split.cut(r.tableSize(), r.o.MaxTableSize, r.o.GuardMin) {
		return r.endTable(r.key)
	}
	return nil
}

// passGuards ends the current table at the first guard passed. Range tombstones
// between two guards make a table of their own.
func (r *runner) passGuards() error {
	for _, g := range r.split.passed {
		if len(g) == 0 {
			continue // the table has nothing before it
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

// abort removes all outputs.
func (r *runner) abort() {
	for _, t := range r.tables {
		t.Abort()
	}
	r.values.abort()
}
