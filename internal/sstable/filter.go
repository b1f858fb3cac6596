package sstable

import (
	"github.com/seerdb-go/seerdb/internal/filter"
	"github.com/seerdb-go/seerdb/internal/offheap"
)

// A table can be read without its filter: a read of a key that is not there
// then looks into a page in vain. So a filter is the first thing to go when
// memory is short. It lies in memory of its own, which can be given back while
// the table is being read, and be read from the file again.

// Memory accounts for what readers keep in memory outside of the cache.
type Memory interface {
	// Take notes that n bytes more are kept, or that -n were given back.
	Take(n int64)
	// Admit notes n bytes more for a filter if there is room for it.
	Admit(n int64) bool
}

// unlimited is the Memory of readers that have none.
type unlimited struct{}

func (unlimited) Take(int64)       {}
func (unlimited) Admit(int64) bool { return true }

// smallFilter is the size up to which a filter lies with the index: apart from
// it a page of the system's would be half empty, and be one more to map.
const smallFilter = 8 << 10

// resident is a filter in memory. It is immutable.
type resident struct {
	filter.Filter
	mem []byte // off-heap, of its own; nil if the filter lies in Reader.meta
}

func (f *resident) free(m Memory) {
	if f.mem != nil {
		offheap.Free(f.mem)
		m.Take(-offheap.Footprint(len(f.mem)))
	}
}

// filterApart reports whether the filter has memory of its own.
func (r *Reader) filterApart() bool { return r.filterAt.len > smallFilter }

// FilterBytes returns the memory of a filter that can be left out; 0 if the
// table has none, or one that is too small for that.
func (r *Reader) FilterBytes() int64 {
	if !r.filterApart() {
		return 0
	}
	return offheap.Footprint(int(r.filterAt.len) + sumSize)
}

// FilterLeftOut reports whether the table has a filter that is not in memory.
func (r *Reader) FilterLeftOut() bool { return r.filterAt.len > 0 && r.filter.Load() == nil }

// MemBytes returns the memory that the open table takes outside of the cache,
// without a filter that can be left out.
func (r *Reader) MemBytes() int64 { return r.charged }

// MayContain reports whether the table may hold the user key with this hash
// (base.Hash). False is certain.
func (r *Reader) MayContain(hash uint64) bool {
	f := r.filter.Load()
	return f == nil || f.MayContain(hash)
}

// openFilter opens a filter that lies in meta, or reads one that lies apart if
// there is room for it.
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

// LoadFilter reads the filter if it is left out and there is room for it, and
// reports whether it is in memory now.
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

// DropFilter takes the filter out of the reader, if it can be left out, and
// returns what frees its memory, or nil. The caller calls that once no
// MayContain runs any more that began before.
func (r *Reader) DropFilter() (free func()) {
	f := r.filter.Load()
	if f == nil || f.mem == nil || !r.filter.CompareAndSwap(f, nil) {
		return nil
	}
	return func() { f.free(r.memory) }
}
