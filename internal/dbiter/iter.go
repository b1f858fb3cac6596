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

// Iter shows the live keys of one sequence in order, each once, with its value. It is the
// single iterator under every kind of scan, and is for one goroutine.
//
// Forward, merged is at the entry that is shown, and Key and Value are views into it.
// Backward, the newest visible version of a key comes last, so merged is at the entry
// before the key that is shown, and key and value are copies. They are also copies if the
// value was merged from several entries; then merged is past the key.
type Iter struct {
	shard int // the shard in which the state is pinned
	pin   pins.Pin

	cursor
	tracking

	forward bool
	isCopy  bool // keyCopy, trailer and value hold the entry that is shown
	valid   bool

	fold    compaction.OperandMerger
	folded  int    // number of operands that the value shown was merged from
	fetched []byte // buffer for values read from value files
}

// keepFetched is the largest buffer for values, in bytes, that a closed iterator keeps for
// the next one.
const keepFetched = 256 << 10

var iterPool = sync.Pool{New: func() any { return new(Iter) }}

// New opens an iterator at a moment on a state of a keyspace. The caller has pinned the
// state in a shard, and Close releases it. If own is not nil, the writes of that open
// transaction are on top.
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
	if it.keyCopy == nil { // the iterator is new; an empty key must not be nil, nor an empty value
		it.keyCopy, it.value = []byte{}, []byte{}
	}
	env.Pins.AddIter(&it.pin, s, len(it.children), cap(it.fetched), o.Own, o.Site)
	return it
}

// ready prepares a positioning call and reports whether it may proceed.
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

// Options returns the options that the iterator was opened with. They are valid until
// Close.
func (it *Iter) Options() Options {
	return Options{Lower: it.lower, Upper: it.upper, KeysOnly: it.keysOnly, Bulk: it.bulk, Site: it.pin.Site()}
}

// Next moves to the following key. On an iterator that was never positioned it acts as
// First.
func (it *Iter) Next() bool {
	if !it.valid || it.tracked {
		return it.nextSlow()
	}
	if it.env.Store.Closed() {
		return it.ready()
	}
	switch {
	case !it.forward:
		// A seek, not a step: going backward, a memtable shows one version of each key, and
		// a step would stop at an older version of the same key.
		return it.showAfter(it.merged.SeekGE(it.keyCopy, 0))
	case it.isCopy:
		return it.showAfter(it.next)
	}
	it.keyCopy = append(it.keyCopy[:0], it.cur.Key...)
	return it.showAfter(it.merged.Next())
}

// nextSlow is Next where no key is shown, or moves are tracked. After the end it stays
// there; before the beginning it turns around.
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

// Prev moves to the preceding key. On an iterator that was never positioned it acts as
// Last.
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

// Key returns the key shown, valid until the next positioning call, or nil if there is
// none.
func (it *Iter) Key() []byte {
	switch {
	case !it.valid:
		return nil
	case it.isCopy:
		return it.keyCopy
	}
	return it.cur.Key
}

// Err returns the error that ended the iteration early, or nil.
func (it *Iter) Err() error { return it.err }

// Close releases what the iterator pins. The iterator must not be used again; a second
// Close returns ErrClosed.
func (it *Iter) Close() error {
	if it.env == nil {
		return base.ErrClosed
	}
	err := it.err
	it.tracked = false // it is false already if a tracked move panicked
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
