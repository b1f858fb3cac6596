package sstable

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/sstable/block"
)

// IterOptions configure how an iterator reads.
type IterOptions struct {
	// Scan marks pages as read in passing, which are not worth keeping.
	Scan bool
	// Bypass reads ahead in large pieces into a buffer of the iterator's own,
	// and does not use the cache. For compactions.
	Bypass bool
}

// Iter walks a table. It implements base.Iterator. The zero Iter is ready for
// Init; a closed one can be initialised again and keeps its memory. It pins one
// page at a time.
//
// The position is entry i of page n; n is -1 before the first page and pages
// after the last. The page of the position is open, unless n is outside.
type Iter struct {
	r    *Reader
	o    IterOptions
	err  error
	kv   base.KV
	n    int // page of the position
	i    int // entry of the position
	open bool
	used bool // positioned since Init
	page block.Page
	ref  cache.Handle // keeps page alive, unless ahead does
	key  []byte       // the page's prefix, followed by the rest of the key
	spans
}

var _ base.Iterator = (*Iter)(nil)

// NewIter returns an iterator.
func (r *Reader) NewIter(o IterOptions) *Iter {
	it := &Iter{}
	it.Init(r, o)
	return it
}

// Init makes it an unpositioned iterator over r.
func (it *Iter) Init(r *Reader, o IterOptions) {
	it.leave()
	it.r, it.o, it.err = r, o, nil
	it.n, it.i, it.used = -1, 0, false
	it.spans.reset()
	if r.index.pages == 0 {
		it.r = nil // the table has no entries
	}
}

// leave releases the open page.
func (it *Iter) leave() {
	if it.open {
		it.open = false
		it.ref.Release()
		it.ref = cache.Handle{}
	}
}

// Err returns the error that ended the walk, or nil.
func (it *Iter) Err() error { return it.err }

// Close releases what the iterator pins and returns Err. It is idempotent.
func (it *Iter) Close() error {
	it.leave()
	it.r = nil
	return it.err
}

// enter opens page n if it is not open.
func (it *Iter) enter(n, hint int) bool {
	if it.open && it.n == n {
		return true
	}
	it.leave()
	it.n = n
	var err error
	if it.o.Bypass {
		err = it.r.inPack(it.spans.load(it.r, n, &it.page))
	} else {
		err = it.r.load(n, hint, it.o.Scan, &it.ref, &it.page)
	}
	if err != nil {
		it.err = err
		return false
	}
	it.open = true
	return true
}

// begin lands on entry i of the page just entered. Only here is the key buffer
// overwritten: the key sought may be in it.
func (it *Iter) begin(i int) *base.KV {
	it.i = i
	it.key = append(it.key[:0], it.page.Prefix()...)
	return it.show()
}

// show fills kv with entry i of the open page.
func (it *Iter) show() *base.KV {
	it.key = it.page.Load(it.i, &it.kv, it.key)
	it.kv.Trailer |= it.r.seq
	return &it.kv
}

// SeekGE lands on the first entry at or after (key, t).
func (it *Iter) SeekGE(key []byte, t base.Trailer) *base.KV {
	it.err, it.used = nil, true
	if it.r == nil {
		return nil
	}
	n, hint := it.r.index.find(key, t)
	if !it.enter(n, hint) {
		return nil
	}
	i, same := it.page.Search(key, t, scaleHint(hint, it.page.Len()))
	if same && it.r.seq != 0 {
		// Entries with sequence 0 in the file may be newer than t.
		if at, _ := it.page.Entry(i); at|it.r.seq > t {
			i++
		}
	}
	if i == it.page.Len() {
		return it.nextPage()
	}
	return it.begin(i)
}

// SeekLT lands on the last entry whose user key is < key.
func (it *Iter) SeekLT(key []byte) *base.KV {
	it.err, it.used = nil, true
	if it.r == nil {
		return nil
	}
	n, hint := it.r.index.find(key, base.TrailerMax)
	if !it.enter(n, hint) {
		return nil
	}
	i, _ := it.page.Search(key, base.TrailerMax, scaleHint(hint, it.page.Len()))
	if i == 0 {
		return it.prevPage()
	}
	return it.begin(i - 1)
}

// First lands on the first entry.
func (it *Iter) First() *base.KV {
	it.err, it.used = nil, true
	if it.r == nil || !it.enter(0, noHint) {
		return nil
	}
	return it.begin(0)
}

// Last lands on the last entry.
func (it *Iter) Last() *base.KV {
	it.err, it.used = nil, true
	if it.r == nil || !it.enter(it.r.index.pages-1, noHint) {
		return nil
	}
	return it.begin(it.page.Len() - 1)
}

// Next goes to the next entry.
func (it *Iter) Next() *base.KV {
	if it.open {
		if it.i++; it.i < it.page.Len() {
			return it.show()
		}
		return it.nextPage()
	}
	switch {
	case it.err != nil || it.r == nil || it.n >= it.r.index.pages:
		return nil
	case !it.used || it.n < 0:
		return it.First()
	}
	return nil
}

// Prev goes to the previous entry.
func (it *Iter) Prev() *base.KV {
	if it.open {
		if it.i--; it.i >= 0 {
			return it.show()
		}
		return it.prevPage()
	}
	if it.err != nil || it.r == nil || it.used && it.n < 0 {
		return nil
	}
	return it.Last()
}

func (it *Iter) nextPage() *base.KV {
	if it.n+1 >= it.r.index.pages {
		it.leave()
		it.n = it.r.index.pages
		return nil
	}
	if !it.enter(it.n+1, noHint) {
		return nil
	}
	return it.begin(0)
}

func (it *Iter) prevPage() *base.KV {
	if it.n == 0 {
		it.leave()
		it.n = -1
		return nil
	}
	if !it.enter(it.n-1, noHint) {
		return nil
	}
	return it.begin(it.page.Len() - 1)
}
