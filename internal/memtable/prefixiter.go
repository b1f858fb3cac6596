package memtable

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/base"
)

// prefixIter walks one keyspace's part of the shared half and removes the
// prefix from keys.
type prefixIter struct {
	it       Iter
	prefix   [prefixSize]byte
	end      [prefixSize]byte // the next prefix, which always exists
	position position
	kv       base.KV
	buf      []byte // a prefixed key to seek
}

var _ base.Iterator = (*prefixIter)(nil)

// bound sets the keyspace. The caller initialises it.
func (p *prefixIter) bound(keyspace uint32) {
	p.prefix, p.end, p.position = prefixOf(keyspace), prefixOf(keyspace+1), unpositioned
}

// show returns an entry of the keyspace without its prefix; any other entry is
// the end.
func (p *prefixIter) show(kv *base.KV, otherwise position) *base.KV {
	if kv == nil || !bytes.HasPrefix(kv.Key, p.prefix[:]) {
		p.position = otherwise
		return nil
	}
	p.position = onEntry
	p.kv = base.KV{Key: kv.Key[prefixSize:], Trailer: kv.Trailer, Value: kv.Value}
	return &p.kv
}

func (p *prefixIter) SeekGE(key []byte, t base.Trailer) *base.KV {
	p.buf = append(append(p.buf[:0], p.prefix[:]...), key...)
	return p.show(p.it.SeekGE(p.buf, t), afterLast)
}

func (p *prefixIter) SeekLT(key []byte) *base.KV {
	p.buf = append(append(p.buf[:0], p.prefix[:]...), key...)
	return p.show(p.it.SeekLT(p.buf), beforeFirst)
}

func (p *prefixIter) First() *base.KV {
	return p.show(p.it.SeekGE(p.prefix[:], base.TrailerMax), afterLast)
}

func (p *prefixIter) Last() *base.KV { return p.show(p.it.SeekLT(p.end[:]), beforeFirst) }

func (p *prefixIter) Next() *base.KV {
	switch p.position {
	case onEntry:
		return p.show(p.it.Next(), afterLast)
	case afterLast:
		return nil
	}
	return p.First()
}

func (p *prefixIter) Prev() *base.KV {
	switch p.position {
	case onEntry:
		return p.show(p.it.Prev(), beforeFirst)
	case beforeFirst:
		return nil
	}
	return p.Last()
}

func (p *prefixIter) Err() error   { return p.it.Err() }
func (p *prefixIter) Close() error { return p.it.Close() }
