package sstable

import (
	"github.com/seerdb-go/seerdb/internal/filter"
	"github.com/seerdb-go/seerdb/internal/offheap"
)

// A table can be read without its filter; a read of an absent key then searches
// a page in vain. So filters are the first to go when memory is short. A filter
// has memory of its own, which can be freed while the table is in use, and can
// be read from the file again.

// Memory accounts for what readers keep in memory outside the cache.
type Memory interface {
	// Take records n more bytes, or -n fewer if n is negative.
	Take(n int64)
	// Admit records n more bytes for a filter if there is room for it, and
	// reports whether there is.
	Admit(n int64) bool
}

// unlimited is the Memory of readers without one.
type unlimited struct{}

func (unlimited) Take(int64)       {}
func (unlimited) Admit(int64) bool { return true }

// smallFilter is the size up to which a filter is stored with the index: on its
// own it would leave a memory page half empty, and be one more to map.
const smallFilter = 8 << 10

// resident is a filter in memory. It is immutable.
type resident struct {
	filter.Filter
	mem []byte // off-heap, of its own; nil if the filter is in Reader.meta
}

func (f *resident) free(m Memory) {
	if f.mem != nil {
		offheap.Free(f.mem)
		m.Take(-offheap.Footprint(len(f.mem)))
	}
}

// filterApart reports whether the filter has memory of its own.
func (r *Reader) filterApart() bool { return r.filterAt.len > smallFilter }

// FilterBytes returns the memory of a filter that can be left out, or 0 if the
// table has none, or only a small one.
func (r *Reader) FilterBytes() int64 {
	if !r.filterApart() {
		return 0
	}
	return offheap.Footprint(int(r.filterAt.len) + sumSize)
}

// FilterLeftOut reports whether the table has a filter that is not in memory.
func (r *Reader) FilterLeftOut() bool { return r.filterAt.len > 0 && r.filter.Load() == nil }

// MemBytes returns the memory that the open table takes outside the cache,
// without a filter that can be left out.
func (r *Reader) MemBytes() int64 { return r.charged }

// MayContain reports whether the table may have the user key with this hash
// (base.Hash). If it returns false the key is not there.
func (r *Reader) MayContain(hash uint64) bool {
	f := r.filter.Load()
	return f == nil || f.MayContain(hash)
}

// openFilter opens a filter in meta, or reads a separate one if there is room
// for it.
func (r *Reader) openFilter() error {
	if r.filterApart() {
		_, err := r.LoadFilter()
		return err
	}
	b, err := r.section(r.filterAt, "filter")
	if err != nil || len(b) == 0 {
		return err
	}
	f, err := filter.Open(b)
	if err != nil {
		return damaged(r.id.Name(), int64(r.filterAt.off), "filter", err)
	}
	r.filter.Store(&resident{Filter: f})
	return nil
}

// LoadFilter reads the filter if it was left out and there is room now. It
// reports whether the filter is in memory.
func (r *Reader) LoadFilter() (bool, error) {
	switch n := r.FilterBytes(); {
	case !r.FilterLeftOut():
		return true, nil
	case !r.memory.Admit(n):
		return false, nil
	}
	mem, err := offheap.Alloc(int(r.filterAt.len) + sumSize)
	if err != nil {
		r.memory.Take(-r.FilterBytes())
		return false, err
	}
	f := &resident{mem: mem}
	err = r.readAt(mem, int64(r.filterAt.off))
	if err == nil {
		var b []byte
		if b, err = r.checked(r.filterAt, mem, "filter"); err == nil {
			if f.Filter, err = filter.Open(b); err != nil {
				err = damaged(r.id.Name(), int64(r.filterAt.off), "filter", err)
			}
		}
	}
	if err != nil || !r.filter.CompareAndSwap(nil, f) {
		f.free(r.memory) // no read has seen it
	}
	return err == nil, r.inPack(err)
}

// DropFilter removes the filter from memory if it can be left out. It returns a
// func that frees the memory, or nil. The caller calls that once every
// MayContain that began before has ended.
func (r *Reader) DropFilter() (free func()) {
	f := r.filter.Load()
	if f == nil || f.mem == nil || !r.filter.CompareAndSwap(f, nil) {
		return nil
	}
	return func() { f.free(r.memory) }
}
