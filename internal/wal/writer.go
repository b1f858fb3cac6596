package wal

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/record"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// bufferMaxDefault replaces a zero Options.BufferMax. It is large enough that a
// group is never split on a device that writes 1 GiB/s and syncs in 1 ms, and
// small compared with any memtable.
const bufferMaxDefault = 1 << 20

// Prev names the segment before a new one. The new segment's header records it,
// so that recovery can check that the older one is whole.
type Prev struct {
	Num  base.FileNum // 0 if there is none
	Size int64        // its synced length
}

// prevSize is the length of Prev in the file header: number and size, u64 LE.
const prevSize = 16

// Options configure a Writer.
type Options struct {
	// FlushEvery is the time within which records of AppendRelaxed reach the
	// operating system. 0 leaves that to Flush.
	FlushEvery time.Duration
	// SyncEvery is the time within which written records reach the device. 0
	// leaves that to Sync.
	SyncEvery time.Duration
	// BufferMax is how many bytes may wait to be written before an Append
	// writes them itself. 0 means a default.
	BufferMax int
	// OnFull, if not nil, is called when records of AppendRelaxed do not fit on
	// the disk. If it has made room for another attempt it returns a func to be
	// called after that, else nil.
	OnFull func(cause error) (done func())
	// Preallocate is the room, in bytes, to ask the file system for.
	Preallocate int64
}

// Writer appends to one segment. Its methods are safe for concurrent use.
type Writer struct {
	// Immutable after Create.

	file vfs.File
	id   base.Identity
	opts Options
	work *background // nil if Options need none

	mu   sync.Mutex
	cond sync.Cond // signalled when one of the fields below changes in a way that a caller may wait for

	// Guarded by mu.

	buf        []byte // framed records that are written next
	marks      []mark // one for each record in buf
	bufOffset  int64  // offset of buf in the file
	spare      []byte // the other buffer and marks, while no write is running
	spareMarks []mark

	end       int64 // LSN of the last record appended
	attempted int64 // LSN of the last record passed to file.Write
	dropped   []span
	full      error // why records of AppendRelaxed could not be written; nil once they are
	writing   bool
	syncing   bool
	closing   bool  // no Append is admitted any more
	closed    bool  // file is not used any more
	err       error // what poisoned the writer
	stats     Stats
	gather    gather

	// crowded is set when an Append might have to write, or be refused: MakeRoom
	// finds out, for callers that must not wait in Append. Stored under mu.
	crowded atomic.Bool

	// Atomic; stored under mu. The LSN up to which every record is written, or
	// synced, or was dropped; and the matching file offsets.

	written, synced         atomic.Int64
	fileWritten, fileSynced atomic.Int64
}

// mark describes a record in a buffer.
type mark struct {
	lsn  int64
	keep bool // must not be dropped
}

// Stats counts operations of a writer on its file.
type Stats struct {
	Writes, Syncs int64
}

// Append adds a record for a caller that waits for its LSN with Flush or Sync
// before it acknowledges the commit. It copies the payload.
func (w *Writer) Append(payload []byte) (lsn int64, err error) { return w.append(payload, false) }

// AppendRelaxed adds a record for a caller that acknowledges the commit at
// once. Such a record is not dropped when the disk is full. Until it has been
// written no other record is taken, so that what a kill loses does not grow.
func (w *Writer) AppendRelaxed(payload []byte) (lsn int64, err error) {
	return w.append(payload, true)
}

func (w *Writer) append(payload []byte, keep bool) (int64, error) {
	w.mu.Lock()
	if w.err != nil || w.closing || w.full != nil || len(w.buf) > w.opts.BufferMax {
		if err := w.makeRoomLocked(); err != nil {
			w.mu.Unlock()
			return 0, err
		}
	}
	off := w.bufOffset + int64(len(w.buf))
	w.buf = record.Append(w.buf, w.id, off, record.KindData, w.fileSynced.Load(), payload)
	w.end += record.Size(len(payload))
	w.gather.records++
	lsn := w.end
	w.marks = append(w.marks, mark{lsn, keep})
	w.noteCrowdLocked()
	w.mu.Unlock()
	if keep && w.work != nil {
		w.work.pending(w.opts.FlushEvery)
	}
	return lsn, nil
}

// noteCrowdLocked sets crowded from the fields that append looks at.
func (w *Writer) noteCrowdLocked() {
	if c := len(w.buf) > w.opts.BufferMax || w.full != nil; c != w.crowded.Load() {
		w.crowded.Store(c)
	}
}

// Crowded reports whether an Append might wait for the file.
func (w *Writer) Crowded() bool { return w.crowded.Load() }

// Full returns why no record is taken for now, or nil: acknowledged records
// wait for room on the disk.
func (w *Writer) Full() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.full
}

// MakeRoom waits until an Append need not wait, or returns why none will be
// taken.
func (w *Writer) MakeRoom() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.makeRoomLocked()
}

// makeRoomLocked waits until the buffer can take a record, or returns why none
// can be taken.
func (w *Writer) makeRoomLocked() error {
	for {
		switch {
		case w.err != nil:
			return fmt.Errorf("%w: %w", base.ErrReadOnly, w.err)
		case w.closing:
			return base.ErrClosed
		case w.full != nil:
			// Acknowledged records come first. They are tried again in the
			// background; if more were taken, a kill would lose more.
			return w.full
		case len(w.buf) <= w.opts.BufferMax:
			return nil
		case w.writing:
			w.cond.Wait()
		default:
			if err := w.writeLocked(); err != nil && w.err == nil {
				return err
			}
		}
	}
}

// Flush returns once the record at lsn is written. If the error wraps
// base.ErrNoSpace the record was dropped and will never appear, unless it came
// from AppendRelaxed: then it waits in memory. If the error wraps
// base.ErrCommitUnknown the outcome is open until the log is replayed.
func (w *Writer) Flush(lsn int64) error { return w.wait(lsn, false, false) }

// Sync returns once the record at lsn, and all before it, are on the device.
// Its errors are those of Flush.
func (w *Writer) Sync(lsn int64) error { return w.wait(lsn, true, false) }

// FlushAll returns once everything appended so far is written or was dropped.
func (w *Writer) FlushAll() error { return w.wait(0, false, true) }

// SyncAll returns once everything appended so far is on the device or was
// dropped.
func (w *Writer) SyncAll() error { return w.wait(0, true, true) }

// wait does Flush and Sync. With all it waits for everything appended so far;
// dropped records, which are other callers', are then not errors.
func (w *Writer) wait(lsn int64, durable, all bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if all {
		lsn = w.end
	}
	for {
		if !all {
			if err := w.droppedLocked(lsn); err != nil {
				return err
			}
		}
		unwritten := w.written.Load() < lsn
		switch {
		case !unwritten && (!durable || w.synced.Load() >= lsn):
			return nil
		case w.err != nil:
			return w.outcomeLocked(lsn, all)
		case w.closed:
			return base.ErrClosed
		case durable && (w.syncing || w.gather.gathering), unwritten && w.writing:
			// A caller that waits for a sync does not write while another sync
			// runs: everything that gathers until then goes out in one write.
			w.cond.Wait()
		case durable && !all && w.gather.wanted():
			w.gatherLocked()
		case unwritten:
			err := w.writeLocked()
			if err != nil && w.err == nil && w.written.Load() < lsn && (all || w.droppedLocked(lsn) == nil) {
				return err // the records are kept in memory
			}
		default:
			w.syncLocked()
		}
	}
}

// outcomeLocked returns the error for a caller that waits for lsn when the
// writer is poisoned. With all the caller has no commit of its own whose
// outcome could be unknown.
func (w *Writer) outcomeLocked(lsn int64, all bool) error {
	if lsn <= w.attempted && !all {
		return fmt.Errorf("%w: %w", base.ErrCommitUnknown, w.err)
	}
	return fmt.Errorf("%w: %w", base.ErrReadOnly, w.err)
}

// Err returns the error that poisoned the writer, or nil.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Written returns the LSN up to which every record is written or was dropped.
func (w *Writer) Written() int64 { return w.written.Load() }

// Synced returns the LSN up to which every record is on the device or was
// dropped.
func (w *Writer) Synced() int64 { return w.synced.Load() }

// Size returns the length of the file.
func (w *Writer) Size() int64 { return w.fileWritten.Load() }

// Num returns the number of the segment.
func (w *Writer) Num() base.FileNum { return w.id.Num }

// Prev returns what the header of the next segment records about this one, once
// it is finished.
func (w *Writer) Prev() Prev { return Prev{Num: w.id.Num, Size: w.fileSynced.Load()} }

// Appended returns how long the file would be with all records ever appended,
// including those that wait, are being written, or were dropped.
func (w *Writer) Appended() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end
}

// Pending returns how many bytes wait in memory to be written.
func (w *Writer) Pending() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.buf)
}

// Stats returns the counts so far.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// Finish writes and syncs everything, and closes the file. If the disk is full
// and records of AppendRelaxed are left in memory, the writer stays open and
// Finish may be tried again.
func (w *Writer) Finish() error {
	if err := w.SyncAll(); err != nil {
		if w.Err() != nil {
			_ = w.Close(false)
		}
		return err
	}
	return w.Close(true)
}

// Close writes everything, syncs it if asked to, and closes the file in any
// case. Records that could not be written are lost. A second Close does
// nothing.
func (w *Writer) Close(durable bool) error {
	w.mu.Lock()
	again := w.closing
	w.closing = true
	w.mu.Unlock()
	if again {
		return nil
	}
	w.work.stop()
	err := w.wait(0, durable, true)
	w.mu.Lock()
	for w.writing || w.syncing {
		w.cond.Wait()
	}
	w.closed = true
	if err == nil && durable {
		w.markEndLocked()
	}
	w.buf, w.marks, w.spare, w.spareMarks = nil, nil, nil, nil
	w.cond.Broadcast()
	w.mu.Unlock()
	if cerr := w.file.Close(); err == nil && cerr != nil && !durable {
		// After a sync a failing close loses nothing.
		err = wrap(w.id, cerr)
	}
	return err
}

// markEndLocked appends a mark that all of the file is durable, so that damage
// to its last records is never taken for a torn tail. The mark is not synced,
// and may fail without further loss.
func (w *Writer) markEndLocked() {
	m := record.Append(nil, w.id, w.fileWritten.Load(), record.KindMark, w.fileSynced.Load(), nil)
	if n, err := w.file.Write(m); err == nil {
		w.fileWritten.Add(int64(n))
	}
}

// wrap adds the file's name to an error.
func wrap(id base.Identity, err error) error {
	return fmt.Errorf("%s: %w", id.Name(), vfs.NoSpace(err))
}
