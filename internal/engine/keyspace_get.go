package engine

import (
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/dbiter"
	"github.com/seerdb-go/seerdb/internal/jobs"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// AppendGet appends the value of key at a point to dst. It returns
// base.ErrNotFound if there is none. It takes no lock, builds no iterator
// and allocates only if dst has no room, except for keys with merge operands,
// which it reads through an iterator.
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

// View calls fn with the value of key in place: in a memtable, in a cached page, or,
// if the value is in a value file or merged, in a buffer. The value is valid during
// the call.
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

// viewBuffers holds buffers for values that View cannot show in place. Huge buffers
// are not kept.
var viewBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 512)
	return &b
}}

const viewBufferMax = 1 << 20

// pointGet looks a key up and, if want is true, appends its value to dst. If show is not
// nil and the value is in one piece, pointGet calls show with it instead and returns
// nil. If waited is true, it reads tables into memory even if memory is crowded.
func (k *Keyspace) pointGet(dst, key []byte, at readstate.Point, want bool, show func([]byte) error, waited bool) ([]byte, error) {
	st := k.e.store
	var q readstate.Query
	if !q.Begin(st, k.ID(), key, at, waited) {
		return dst, base.ErrClosed
	}
	if k.Dropped() { // after the state was acquired: it may lack a dropped keyspace
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

// getMerged reads a key with operands. own holds the writes of an open transaction, or
// is nil.
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
