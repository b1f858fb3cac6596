package main

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
)

// fakeStore is a store in memory that can lie, so that the harness can be seen
// to notice.

type fault string

const (
	honest       fault = ""
	flipGet      fault = "a read with a changed byte"
	staleGet     fault = "a read of the version before"
	loseGet      fault = "a read that finds nothing"
	inventGet    fault = "a read that finds what was never written"
	dropPut      fault = "a lost write"
	skipRow      fault = "a scan that skips a row"
	skipBackward fault = "a backward scan that skips a row"
	repeatRow    fault = "a scan that gives a row twice"
	staleRow     fault = "a scan of old versions"
	seekPast     fault = "a seek that lands a row too far"
	endEarly     fault = "an iterator that ends after 5 rows"
	dropDelete   fault = "a delete that does nothing"
	shortRange   fault = "a range delete that leaves its last key"
	wideRange    fault = "a range delete that takes its end too"
	dropAdd      fault = "a lost addition"
	doubleAdd    fault = "an addition that counts twice"
	dropTxn      fault = "a lost transaction"
	halfTxn      fault = "half a transaction"
	doubleTxn    fault = "a transaction that is done twice"
	dirtyTxn     fault = "a transaction that reads the version before"
)

// lieAfter is the operations before the lies begin, so that the load is honest.
const lieAfter = 3

type fakeStore struct {
	lie fault // immutable

	tx       sync.Mutex // one transaction at a time
	mu       sync.Mutex
	changes  int
	puts     int
	gets     int
	now, old map[string][]byte
	keys     []string // sorted; nil: to be made
}

func newFake(f fault) *fakeStore {
	return &fakeStore{lie: f, now: map[string][]byte{}, old: map[string][]byte{}}
}

func init() {
	// Registered for tests only: a test binary is its own worker.
	if !testing.Testing() {
		return
	}
	register(&Driver{
		Name: "fake", Ack: map[Class]string{Relaxed: "in memory", Sync: "in memory"},
		Has:  []Feature{Transactions, RangeDeletes, MergeOperator},
		Open: func(StoreOptions) (Store, error) { return newFake(fault(os.Getenv("FAKE_FAULT"))), nil },
	})
}

func (s *fakeStore) Put(key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	k := string(key)
	if v, ok := s.now[k]; ok {
		if s.lie == dropPut && s.puts%97 == 0 {
			return nil
		}
		s.old[k] = v
	} else {
		s.keys = nil
	}
	s.now[k] = bytes.Clone(value)
	return nil
}

// every says that it is time for a lie of what changes the store.
func (s *fakeStore) every(f fault) bool {
	if s.lie != f {
		return false
	}
	s.changes++
	return s.changes%97 == 0
}

func (s *fakeStore) Delete(key []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.every(dropDelete) {
		return nil
	}
	s.remove(string(key))
	return nil
}

func (s *fakeStore) remove(k string) {
	delete(s.now, k)
	delete(s.old, k)
	s.keys = nil
}

func (s *fakeStore) DeleteRange(lo, hi []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := slices.Sorted(maps.Keys(s.now))
	i, _ := slices.BinarySearch(keys, string(lo))
	j, _ := slices.BinarySearch(keys, string(hi))
	switch {
	case s.lie == shortRange && j > i:
		j--
	case s.lie == wideRange && j < len(keys):
		j++
	}
	for _, k := range keys[i:j] {
		s.remove(k)
	}
	return nil
}

func (s *fakeStore) Add(key []byte, delta int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.every(dropAdd):
		return nil
	case s.every(doubleAdd):
		delta *= 2
	}
	n := int64(binary.LittleEndian.Uint64(s.now[string(key)]))
	s.now[string(key)] = binary.LittleEndian.AppendUint64(nil, uint64(n+delta))
	return nil
}

// Transact gathers the writes in a batch.
func (s *fakeStore) Transact(fn func(Tx) error) (int, error) {
	s.tx.Lock()
	defer s.tx.Unlock()
	b := &fakeBatch{s: s}
	if err := fn(fakeTx{s, b}); err != nil {
		return 0, err
	}
	s.mu.Lock()
	switch {
	case s.every(dropTxn):
		b.rows = nil
	case s.every(halfTxn):
		b.rows = b.rows[:len(b.rows)/2]
	case s.every(doubleTxn):
		b.again = true
	}
	s.mu.Unlock()
	if err := b.Commit(); err != nil || !b.again {
		return 0, err
	}
	b.rows, b.again = nil, false
	if err := fn(fakeTx{s, b}); err != nil {
		return 0, err
	}
	return 0, b.Commit()
}

type fakeTx struct {
	*fakeStore
	b *fakeBatch
}

func (t fakeTx) Put(key, value []byte) error { return t.b.Put(key, value) }

func (t fakeTx) Get(dst, key []byte) ([]byte, bool, error) {
	t.mu.Lock()
	old, lying := t.old[string(key)], t.every(dirtyTxn)
	t.mu.Unlock()
	if lying && old != nil {
		return old, true, nil
	}
	return t.fakeStore.Get(dst, key)
}

func (s *fakeStore) Get(dst, key []byte) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	v, ok := s.now[string(key)]
	dst = append(dst[:0], v...)
	lying := s.gets > lieAfter
	switch {
	case !ok && s.lie == inventGet && lying:
		for _, v := range s.now {
			return v, true, nil
		}
	case ok && s.lie == loseGet && lying:
		return nil, false, nil
	case ok && s.lie == flipGet && lying:
		dst[len(dst)-3] ^= 4
	case ok && s.lie == staleGet && s.old[string(key)] != nil:
		return s.old[string(key)], true, nil
	}
	return dst, ok, nil
}

func (s *fakeStore) NewBatch() Batch { return &fakeBatch{s: s} }

type fakeBatch struct {
	s     *fakeStore
	rows  [][2][]byte // the value is nil: delete
	again bool
}

func (b *fakeBatch) Delete(key []byte) error {
	b.rows = append(b.rows, [2][]byte{bytes.Clone(key), nil})
	return nil
}

func (b *fakeBatch) Put(key, value []byte) error {
	b.rows = append(b.rows, [2][]byte{bytes.Clone(key), bytes.Clone(value)})
	return nil
}

func (b *fakeBatch) Commit() error {
	for _, r := range b.rows {
		change := func() error { return b.s.Put(r[0], r[1]) }
		if r[1] == nil {
			change = func() error { return b.s.Delete(r[0]) }
		}
		if err := change(); err != nil {
			return err
		}
	}
	b.rows = b.rows[:0]
	return nil
}

func (s *fakeStore) NewIter(IterOptions) (Iter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = slices.Sorted(maps.Keys(s.now))
	}
	return &fakeIter{s: s, keys: s.keys}, nil
}

type fakeIter struct {
	s     *fakeStore
	keys  []string
	at    int
	moves int
}

func (i *fakeIter) valid() bool {
	if i.s.lie == endEarly && i.moves > 5 {
		return false
	}
	return i.at >= 0 && i.at < len(i.keys)
}

func (i *fakeIter) First() bool {
	i.at = 0
	return i.valid()
}

func (i *fakeIter) Last() bool {
	i.at = len(i.keys) - 1
	return i.valid()
}

func (i *fakeIter) SeekGE(key []byte) bool {
	i.at, _ = slices.BinarySearch(i.keys, string(key))
	i.moves = 0
	if i.s.lie == seekPast {
		i.at++
	}
	return i.valid()
}

func (i *fakeIter) step(by int) bool {
	i.moves++
	if i.moves == 4 {
		switch {
		case i.s.lie == skipRow && by > 0, i.s.lie == skipBackward && by < 0:
			i.at += by
		case i.s.lie == repeatRow:
			i.at -= by
		}
	}
	i.at += by
	return i.valid()
}

func (i *fakeIter) Next() bool  { return i.step(1) }
func (i *fakeIter) Prev() bool  { return i.step(-1) }
func (i *fakeIter) Key() []byte { return []byte(i.keys[i.at]) }

func (i *fakeIter) Value() []byte {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	if v := i.s.old[i.keys[i.at]]; v != nil && i.s.lie == staleRow {
		return v
	}
	return i.s.now[i.keys[i.at]]
}

func (i *fakeIter) Err() error     { return nil }
func (i *fakeIter) Close() error   { return nil }
func (s *fakeStore) Settle() error { return nil }
func (s *fakeStore) Close() error  { return nil }
