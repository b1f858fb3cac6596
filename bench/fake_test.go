package main

import (
	"bytes"
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
)

// lieAfter is the operations before the lies begin, so that the load is honest.
const lieAfter = 3

type fakeStore struct {
	lie fault // immutable

	mu       sync.Mutex
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
	s    *fakeStore
	rows [][2][]byte
}

func (b *fakeBatch) Put(key, value []byte) error {
	b.rows = append(b.rows, [2][]byte{bytes.Clone(key), bytes.Clone(value)})
	return nil
}

func (b *fakeBatch) Commit() error {
	for _, r := range b.rows {
		if err := b.s.Put(r[0], r[1]); err != nil {
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
