package main

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
)

// This file defines everything that the program asks of an engine. Store is
// what every engine offers, so that no workload can use a feature that only one
// of them has; further abilities of some engines, and the workloads that need
// them, are named by a Feature.

// Class is what an acknowledged commit has survived. Engines are compared only
// within one class.
type Class string

const (
	// Relaxed acks from the log's memory, which reaches the operating system
	// within a few milliseconds. A kill may lose those.
	Relaxed Class = "relaxed"
	// Buffered acks once the log is with the operating system. A kill loses
	// nothing, a power cut may.
	Buffered Class = "buffered"
	// Sync acks once the log is on the device.
	Sync Class = "sync"
)

// StoreOptions are the options of a driver that opens a store.
type StoreOptions struct {
	Dir      string
	Class    Class
	Cache    int64 // bytes for cached pages or blocks
	Memtable int64 // bytes of one memtable
	Syncers  int   // goroutines that will commit at the same time
	// Conflicts is set if transactions of several goroutines will touch the
	// same keys, so that an engine that can skip looking for conflicts must
	// not.
	Conflicts bool
}

// Feature is an ability that not every engine has.
type Feature string

const (
	Transactions  Feature = "transactions"  // the store is a Transactor
	RangeDeletes  Feature = "range deletes" // the store is a RangeDeleter
	MergeOperator Feature = "a merge operator"
)

// Driver is one way to run one engine.
type Driver struct {
	Name   string
	Module string // path of the engine's Go module, for its version
	// Open opens or creates the store. It is called in a process of its own.
	Open func(StoreOptions) (Store, error)
	// Ack describes what an acked commit of this engine has survived in a
	// class; empty if the engine has no such mode.
	Ack map[Class]string
	// Has lists the features of the store.
	Has []Feature
}

// offers reports whether the engine can run a stage.
func (d *Driver) offers(st *Stage) bool {
	return st.Feature == "" || slices.Contains(d.Has, st.Feature)
}

// Store is an open engine. Put, Get, NewBatch and NewIter may be called
// concurrently; Settle and Close only while no other call runs.
type Store interface {
	Put(key, value []byte) error
	Delete(key []byte) error
	// Get returns the value of key. It may use the memory of dst, or return
	// other memory. The result is the caller's until the next Get with the same
	// dst.
	Get(dst, key []byte) (value []byte, found bool, err error)
	NewBatch() Batch
	NewIter(IterOptions) (Iter, error)
	// Settle flushes and compacts everything, and returns when no work is left
	// in the background.
	Settle() error
	Close() error
}

// Transactor is a store with transactions over any keys, each of which behaves
// as if it ran alone.
type Transactor interface {
	// Transact runs fn in a transaction and commits it, and repeats that until
	// no conflict prevents it. conflicts is how often one did.
	Transact(fn func(Tx) error) (conflicts int, err error)
}

// Tx is a transaction. Keys and values that were put must not change until the
// transaction ends.
type Tx interface {
	Get(dst, key []byte) (value []byte, found bool, err error) // see Store.Get
	Put(key, value []byte) error
}

// RangeDeleter is a store that removes a range of keys, lo <= key < hi, with
// one entry, not key by key.
type RangeDeleter interface {
	DeleteRange(lo, hi []byte) error
}

// Adder is a store whose merge operator adds to a counter, 8 bytes
// little-endian, without reading it.
type Adder interface {
	Add(key []byte, delta int64) error
}

// Batch gathers writes for one commit. Commit empties it for reuse. The caller
// may change key and value after Put has returned.
type Batch interface {
	Put(key, value []byte) error
	Delete(key []byte) error
	Commit() error
}

// IterOptions are hints that engines document as tuning.
type IterOptions struct {
	Reverse bool // Last and Prev will be used, not First and Next
	Rows    int  // rows that will be read after one positioning; 0 for all
}

// Iter walks rows in key order over one state of the store. Key and Value are
// valid until the next move.
type Iter interface {
	First() bool
	Last() bool
	SeekGE(key []byte) bool
	Next() bool
	Prev() bool
	Key() []byte
	Value() []byte
	Err() error
	Close() error
}

// drivers are the engines in the program, in the order of the tables. They
// register themselves, so that one behind a build tag needs no change
// elsewhere.
var drivers []*Driver

// driverOrder ranks the drivers in every table.
var driverOrder = []string{"seerdb", "pebble", "pebble-default", "rocksdb", "goleveldb", "badger", "bbolt"}

func register(d *Driver) {
	drivers = append(drivers, d)
	slices.SortStableFunc(drivers, func(a, b *Driver) int {
		return slices.Index(driverOrder, a.Name) - slices.Index(driverOrder, b.Name)
	})
}

func driverNames() []string {
	names := make([]string, 0, len(drivers))
	for _, d := range drivers {
		names = append(names, d.Name)
	}
	return names
}

func findDriver(name string) (*Driver, error) {
	for _, d := range drivers {
		if d.Name == name {
			return d, nil
		}
	}
	if name == "rocksdb" {
		return nil, fmt.Errorf("rocksdb is not in this build: build with -tags rocksdb (see README.md)")
	}
	return nil, fmt.Errorf("unknown engine %q; this build has %s", name, strings.Join(driverNames(), ", "))
}

// Version returns the version of the engine's linked module; that of seerdb is
// the source beside this module.
func (d *Driver) Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == d.Module && m.Replace != nil {
			return "this tree"
		}
		if m.Path == d.Module {
			return m.Version
		}
	}
	return ""
}
