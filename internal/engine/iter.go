package engine

import (
	"bytes"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/merge"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// IterOptions restrict an iterator.
type IterOptions struct {
	Lower, Upper []byte // Lower <= key < Upper; nil = unbounded
	KeysOnly     bool
	Bulk         bool // a long scan: what it reads does not displace hot pages
}

// Iter shows the live keys of one sequence in order, each once, with its
// value: the single iterator under every kind of scan. One goroutine uses it.
//
// Forward, merged stands on the entry that is shown, and Key and Value are
// views into it. Backward, the newest visible version of a key comes last, so
// merged stands on the entry before the key that is shown, and key and value
// are copies.
type Iter struct {
	e        *Engine
	s        *state
	shard    int
	seq      base.SeqNum
	lower    []byte
	upper    []byte
	keysOnly bool

	merged   merge.Iter
	children []base.Iterator
	mems     []memtable.Iter
	parts    []prefixIter
	runs     []runIter

	at      *base.KV // forward: the entry shown, or nil
	before  *base.KV // backward: the entry that merged stands on, or nil
	forward bool
	valid   bool
	saved   []byte       // backward: the key shown; forward: the last key left
	copied  base.Trailer // backward: trailer of what is shown
	value   []byte       // backward: its stored value
	fetched []byte       // buffer for values out of value files
	target  []byte       // what a seek looks for
	bounds  []byte       // backs lower and upper
	err     error
	origin  origin
}

var iterPool = sync.Pool{New: func() any { return new(Iter) }}

// seekAfter is how many versions of one key are stepped over before seeking
// past the rest.
const seekAfter = 8

// NewIter opens an iterator at sequence at, or at the newest visible one when
// at is base.SeqNumMax. It pins what it reads until it is closed.
func (k *Keyspace) NewIter(o IterOptions, at base.SeqNum) (*Iter, error) {
	if err := k.usable(); err != nil {
		return nil, err
	}
	e := k.e
	s, shard := e.acquire()
	if s == nil {
		return nil, base.ErrClosed
	}
	if visible := e.visibleSeq(); at > visible {
		at = visible
	}
	it := iterPool.Get().(*Iter)
	it.e, it.s, it.shard, it.seq, it.keysOnly = e, s, shard, at, o.KeysOnly
	it.setBounds(o)
	it.addChildren(k, sstable.IterOptions{Scan: o.Bulk})
	it.at, it.valid, it.err, it.forward = nil, false, nil, true
	it.saved = it.saved[:0]
	e.open.add(&it.origin, originIter)
	return it, nil
}

func (it *Iter) setBounds(o IterOptions) {
	it.bounds = append(append(it.bounds[:0], o.Lower...), o.Upper...)
	if it.bounds == nil {
		it.bounds = []byte{} // an empty upper bound is a bound: nothing is below it
	}
	it.lower, it.upper = nil, nil
	if o.Lower != nil {
		it.lower = it.bounds[:len(o.Lower):len(o.Lower)]
	}
	if o.Upper != nil {
		it.upper = it.bounds[len(o.Lower):]
	}
}

// addChildren lists the sources from newest to oldest.
func (it *Iter) addChildren(k *Keyspace, o sstable.IterOptions) {
	ls := it.s.v.of(k)
	nr := 0
	for l := range ls {
		nr += len(ls[l])
	}
	it.runs = grow(it.runs, nr)
	it.children = it.children[:0]
	if k.id == 0 {
		it.addMems()
	} else {
		it.addOthers(k)
	}
	n := 0
	for l := range ls {
		for i := range ls[l] {
			run := &it.runs[n]
			n++
			run.init(ls[l][i].tables, o, it.upper)
			it.children = append(it.children, run)
		}
	}
	it.merged.Init(it.children)
}

// addMems lists the memtables of the default keyspace.
func (it *Iter) addMems() {
	s := it.s
	it.mems = grow(it.mems, 1+len(s.imm))
	if !s.mem.mem.Empty() {
		it.mems[0].Init(s.mem.mem, it.seq)
		it.children = append(it.children, &it.mems[0])
	}
	for i, g := range s.imm {
		if !g.mem.Empty() {
			it.mems[i+1].Init(g.mem, it.seq)
			it.children = append(it.children, &it.mems[i+1])
		}
	}
}

// addOthers lists a keyspace's parts of the memtables that several share.
func (it *Iter) addOthers(k *Keyspace) {
	s := it.s
	it.parts = grow(it.parts, 1+len(s.imm))
	add := func(p *prefixIter, g *generation) {
		if m := g.others.Load(); m != nil && !m.Empty() {
			p.it.Init(m, it.seq)
			p.bound(k)
			it.children = append(it.children, p)
		}
	}
	add(&it.parts[0], s.mem)
	for i, g := range s.imm {
		add(&it.parts[i+1], g)
	}
}

// grow returns s with length n, keeping the buffers of its elements.
func grow[T any](s []T, n int) []T {
	if n <= cap(s) {
		return s[:n]
	}
	return append(s[:cap(s)], make([]T, n-cap(s))...)
}

// ready reports whether a positioning call may go on.
func (it *Iter) ready() bool {
	it.valid = false
	switch {
	case it.e == nil:
		return false
	case it.e.closed.Load():
		it.err = base.ErrClosed
		return false
	}
	return true
}

// First moves to the first key.
func (it *Iter) First() bool {
	if !it.ready() {
		return false
	}
	it.err = nil
	if it.lower != nil {
		return it.show(it.merged.SeekGE(it.lower, base.SeekTrailer(it.seq)))
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
	timed := it.e.stats.seek.begin()
	ok := it.show(it.merged.SeekGE(key, base.SeekTrailer(it.seq)))
	it.e.stats.seek.end(timed)
	return ok
}

// Last moves to the last key.
func (it *Iter) Last() bool {
	if !it.ready() {
		return false
	}
	it.err = nil
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
	return it.showBack(it.merged.SeekLT(key))
}

// own copies the target of a seek: it may be what Key or Value returned, a
// view that the first source to move overwrites before the next one looks.
func (it *Iter) own(key []byte) []byte {
	it.target = append(it.target[:0], key...)
	return it.target
}

// Next moves to the following key; on an iterator that was never positioned
// it is First.
func (it *Iter) Next() bool {
	if !it.valid {
		return it.nextInvalid()
	}
	if it.e.closed.Load() {
		return it.ready()
	}
	if it.forward {
		it.saved = append(it.saved[:0], it.at.Key...)
		return it.showAfter(it.merged.Next())
	}
	return it.showAfter(it.merged.Next())
}

// nextInvalid is Next where nothing is shown: after the end it stays there,
// before the beginning it turns around.
func (it *Iter) nextInvalid() bool {
	if !it.ready() || it.err != nil {
		return false
	}
	if it.forward && it.at == nil && len(it.saved) > 0 {
		return false
	}
	return it.First()
}

// Prev moves to the key before; on an iterator that was never positioned it
// is Last.
func (it *Iter) Prev() bool {
	if !it.valid {
		return it.prevInvalid()
	}
	if it.e.closed.Load() {
		return it.ready()
	}
	if it.forward {
		it.saved = append(it.saved[:0], it.at.Key...)
		return it.showBack(it.merged.SeekLT(it.saved))
	}
	return it.showBack(it.before)
}

func (it *Iter) prevInvalid() bool {
	if !it.ready() || it.err != nil {
		return false
	}
	if !it.forward {
		return false
	}
	return it.Last()
}

// show finds the first visible key from kv on.
func (it *Iter) show(kv *base.KV) bool {
	it.forward = true
	skipping := false
	return it.scan(kv, skipping)
}

// showAfter is show, leaving out what remains of the key in saved.
func (it *Iter) showAfter(kv *base.KV) bool {
	it.forward = true
	return it.scan(kv, true)
}

// scan goes forward from kv to the newest visible version of a live key. While
// skipping, versions of the key in saved are passed over.
func (it *Iter) scan(kv *base.KV, skipping bool) bool {
	steps := 0
	for kv != nil {
		if it.upper != nil && bytes.Compare(kv.Key, it.upper) >= 0 {
			break
		}
		switch {
		case !kv.Trailer.Visible(it.seq):
			if steps++; steps > seekAfter {
				steps = 0
				it.fetched = append(it.fetched[:0], kv.Key...)
				kv = it.merged.SeekGE(it.fetched, base.SeekTrailer(it.seq))
				continue
			}
		case skipping && bytes.Equal(kv.Key, it.saved):
			if steps++; steps > seekAfter {
				steps = 0
				kv = it.merged.SeekGE(it.saved, 0)
				continue
			}
		case kv.Trailer.Kind() == base.KindPut || kv.Trailer.Kind() == base.KindPutPointer:
			it.at, it.valid = kv, true
			return true
		case kv.Trailer.Kind() == base.KindDelete:
			it.saved = append(it.saved[:0], kv.Key...)
			skipping, steps = true, 0
		default:
			it.err = unknownKind(kv.Trailer.Kind())
			it.at, it.valid = nil, false
			return false
		}
		kv = it.merged.Next()
	}
	it.at, it.valid = nil, false
	it.fail()
	if len(it.saved) == 0 {
		it.saved = append(it.saved, 0) // positioned: Next stays at the end
	}
	return false
}

// showBack goes backward from kv, the oldest version of some key, to the
// newest visible version of a live key, and leaves merged before that key.
func (it *Iter) showBack(kv *base.KV) bool {
	it.forward, it.at, it.valid = false, nil, false
	for kv != nil {
		if it.lower != nil && bytes.Compare(kv.Key, it.lower) < 0 {
			break
		}
		it.saved = append(it.saved[:0], kv.Key...)
		kv = it.newest(kv)
		if it.err != nil {
			return false
		}
		if it.copied == 0 {
			continue
		}
		switch it.copied.Kind() {
		case base.KindPut, base.KindPutPointer:
			it.before = kv
			it.valid = it.fail() == nil
			return it.valid
		case base.KindDelete:
		default:
			it.err = unknownKind(it.copied.Kind())
			return false
		}
	}
	it.fail()
	return false
}

// newest walks back over the versions of the key in saved, keeping a copy of
// the newest visible one in copied and value (copied is zero when there is
// none), and returns the entry before that key.
func (it *Iter) newest(kv *base.KV) *base.KV {
	it.copied = 0
	for steps := 0; kv != nil && bytes.Equal(kv.Key, it.saved); steps++ {
		if !kv.Trailer.Visible(it.seq) {
			// What comes before is newer still.
			return it.merged.SeekLT(it.saved)
		}
		if steps > seekAfter {
			kv = it.merged.SeekGE(it.saved, base.SeekTrailer(it.seq))
			if kv == nil && it.fail() != nil {
				it.copied = 0 // an older version must not stand in for it
				return nil
			}
			if kv != nil && bytes.Equal(kv.Key, it.saved) {
				it.keep(kv)
			}
			return it.merged.SeekLT(it.saved)
		}
		it.keep(kv)
		kv = it.merged.Prev()
	}
	return kv
}

func (it *Iter) keep(kv *base.KV) {
	it.copied = kv.Trailer
	if !it.keysOnly {
		it.value = append(it.value[:0], kv.Value...)
	}
}

// fail picks up an error of the sources.
func (it *Iter) fail() error {
	if err := it.merged.Err(); err != nil {
		it.err = err
		it.e.damaged(err)
	}
	return it.err
}

// Valid reports whether a key is shown.
func (it *Iter) Valid() bool { return it.valid }

// Key is the key shown, valid until the next positioning call; nil when there
// is none.
func (it *Iter) Key() []byte {
	switch {
	case !it.valid:
		return nil
	case it.forward:
		return it.at.Key
	}
	return it.saved
}

// Value is the value shown, valid until the next positioning call. A value
// that cannot be read is nil, ends the walk, and Err says why.
func (it *Iter) Value() []byte {
	if !it.valid || it.keysOnly {
		return nil
	}
	t, v := it.copied, it.value
	if it.forward {
		t, v = it.at.Trailer, it.at.Value
	}
	if t.Kind() == base.KindPut {
		return v
	}
	b, err := it.s.v.appendValue(it.fetched[:0], v)
	if err != nil {
		it.e.damaged(err)
		it.err, it.valid = err, false
		return nil
	}
	it.fetched = b
	return b
}

// Err is what ended the walk early, or nil.
func (it *Iter) Err() error { return it.err }

// Close gives back what the iterator pins. The iterator must not be used
// again; closing it twice is a mistake that is answered with ErrClosed.
func (it *Iter) Close() error {
	if it.e == nil {
		return base.ErrClosed
	}
	err := it.err
	_ = it.merged.Close()
	e, s := it.e, it.s
	e.open.remove(&it.origin)
	it.e, it.s, it.at, it.valid, it.err = nil, nil, nil, false, nil
	s.release(it.shard)
	iterPool.Put(it)
	return err
}
