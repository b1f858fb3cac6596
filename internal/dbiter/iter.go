package dbiter

import (
	"bytes"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// Iter shows the live keys of one sequence in order, each once, with its
// value: the single iterator under every kind of scan. One goroutine uses it.
//
// Forward, merged stands on the entry that is shown, and Key and Value are
// views into it. Backward, the newest visible version of a key comes last, so
// merged stands on the entry before the key that is shown, and key and value
// are copies. So they are where the value was merged from several entries; then
// merged stands behind the key.
type Iter struct {
	shard int // in which the state is kept
	pin   pins.Pin

	cursor
	tracking

	forward bool
	isCopy  bool // what is shown is a copy: keyCopy, trailer and value
	valid   bool

	fold    compaction.OperandMerger
	folded  int    // operands of the key shown
	fetched []byte // buffer for values out of value files
}

// keepFetched is the largest buffer for values that a closed iterator keeps for
// the next one.
const keepFetched = 256 << 10

var iterPool = sync.Pool{New: func() any { return new(Iter) }}

// New opens an iterator on a state of a keyspace, which is kept in a shard, at a
// moment. The iterator lets it go. The writes of an open transaction lie on top, if own
// is not nil.
func New(env *Env, k Keyspace, s *readstate.State, shard int, o Options, at readstate.Point, own *writeset.Set) *Iter {
	it := iterPool.Get().(*Iter)
	it.env, it.k, it.s, it.shard, it.keysOnly, it.bulk = env, k, s, shard, o.KeysOnly, o.Bulk
	it.fix(at)
	it.setBounds(o)
	it.hold = at.Hold
	it.addChildren(own, sstable.IterOptions{Scan: o.Bulk})
	it.hold = nil
	it.cur, it.valid, it.err, it.forward, it.isCopy = nil, false, nil, true, false
	it.keyCopy = it.keyCopy[:0]
	if it.keyCopy == nil { // the iterator is new; a key of no bytes is not nil, nor is such a value
		it.keyCopy, it.value = []byte{}, []byte{}
	}
	env.Pins.AddIter(&it.pin, s, len(it.children), cap(it.fetched), o.Own, o.Site)
	return it
}

// ready reports whether a positioning call may go on.
func (it *Iter) ready() bool {
	it.valid = false
	switch {
	case it.env == nil:
		return false
	case it.env.Store.Closed():
		it.err = base.ErrClosed
		return false
	}
	it.isCopy, it.folded = false, 0
	return true
}

// First moves to the first key.
func (it *Iter) First() bool {
	if !it.ready() {
		return false
	}
	it.err = nil
	if it.tracked {
		return it.ahead(it.lower, it.First)
	}
	if it.lower != nil {
		return it.show(it.merged.SeekGE(it.lower, it.seek))
	}
	return it.show(it.merged.First())
}

// SeekGE moves to the first key at or after key.
func (it *Iter) SeekGE(key []byte) bool {
	if !it.ready() {
		return false
	}
	it.err = nil
	key = it.own(key)
	if it.lower != nil && bytes.Compare(key, it.lower) < 0 {
		key = it.lower
	}
	if it.tracked {
		return it.ahead(key, func() bool { return it.SeekGE(it.from) })
	}
	timed := it.env.Store.Seeks.Begin()
	ok := it.show(it.merged.SeekGE(key, it.seek))
	it.env.Store.Seeks.End(timed)
	return ok
}

// Last moves to the last key.
func (it *Iter) Last() bool {
	if !it.ready() {
		return false
	}
	it.err = nil
	if it.tracked {
		return it.back(it.upper, it.upper == nil, it.Last)
	}
	if it.upper != nil {
		return it.showBack(it.merged.SeekLT(it.upper))
	}
	return it.showBack(it.merged.Last())
}

// SeekLT moves to the last key before key.
func (it *Iter) SeekLT(key []byte) bool {
	if !it.ready() {
		return false
	}
	it.err = nil
	key = it.own(key)
	if it.upper != nil && bytes.Compare(key, it.upper) > 0 {
		key = it.upper
	}
	if it.tracked {
		return it.back(key, false, func() bool { return it.SeekLT(it.from) })
	}
	return it.showBack(it.merged.SeekLT(key))
}

// SeekLE moves to the last key at or before key.
func (it *Iter) SeekLE(key []byte) bool {
	return it.SeekLT(append(it.own(key), 0)) // there is no key between
}

// Options are those that the iterator was opened with. They are valid until Close.
func (it *Iter) Options() Options {
	return Options{Lower: it.lower, Upper: it.upper, KeysOnly: it.keysOnly, Bulk: it.bulk, Site: it.pin.Site()}
}

// Next moves to the following key; on an iterator that was never positioned
// it is First.
func (it *Iter) Next() bool {
	if !it.valid || it.tracked {
		return it.nextSlow()
	}
	if it.env.Store.Closed() {
		return it.ready()
	}
	switch {
	case !it.forward:
		// Not a step: going back, a memtable shows one version of a key, and
		// would step to what that lies on.
		return it.showAfter(it.merged.SeekGE(it.keyCopy, 0))
	case it.isCopy:
		return it.showAfter(it.next)
	}
	it.keyCopy = append(it.keyCopy[:0], it.cur.Key...)
	return it.showAfter(it.merged.Next())
}

// nextSlow is Next where nothing is shown, or moves are tracked: after the end
// it stays there, before the beginning it turns around.
func (it *Iter) nextSlow() bool {
	if it.valid {
		return it.ahead(it.Key(), it.Next)
	}
	if !it.ready() || it.err != nil {
		return false
	}
	if it.forward && it.cur == nil && len(it.keyCopy) > 0 {
		return false
	}
	return it.First()
}

// Prev moves to the key before; on an iterator that was never positioned it
// is Last.
func (it *Iter) Prev() bool {
	if !it.valid || it.tracked {
		return it.prevSlow()
	}
	if it.env.Store.Closed() {
		return it.ready()
	}
	switch {
	case !it.forward:
		return it.showBack(it.next)
	case !it.isCopy:
		it.keyCopy = append(it.keyCopy[:0], it.cur.Key...)
	}
	return it.showBack(it.merged.SeekLT(it.keyCopy))
}

func (it *Iter) prevSlow() bool {
	if it.valid {
		return it.back(it.Key(), false, it.Prev)
	}
	if !it.ready() || it.err != nil {
		return false
	}
	if !it.forward {
		return false
	}
	return it.Last()
}

// Valid reports whether a key is shown.
func (it *Iter) Valid() bool { return it.valid }

// Key is the key shown, valid until the next positioning call; nil when there
// is none.
func (it *Iter) Key() []byte {
	switch {
	case !it.valid:
		return nil
	case it.isCopy:
		return it.keyCopy
	}
	return it.cur.Key
}

// Err is what ended the walk early, or nil.
func (it *Iter) Err() error { return it.err }

// Close gives back what the iterator pins. The iterator must not be used
// again; closing it twice is a mistake that is answered with ErrClosed.
func (it *Iter) Close() error {
	if it.env == nil {
		return base.ErrClosed
	}
	err := it.err
	it.tracked = false // as it is too when a tracked move panicked
	if werr := it.walk.Close(); err == nil {
		err = werr
	}
	_ = it.merged.Close()
	s := it.s
	it.env.Pins.Remove(&it.pin)
	if cap(it.fetched) > keepFetched {
		it.fetched = nil
	}
	it.env, it.k, it.s, it.cur, it.next, it.valid, it.err = nil, nil, nil, nil, nil, false, nil
	clear(it.views)
	clear(it.ranges)
	it.hit = hit{}
	_ = it.refs.Close()
	s.LetGo(it.shard)
	iterPool.Put(it)
	return err
}
