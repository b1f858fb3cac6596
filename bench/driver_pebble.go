package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble, twice: tuned (newest format, bloom filters, the run's cache and
// memtable, two compactions at once, Snappy) and as Open gives it to a caller
// that sets nothing (8 MB cache, 4 MB memtable, no filter, oldest format).

var pebbleAck = map[Class]string{
	Relaxed:  "NoSync: in the log's memory",
	Buffered: "Sync on a file system whose log sync does nothing",
	Sync:     "Sync: fdatasync",
}

// pebbleHas lacks transactions: an indexed batch reads its own writes, but does
// not look for conflicts.
var pebbleHas = []Feature{RangeDeletes, MergeOperator}

func init() {
	const module = "github.com/cockroachdb/pebble/v2"
	register(&Driver{
		Name: "pebble", Module: module, Ack: pebbleAck, Has: pebbleHas,
		Open: func(o StoreOptions) (Store, error) { return openPebble(o, tunedPebble(o)) },
	})
	register(&Driver{
		Name: "pebble-default", Module: module, Ack: pebbleAck, Has: pebbleHas,
		Open: func(o StoreOptions) (Store, error) { return openPebble(o, &pebble.Options{}) },
	})
}

func tunedPebble(o StoreOptions) *pebble.Options {
	opts := &pebble.Options{
		CacheSize:                   o.Cache,
		MemTableSize:                uint64(o.Memtable),
		MemTableStopWritesThreshold: 4,
		FormatMajorVersion:          pebble.FormatNewest,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		// CockroachDB's own choice: let L0 grow in sublevels rather than stop
		// the writers at 12.
		L0StopWritesThreshold: 1000,
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	return opts
}

func openPebble(o StoreOptions, opts *pebble.Options) (Store, error) {
	opts.Logger = quietPebble{}
	opts.Merger = pebbleCounter
	wo := pebble.NoSync
	if o.Class != Relaxed {
		wo = pebble.Sync
	}
	if o.Class == Buffered {
		opts.FS = unsyncedLogFS{vfs.Default}
	}
	db, err := pebble.Open(o.Dir, opts)
	if err != nil {
		return nil, err
	}
	return &pebbleStore{db: db, wo: wo}, nil
}

type pebbleStore struct {
	db *pebble.DB
	wo *pebble.WriteOptions
}

func (s *pebbleStore) Put(key, value []byte) error     { return s.db.Set(key, value, s.wo) }
func (s *pebbleStore) Delete(key []byte) error         { return s.db.Delete(key, s.wo) }
func (s *pebbleStore) DeleteRange(lo, hi []byte) error { return s.db.DeleteRange(lo, hi, s.wo) }

func (s *pebbleStore) Add(key []byte, delta int64) error {
	var operand [8]byte
	binary.LittleEndian.PutUint64(operand[:], uint64(delta))
	return s.db.Merge(key, operand[:], s.wo)
}

// pebbleCounter adds 64-bit integers, in any order.
var pebbleCounter = &pebble.Merger{
	Name: "bench.counter",
	Merge: func(_, value []byte) (pebble.ValueMerger, error) {
		c := new(pebbleSum)
		return c, c.MergeNewer(value)
	},
}

type pebbleSum struct {
	n   uint64
	out [8]byte
}

func (c *pebbleSum) MergeNewer(value []byte) error {
	if len(value) != len(c.out) {
		return fmt.Errorf("a counter of %d bytes", len(value))
	}
	c.n += binary.LittleEndian.Uint64(value)
	return nil
}

func (c *pebbleSum) MergeOlder(value []byte) error { return c.MergeNewer(value) }

func (c *pebbleSum) Finish(bool) ([]byte, io.Closer, error) {
	binary.LittleEndian.PutUint64(c.out[:], c.n)
	return c.out[:], nil, nil
}

func (s *pebbleStore) Get(dst, key []byte) ([]byte, bool, error) {
	v, closer, err := s.db.Get(key)
	if err == pebble.ErrNotFound {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	dst = append(dst[:0], v...)
	return dst, true, closer.Close()
}

func (s *pebbleStore) NewBatch() Batch { return &pebbleBatch{b: s.db.NewBatch(), wo: s.wo} }

type pebbleBatch struct {
	b  *pebble.Batch
	wo *pebble.WriteOptions
}

func (b *pebbleBatch) Put(key, value []byte) error { return b.b.Set(key, value, nil) }
func (b *pebbleBatch) Delete(key []byte) error     { return b.b.Delete(key, nil) }

func (b *pebbleBatch) Commit() error {
	if err := b.b.Commit(b.wo); err != nil {
		return err
	}
	b.b.Reset()
	return nil
}

func (s *pebbleStore) NewIter(IterOptions) (Iter, error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	return pebbleIter{it}, nil
}

type pebbleIter struct{ *pebble.Iterator }

func (i pebbleIter) Err() error { return i.Iterator.Error() }

func (s *pebbleStore) Settle() error {
	if err := s.db.Flush(); err != nil {
		return err
	}
	// The end of the range is above every key of the harness (hex digits).
	if err := s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, true); err != nil {
		return err
	}
	for s.db.Metrics().Compact.NumInProgress > 0 {
		time.Sleep(time.Millisecond)
	}
	return nil
}

func (s *pebbleStore) Close() error { return s.db.Close() }

// unsyncedLogFS makes a commit with Sync return once the log record is with the
// operating system: Pebble has no such mode, and NoSync promises less.
type unsyncedLogFS struct{ vfs.FS }

func (fs unsyncedLogFS) Unwrap() vfs.FS { return fs.FS }

func (fs unsyncedLogFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return unsynced(name, f), err
}

func (fs unsyncedLogFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(oldname, newname, c)
	return unsynced(newname, f), err
}

func unsynced(name string, f vfs.File) vfs.File {
	if f == nil || !strings.HasSuffix(name, ".log") {
		return f
	}
	return unsyncedFile{f}
}

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error                { return nil }
func (unsyncedFile) SyncData() error            { return nil }
func (unsyncedFile) SyncTo(int64) (bool, error) { return false, nil }

type quietPebble struct{}

func (quietPebble) Infof(string, ...any)  {}
func (quietPebble) Errorf(string, ...any) {}
func (quietPebble) Fatalf(format string, args ...any) {
	pebble.DefaultLogger.Fatalf(format, args...)
}
