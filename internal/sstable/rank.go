package sstable

import (
	"bytes"
	"math/bits"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Rank is about how much of a table lies before a key.
type Rank struct {
	// Entries are versions and tombstones, without range tombstones.
	Entries uint64
	// Bytes are those of the file: of the pages before the key, and as large a
	// part of the metadata.
	Bytes uint64
}

// Rank estimates how much of the table lies before key, all versions of which lie
// behind it. It goes by the index and the properties alone, which are in memory,
// and does not descend as keys ascend.
//
// The page is the one that has the key or would have it. Where on the page is
// guessed: by the model's line, or by a line between the separators of the page
// and of the next one. How many entries lie on the pages before is what those
// pages take, before compression, of all the pages. So where entries take the
// same everywhere the error is at most a page; where those at one end are larger
// than those at the other it is as much more as they differ.
func (r *Reader) Rank(key []byte) Rank {
	p := r.props
	switch {
	case p.Entries == 0 || bytes.Compare(key, p.Smallest) <= 0:
		return Rank{}
	case bytes.Compare(key, p.Largest) > 0:
		return Rank{Entries: p.Entries, Bytes: uint64(r.size)}
	}
	page, part := r.index.place(key, p.Largest)
	off, stored := r.index.extent(page)
	before, all := r.index.weight(page, part, p.RawBytes)
	return Rank{
		Entries: share(p.Entries, before, all),
		Bytes:   share(uint64(r.size), uint64(off)+share(uint64(stored), part, onePage), p.DataBytes),
	}
}

// onePage is a whole page as a part of one.
const onePage = 1 << 32

// share is n*part/whole, and at most n.
func share(n, part, whole uint64) uint64 {
	if part >= whole {
		return n
	}
	hi, lo := bits.Mul64(n, part)
	q, _ := bits.Div64(hi, lo, whole)
	return q
}

// weighed is how many pages weight looks at, about, of a table that is compressed.
// A page takes some nanoseconds.
const weighed = 2048

// weight returns how many bytes before compression lie before a part of a page,
// in parts of onePage, of how many in all. Of a table of very many pages it
// looks at every so many of them. all is what the pages of the table are before
// compression.
func (x *index) weight(page int, part, all uint64) (before, of uint64) {
	if x.rawWidth == 0 {
		off, stored := x.extent(page)
		return uint64(off) + share(uint64(stored), part, onePage), uint64(x.offset(x.pages))
	}
	step := (x.pages + weighed - 1) / weighed
	if step == 1 {
		return x.lenBefore(page, all) + share(x.pageLen(page), part, onePage), all
	}
	for i := 0; i < x.pages; i += step {
		n := x.pageLen(i)
		of += n
		switch {
		case i+step <= page:
			before += n
		case i <= page:
			before += share(n, uint64(page-i)*onePage+part, uint64(step)*onePage)
		}
	}
	return before, of
}

// lenBefore returns what the pages before one are before compression, of all.
// It counts from the end that is nearer.
func (x *index) lenBefore(page int, all uint64) (n uint64) {
	if page <= x.pages/2 {
		for i := range page {
			n += x.pageLen(i)
		}
		return n
	}
	for i := page; i < x.pages; i++ {
		n += x.pageLen(i)
	}
	return all - min(n, all)
}

// pageLen returns what a page is before compression.
func (x *index) pageLen(i int) uint64 {
	if n := x.rawLen(i); n != 0 {
		return uint64(n)
	}
	_, stored := x.extent(i)
	return uint64(stored - rawTrailer)
}

// place returns the page that has the first entry of key, or would have it, and
// about which part of it, in units of 1/onePage, lies before. key lies between the
// keys of the table, of which largest is the last.
func (x *index) place(key, largest []byte) (page int, part uint64) {
	page, hint := x.find(key, base.TrailerMax)
	if hint != noHint {
		return page, uint64(hint) << 1
	}
	rest, _ := bytes.CutPrefix(key, x.prefix) // which it has, lying between two keys that do
	h := base.Head(rest)
	seg := x.lastHead(h)
	if x.exts != 0 && le.Uint64(x.heads[seg*8:]) == h {
		seg = x.tie(seg, h, rest, base.TrailerMax)
	}
	if x.models != 0 {
		if first, pages, ok := x.modelled(seg); ok {
			return page, besideModel(page-first, pages)
		}
	}
	end := base.Head(largest[min(len(x.prefix), len(largest)):])
	if seg+1 < x.segments {
		end = le.Uint64(x.heads[(seg+1)*8:])
	}
	start := le.Uint64(x.heads[seg*8:])
	if start >= end { // separators that begin alike
		return page, onePage / 2
	}
	return page, share(onePage, h-start, end-start)
}

// modelled reports whether segment seg has a model, and which pages it has then.
func (x *index) modelled(seg int) (first, pages int, ok bool) {
	word, bit := seg>>6, uint64(1)<<(seg&63)
	set := le.Uint64(x.modelBits[word*8:])
	m := int(le.Uint32(x.modelRanks[word*4:])) + bits.OnesCount64(set&(bit-1))
	if set&bit == 0 {
		return 0, 0, false
	}
	return seg + x.extraBefore(m), 1 + x.extraBefore(m+1) - x.extraBefore(m), true
}

// besideModel returns the part of page i of a model that lies before a key
// which the model says nothing about: that is before its first page, or behind
// its last.
func besideModel(i, pages int) uint64 {
	switch {
	case pages == 1:
		return onePage / 2
	case i == 0:
		return 0
	}
	return onePage
}
