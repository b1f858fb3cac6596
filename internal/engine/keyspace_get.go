package engine

import (
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/jobs"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// AppendGet appends the value of key to dst, as seen at a moment. It returns
// base.ErrNotFound when there is none. It takes no lock, builds no iterator
// and allocates only when dst has no room; but for keys with merge operands,
// which are read through an iterator.
func (k *Keyspace) AppendGet(dst, key []byte, at readstate.Point) ([]byte, error) {
	return k.lookup(dst, key, at, true)
}

// Has reports whether key exists, without reading its value.
func (k *Keyspace) Has(key []byte, at readstate.Point) (bool, error) {
	_, err := k.lookup(nil, key, at, false)
	if err == base.ErrNotFound {
		return false, nil
	}
	return err == nil, err
}

func (k *Keyspace) lookup(dst, key []byte, at readstate.Point, want bool) ([]byte, error) {
	return k.pointGet(dst, key, at, want, nil, false)
}

// View calls fn with the value of key where it lies: in a memtable, in a cached
// page, or, if it is kept apart or merged, in a buffer. It is valid during the
// call.
func (k *Keyspace) View(key []byte, at readstate.Point, fn func(value []byte) error) error {
	buf := viewBuffers.Get().(*[]byte)
	b, err := k.pointGet((*buf)[:0], key, at, true, fn, false)
	if b == nil {
		viewBuffers.Put(buf)
		return err // fn was called
	}
	if err == nil {
		err = fn(b)
	}
	if cap(b) <= viewBufferMax {
		*buf = b
		viewBuffers.Put(buf)
	}
	return err
}

// viewBuffers hold values that have to be put together. Rare huge ones are not
// kept.
var viewBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 512)
	return &b
}}

const viewBufferMax = 1 << 20

// pointGet looks a key up, and appends the value to dst if it is wanted. show, if it is
// not nil, gets a value instead that need not be put together; then pointGet returns
// nil. With waited it reads tables into memory though that is crowded.
func (k *Keyspace) pointGet(dst, key []byte, at readstate.Point, want bool, show func([]byte) error, waited bool) ([]byte, error) {
	st := k.e.store
	var q readstate.Query
	if !q.Begin(st, k.ID(), key, at, waited) {
		return dst, base.ErrClosed
	}
	if k.Dropped() { // asked of a state that is as new as the drop, if it was
		q.Done()
		q.Uncounted()
		return dst, k.Usable()
	}
	out, err := q.Get()
	switch {
	case out == readstate.Plain && show != nil:
		dst, err = nil, q.Show(show)
	case out == readstate.Plain && want:
		dst = append(dst, q.Value...)
	case out == readstate.Pointer && want:
		dst, err = q.Fetch(dst)
	case out == readstate.Absent:
		err = base.ErrNotFound
	}
	if out != readstate.Plain || show == nil {
		q.Done()
	}
	switch {
	case out == readstate.Operand && want:
		dst, err = k.getMerged(dst, key, at, nil)
	case out == readstate.Crowded:
		q.Uncounted()
		st.WaitForRoom()
		return k.pointGet(dst, key, at, want, show, true)
	}
	q.Ended()
	return dst, err
}

// getMerged reads a key with operands; with own, some of them are those of an
// open transaction.
func (k *Keyspace) getMerged(dst, key []byte, at readstate.Point, own *writeset.Set) ([]byte, error) {
	it, err := k.newIter(dbiter.Options{Lower: key, Own: true}, at, own)
	if err != nil {
		return dst, err
	}
	dst, n, err := it.TakeValue(dst, key)
	if err == nil && n >= jobs.CollapseFrom {
		k.e.jobs.CollapseLater(k.Keyspace, key)
	}
	return dst, err
}
