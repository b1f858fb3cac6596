package engine

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/memtable"
)

// prefixIter walks one keyspace's part of the memtable that several share, and
// shows its keys without the prefix.
type prefixIter struct {
	it     memtable.Iter
	prefix [prefixSize]byte
	end    [prefixSize]byte // the next prefix; there is always one
	place  place
	kv     base.KV
	buf    []byte // a key to seek, with its prefix
}

// place says where an iterator stands.
type place uint8

const (
	placeNone   place = iota // never positioned
	placeOn                  // on an entry
	placeBefore              // before the first
	placeAfter               // after the last
)

var _ base.Iterator = (*prefixIter)(nil)

// bound sets the keyspace. it must be initialised by the caller.
func (p *prefixIter) bound(k *Keyspace) {
	p.prefix, p.place = k.prefix, placeNone
	binary.BigEndian.PutUint32(p.end[:], k.id+1)
}

// show passes on an entry of the keyspace; anything else is its end.
func (p *prefixIter) show(kv *base.KV, otherwise place) *base.KV {
	if kv == nil || !bytes.HasPrefix(kv.Key, p.prefix[:]) {
		p.place = otherwise
		return nil
	}
	p.place = placeOn
	p.kv = base.KV{Key: kv.Key[prefixSize:], Trailer: kv.Trailer, Value: kv.Value}
	return &p.kv
}

func (p *prefixIter) SeekGE(key []byte, t base.Trailer) *base.KV {
	p.buf = append(append(p.buf[:0], p.prefix[:]...), key...)
	return p.show(p.it.SeekGE(p.buf, t), placeAfter)
}

func (p *prefixIter) SeekLT(key []byte) *base.KV {
	p.buf = append(append(p.buf[:0], p.prefix[:]...), key...)
	return p.show(p.it.SeekLT(p.buf), placeBefore)
}

func (p *prefixIter) First() *base.KV {
	return p.show(p.it.SeekGE(p.prefix[:], base.TrailerMax), placeAfter)
}

func (p *prefixIter) Last() *base.KV { return p.show(p.it.SeekLT(p.end[:]), placeBefore) }

func (p *prefixIter) Next() *base.KV {
	switch p.place {
	case placeOn:
		return p.show(p.it.Next(), placeAfter)
	case placeAfter:
		return nil
	}
	return p.First()
}

func (p *prefixIter) Prev() *base.KV {
	switch p.place {
	case placeOn:
		return p.show(p.it.Prev(), placeBefore)
	case placeBefore:
		return nil
	}
	return p.Last()
}

func (p *prefixIter) Err() error   { return p.it.Err() }
func (p *prefixIter) Close() error { return p.it.Close() }

// spacesIn lists the numbers of the keyspaces, the default one left out, that
// generations hold entries or range tombstones of, ascending.
func spacesIn(gens []*generation) []uint32 {
	var out []uint32
	for _, g := range gens {
		m := g.shared.Load()
		if m == nil {
			continue
		}
		var next [prefixSize]byte
		it := m.NewAllIter()
		for kv := it.SeekGE(next[:], base.TrailerMax); kv != nil; kv = it.SeekGE(next[:], base.TrailerMax) {
			id := binary.BigEndian.Uint32(kv.Key)
			out = append(out, id)
			binary.BigEndian.PutUint32(next[:], id+1)
		}
		l := m.Ranges().List()
		for i := range l.Len() {
			// Neighbouring ranges of two keyspaces may have become one fragment.
			f := l.At(i)
			for id := binary.BigEndian.Uint32(f.Lo); bytes.Compare(binary.BigEndian.AppendUint32(nil, id), f.Hi) < 0; id++ {
				out = append(out, id)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
