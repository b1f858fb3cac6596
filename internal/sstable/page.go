package sstable

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/sstable/block"
)

// load makes p a view of page n, kept alive by ref, which must be empty. hint
// is the position on the page that the caller will look at, or noHint.
func (r *Reader) load(n, hint int, scan bool, ref *cache.Handle, p *block.Page) error {
	off, stored := r.index.extent(n)
	// The cache has pages as they were before compression. A page that is not
	// compressed is read straight into the cache, with its trailer.
	size := r.index.rawLen(n)
	if size == 0 {
		size = stored
	}
	if r.cache == nil {
		b := make([]byte, size)
		if err := r.fill(b, n, off, stored); err != nil {
			return r.inPack(err)
		}
		return r.inPack(r.openPage(b, off, p))
	}
	h, state := r.cache.Acquire(cache.Key{File: r.fileID, Off: uint64(off)}, size, scan)
	if state == cache.Fill {
		if err := r.fill(h.Bytes(), n, off, stored); err != nil {
			h.Abort()
			return r.inPack(err)
		}
		if invariant.Enabled {
			r.checkPlace(h.Bytes(), n)
		}
		h.Publish()
	}
	b := h.Bytes()
	if hint >= 0 {
		p.Warm(b, int(uint64(hint)*(uint64(len(b))*r.headShare>>16)>>31))
	}
	if err := p.Open(b); err != nil {
		h.Release()
		return r.inPack(damaged(r.id.Name(), off, "page", err))
	}
	*ref = h
	return nil
}

// checkPlace panics if page n, whose checksum is good, is malformed, or if the
// index leads its keys to another page.
func (r *Reader) checkPlace(b []byte, n int) {
	var p block.Page
	if err := errors.Join(p.Open(b), p.Check()); err != nil {
		panic(fmt.Sprintf("sstable: %s, page %d: %v", r.id.Name(), n, err))
	}
	key := bytes.Clone(p.Prefix())
	var kv base.KV
	for i := range p.Len() {
		key = p.Load(i, &kv, key)
		if at, _ := r.index.find(kv.Key, kv.Trailer); at != n {
			panic(fmt.Sprintf("sstable: %s: the index leads %q %v to page %d, it is on %d", r.id.Name(), kv.Key, kv.Trailer, at, n))
		}
	}
}

func (r *Reader) openPage(b []byte, off int64, p *block.Page) error {
	if err := p.Open(b); err != nil {
		return damaged(r.id.Name(), off, "page", err)
	}
	return nil
}

// fill reads page n into b.
func (r *Reader) fill(b []byte, n int, off int64, stored int) error {
	if r.index.rawLen(n) == 0 {
		if err := r.readAt(b, off); err != nil {
			return err
		}
		return r.checkPage(b, off, compress.None)
	}
	buf := storedBuffers.Get().(*[]byte)
	defer storedBuffers.Put(buf)
	if cap(*buf) < stored {
		*buf = make([]byte, stored)
	}
	s := (*buf)[:stored]
	if err := r.readAt(s, off); err != nil {
		return err
	}
	return r.unpack(b, s, off)
}

// storedBuffers holds buffers for compressed pages.
var storedBuffers = sync.Pool{New: func() any { return new([]byte) }}

// unpack checks the stored bytes s of a compressed page at off, and
// decompresses them into b, whose length the index gave.
func (r *Reader) unpack(b, s []byte, off int64) error {
	if len(s) < packedTrailer {
		return base.Corruptf(r.id.Name(), off, "page of %d bytes is too short", len(s))
	}
	codec := compress.Codec(s[len(s)-packedTrailer])
	if err := r.checkPage(s, off, codec); err != nil {
		return err
	}
	if rawLen := le.Uint32(s[len(s)-packedTrailer+1:]); uint64(rawLen) != uint64(len(b)) || codec == compress.None {
		return base.Corruptf(r.id.Name(), off, "the page has %d bytes before compression, the index says %d", rawLen, len(b))
	}
	if err := compress.Decode(b, s[:len(s)-packedTrailer], codec); err != nil {
		return damaged(r.id.Name(), off, "page", err)
	}
	return nil
}

// checkPage verifies the checksum of a stored page.
func (r *Reader) checkPage(s []byte, off int64, codec compress.Codec) error {
	body := s[:len(s)-sumSize]
	if r.id.Checksum(off, body) != le.Uint32(s[len(body):]) {
		return base.Corruptf(r.id.Name(), off, "page checksum mismatch")
	}
	if codec == compress.None && compress.Codec(body[len(body)-1]) != compress.None {
		return base.Corruptf(r.id.Name(), off, "the page is compressed, but the index says that it is not")
	}
	return nil
}

// scaleHint turns the index's hint into an entry number.
func scaleHint(hint, n int) int {
	if hint < 0 {
		return block.NoHint
	}
	return int(uint64(hint) * uint64(n) >> 31)
}
