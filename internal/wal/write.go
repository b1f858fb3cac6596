package wal

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/record"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// span is a range of LSNs, (lo, hi], whose records were dropped.
type span struct {
	lo, hi int64
	err    error
}

// droppedLocked returns why the record at lsn was dropped, or nil.
func (w *Writer) droppedLocked(lsn int64) error {
	for i := len(w.dropped) - 1; i >= 0; i-- {
		if s := &w.dropped[i]; lsn > s.lo {
			if lsn <= s.hi {
				return s.err
			}
			return nil
		}
	}
	return nil
}

// writeLocked writes everything in the buffer to the file. It is called with mu
// held and no other goroutine writing, and releases mu while it writes. It
// returns the error of the write; if that is final, w.err is set.
func (w *Writer) writeLocked() error {
	data, marks, end := w.buf, w.marks, w.end
	w.buf, w.marks = w.spare[:0], w.spareMarks[:0]
	w.spare, w.spareMarks = nil, nil
	w.noteCrowdLocked()
	w.bufOffset += int64(len(data))
	w.attempted = end
	w.gather.written = w.gather.records
	w.writing = true
	w.stats.Writes++
	w.mu.Unlock()

	n, err := w.writeFile(data)
	if err != nil && w.opts.OnFull != nil && vfs.IsNoSpace(err) && slices.ContainsFunc(marks, func(m mark) bool { return m.keep }) {
		if done := w.opts.OnFull(err); done != nil {
			var more int
			more, err = w.writeFile(data[n:])
			n += more
			done()
		}
	}

	w.mu.Lock()
	w.writing = false
	if err == nil {
		w.fileWritten.Add(int64(len(data)))
		w.written.Store(end)
		w.full = nil
		w.noteCrowdLocked()
	} else {
		err = w.writeFailedLocked(data, marks, n, err)
	}
	if cap(data) <= 2*w.opts.BufferMax {
		w.spare, w.spareMarks = data[:0], marks[:0]
	}
	w.cond.Broadcast()
	if w.work != nil {
		w.work.written(w.opts.SyncEvery)
	}
	return err
}

func (w *Writer) writeFile(data []byte) (int, error) {
	if err := failpoint.Hit(failpoint.LogBeforeWrite); err != nil {
		return 0, err
	}
	n, err := w.file.Write(data)
	if err == nil {
		err = failpoint.Hit(failpoint.LogAfterWrite)
	}
	return n, err
}

// writeFailedLocked handles a failed write of data, of which the first n bytes
// are in the file. It returns the error for the committers that wait.
func (w *Writer) writeFailedLocked(data []byte, marks []mark, n int, cause error) error {
	if !vfs.IsNoSpace(cause) {
		return w.poisonLocked(cause)
	}
	good, whole := wholeRecords(data, n)
	size := w.fileWritten.Load() + int64(good)
	if err := w.file.Truncate(size); err != nil {
		return w.poisonLocked(errors.Join(cause, fmt.Errorf("truncating the log after a failed write: %w", err)))
	}
	w.fileWritten.Store(size)

	// Unwritten records precede those appended since. All of them get new
	// offsets, so the records that stay are framed again.
	pending, pendingMarks := w.buf, w.marks
	w.buf, w.marks, w.bufOffset = nil, nil, size
	err := wrap(w.id, cause)
	w.requeueLocked(data[good:], marks[whole:], err)
	w.requeueLocked(pending, pendingMarks, err)
	if len(w.marks) > 0 {
		w.full = err
	}
	w.noteCrowdLocked()

	resolved := w.end
	if len(w.marks) > 0 {
		first := w.marks[0]
		resolved = first.lsn - record.Size(record.PayloadLen(w.buf))
	}
	w.written.Store(resolved)
	return err
}

// wholeRecords returns how many bytes of data, of which n are in the file, are
// whole records there, and how many records they are.
func wholeRecords(data []byte, n int) (good, count int) {
	for good < len(data) {
		next := good + int(record.Size(record.PayloadLen(data[good:])))
		if next > n {
			break
		}
		good = next
		count++
	}
	return good, count
}

// requeueLocked puts records that must be kept back into the buffer, and drops
// the others.
func (w *Writer) requeueLocked(data []byte, marks []mark, err error) {
	for _, m := range marks {
		n := record.PayloadLen(data)
		payload := data[record.HeaderSize : record.HeaderSize+n]
		data = data[record.Size(n):]
		if m.keep {
			off := w.bufOffset + int64(len(w.buf))
			w.buf = record.Append(w.buf, w.id, off, record.KindData, w.fileSynced.Load(), payload)
			w.marks = append(w.marks, m)
			continue
		}
		lo := m.lsn - record.Size(n)
		if k := len(w.dropped); k > 0 && w.dropped[k-1].hi == lo {
			w.dropped[k-1].hi = m.lsn
			w.dropped[k-1].err = err
			continue
		}
		// No record that could be dropped outlives the attempt that failed, so
		// later drops have larger LSNs and the list is ordered.
		w.dropped = append(w.dropped, span{lo, m.lsn, err})
	}
}

// syncLocked makes everything written durable. It is called with mu held and no
// other goroutine syncing, and releases mu while it syncs.
func (w *Writer) syncLocked() {
	lsn, size, records := w.written.Load(), w.fileWritten.Load(), w.gather.written
	w.syncing = true
	w.stats.Syncs++
	w.mu.Unlock()

	begin := time.Now()
	err := w.syncFile()

	w.mu.Lock()
	w.syncing = false
	g := &w.gather
	g.took, g.released, g.synced, g.atSync = time.Since(begin), records-g.synced, records, g.records
	if err == nil {
		w.synced.Store(lsn)
		w.fileSynced.Store(size)
	} else {
		_ = w.poisonLocked(err)
	}
	w.cond.Broadcast()
}

func (w *Writer) syncFile() error {
	if err := failpoint.Hit(failpoint.LogBeforeSync); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return failpoint.Hit(failpoint.LogAfterSync)
}

// poisonLocked poisons the writer. The first cause stays.
func (w *Writer) poisonLocked(cause error) error {
	if w.err == nil {
		w.err = &PoisonError{File: w.id.Name(), Err: base.Lasting(cause)}
	}
	w.buf, w.marks = nil, nil
	return w.err
}

// PoisonError is the error of a log that takes no more records.
type PoisonError struct {
	File string
	Err  error
}

func (e *PoisonError) Error() string { return fmt.Sprintf("%s is unusable: %v", e.File, e.Err) }

// Unwrap returns the cause. That may be a full disk, if a sync reported it, but
// it is not base.ErrNoSpace, since it does not pass.
func (e *PoisonError) Unwrap() error { return e.Err }
