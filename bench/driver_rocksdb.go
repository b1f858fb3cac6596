//go:build rocksdb

package main

import (
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"github.com/linxGnu/grocksdb"
)

// RocksDB through cgo. The binding must match the C library: grocksdb v1.7.14
// is made for RocksDB 7.8.3, which Debian 12 ships as librocksdb-dev. Its
// allocations are not Go's, so the columns of allocations and bytes do not
// describe it; CPU and resident memory do.

func init() {
	register(&Driver{
		Name:   "rocksdb",
		Module: "github.com/linxGnu/grocksdb",
		Ack: map[Class]string{
			Relaxed:  "manual_wal_flush: in the log's memory, written each 5 ms",
			Buffered: "sync false: written to the log file",
			Sync:     "sync true: fdatasync",
		},
		Has:  []Feature{RangeDeletes, MergeOperator},
		Open: openRocks,
	})
}

type rocksStore struct {
	db   *grocksdb.DB
	wo   *grocksdb.WriteOptions
	ro   *grocksdb.ReadOptions
	stop chan struct{} // closed to end the flusher of the Relaxed class
	done sync.WaitGroup
}

func openRocks(o StoreOptions) (Store, error) {
	table := grocksdb.NewDefaultBlockBasedTableOptions()
	table.SetBlockCache(grocksdb.NewLRUCache(uint64(o.Cache)))
	table.SetFilterPolicy(grocksdb.NewBloomFilterFull(10))
	table.SetFormatVersion(5)

	opts := grocksdb.NewDefaultOptions()
	opts.SetBlockBasedTableFactory(table)
	opts.SetCreateIfMissing(true)
	opts.SetWriteBufferSize(uint64(o.Memtable))
	opts.SetMaxWriteBufferNumber(4)
	opts.SetMaxBackgroundJobs(2)
	opts.SetLevelCompactionDynamicLevelBytes(true)
	opts.SetCompression(grocksdb.SnappyCompression)
	opts.SetManualWALFlush(o.Class == Relaxed)
	opts.SetUint64AddMergeOperator() // RocksDB's own, in C++

	db, err := grocksdb.OpenDb(opts, o.Dir)
	if err != nil {
		return nil, err
	}
	s := &rocksStore{
		db: db, wo: grocksdb.NewDefaultWriteOptions(), ro: grocksdb.NewDefaultReadOptions(),
		stop: make(chan struct{}),
	}
	s.wo.SetSync(o.Class == Sync)
	if o.Class == Relaxed {
		s.done.Add(1)
		go s.flushLog()
	}
	return s, nil
}

func (s *rocksStore) flushLog() {
	defer s.done.Done()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = s.db.FlushWAL(false) // a failed log fails the next write too
		case <-s.stop:
			return
		}
	}
}

func (s *rocksStore) Put(key, value []byte) error { return s.db.Put(s.wo, key, value) }
func (s *rocksStore) Delete(key []byte) error     { return s.db.Delete(s.wo, key) }

// DeleteRange uses a batch: the binding has no direct call for the default
// column family.
func (s *rocksStore) DeleteRange(lo, hi []byte) error {
	b := grocksdb.NewWriteBatch()
	defer b.Destroy()
	b.DeleteRange(lo, hi)
	return s.db.Write(s.wo, b)
}

func (s *rocksStore) Add(key []byte, delta int64) error {
	var operand [8]byte
	binary.LittleEndian.PutUint64(operand[:], uint64(delta))
	return s.db.Merge(s.wo, key, operand[:])
}

// Get uses the copying call, which crosses to C twice; a pinned read crosses
// three times.
func (s *rocksStore) Get(dst, key []byte) ([]byte, bool, error) {
	v, err := s.db.Get(s.ro, key)
	if err != nil {
		return nil, false, err
	}
	if !v.Exists() {
		return nil, false, nil
	}
	dst = append(dst[:0], v.Data()...)
	v.Free()
	return dst, true, nil
}

func (s *rocksStore) NewBatch() Batch { return &rocksBatch{s: s, b: grocksdb.NewWriteBatch()} }

type rocksBatch struct {
	s *rocksStore
	b *grocksdb.WriteBatch
}

func (b *rocksBatch) Put(key, value []byte) error {
	b.b.Put(key, value)
	return nil
}

func (b *rocksBatch) Delete(key []byte) error {
	b.b.Delete(key)
	return nil
}

func (b *rocksBatch) Commit() error {
	err := b.s.db.Write(b.s.wo, b.b)
	b.b.Clear()
	return err
}

func (s *rocksStore) NewIter(IterOptions) (Iter, error) {
	return &rocksIter{s.db.NewIterator(s.ro)}, nil
}

type rocksIter struct{ it *grocksdb.Iterator }

func (i *rocksIter) First() bool {
	i.it.SeekToFirst()
	return i.it.Valid()
}

func (i *rocksIter) Last() bool {
	i.it.SeekToLast()
	return i.it.Valid()
}

func (i *rocksIter) SeekGE(key []byte) bool {
	i.it.Seek(key)
	return i.it.Valid()
}

func (i *rocksIter) Next() bool {
	i.it.Next()
	return i.it.Valid()
}

func (i *rocksIter) Prev() bool {
	i.it.Prev()
	return i.it.Valid()
}

func (i *rocksIter) Key() []byte   { return i.it.Key().Data() }
func (i *rocksIter) Value() []byte { return i.it.Value().Data() }
func (i *rocksIter) Err() error    { return i.it.Err() }

func (i *rocksIter) Close() error {
	err := i.it.Err()
	i.it.Close()
	return err
}

func (s *rocksStore) Settle() error {
	if err := s.db.Flush(grocksdb.NewDefaultFlushOptions()); err != nil {
		return err
	}
	s.db.CompactRange(grocksdb.Range{})
	for s.busy() {
		time.Sleep(time.Millisecond)
	}
	return nil
}

func (s *rocksStore) busy() bool {
	for _, p := range []string{
		"rocksdb.num-running-compactions", "rocksdb.num-running-flushes",
		"rocksdb.compaction-pending", "rocksdb.mem-table-flush-pending",
	} {
		if n, err := strconv.ParseUint(s.db.GetProperty(p), 10, 64); err == nil && n > 0 {
			return true
		}
	}
	return false
}

func (s *rocksStore) Close() error {
	close(s.stop)
	s.done.Wait()
	s.db.Close()
	return nil
}
