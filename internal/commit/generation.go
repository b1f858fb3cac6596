package commit

import (
	"fmt"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/wal"
)

// This file makes generations and their logs.

const (
	// relaxedFlushEvery bounds how long a Relaxed commit stays in the log's
	// memory. At 300k commits/s of 130 B each write is about 80 KB.
	relaxedFlushEvery = 2 * time.Millisecond
	// logBufferMax bounds the log's memory: an append that finds more pending
	// writes it out itself.
	logBufferMax = 1 << 20
)

// newGeneration makes a generation with the log seg. On failure it discards seg.
func (p *Pipeline) newGeneration(capacity int64, prev *generation.Generation, seg *wal.Segment) (*generation.Generation, error) {
	g := &generation.Generation{Charge: capacity, Num: seg.Num()}
	mem, err := memtable.New(memtable.Options{Capacity: capacity, Partitions: p.env.Partitions})
	if err != nil {
		seg.Discard()
		return nil, fmt.Errorf("%w; lower MemtableSize or MemoryBudget", err)
	}
	g.Mem = mem
	if err := p.BeginLog(g, prev, seg); err != nil {
		mem.Free()
		return nil, err
	}
	if prev != nil && prev.Log != nil {
		g.Follow(prev)
	}
	p.env.Store.ChargeMemtables(g.Charge)
	return g, nil
}

// MakeLog creates the file of a log segment and makes its name durable. If the
// directory does not sync, MakeLog poisons the database. The caller does not hold mu.
func (p *Pipeline) MakeLog() (*wal.Segment, error) {
	id := p.env.Versions.NewIdentity(base.FileTypeLog)
	if p.env.Store.Current() != nil && !p.env.Versions.Reserved(id.Num) {
		// Recovery ignores a log whose number the manifest did not reserve.
		// (During Open the edit that names the log reserves its number.)
		if err := p.env.Versions.Reserve(); err != nil {
			return nil, err
		}
	}
	seg, err := wal.NewSegment(p.env.FS, vfs.Top, id)
	if err != nil {
		return nil, vfs.Cannot("create the write-ahead log "+id.Name(), err)
	}
	p.env.Versions.Made(id)
	if err := p.env.Dir.Sync(); err != nil {
		seg.Discard()
		p.Poison(fmt.Errorf("sync of the directory after creating %s: %w", id.Name(), err))
		return nil, p.env.Latch.Refusal()
	}
	return seg, nil
}

// BeginLog gives a generation its log. With NoWAL the file exists too and stays
// empty: recovery requires the log that the manifest names as the oldest one
// needed, and so can distinguish a lost log from one that never existed.
func (p *Pipeline) BeginLog(g, prev *generation.Generation, seg *wal.Segment) error {
	if p.env.Durability == NoWAL {
		return seg.Close()
	}
	o := wal.Options{BufferMax: logBufferMax}
	if p.env.Durability == Relaxed {
		o.FlushEvery, o.OnFull = relaxedFlushEvery, p.env.Room.Lend
	}
	var link wal.Prev
	if prev != nil && prev.Log != nil {
		link = wal.Prev{Num: prev.Num, Size: prev.Log.Size()} // the previous log is written out
	}
	w, err := seg.Begin(link, o)
	if err != nil {
		return vfs.Cannot("begin the write-ahead log "+base.FileName(base.FileTypeLog, g.Num), err)
	}
	g.Log = w
	return nil
}
