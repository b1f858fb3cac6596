package sstable

import (
	"bytes"
	"math/bits"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Rank is roughly how much of a table is before a key.
type Rank struct {
	// Entries counts versions and tombstones, but not range tombstones.
	Entries uint64
	// Bytes is the size in the file: of the pages before the key, and of a
	// proportional part of the metadata.
	Bytes uint64
}

// Rank estimates how much of the table is before key, all versions of which
// come after it. It uses only the index and the properties, which are in
// memory, and is monotone in key.
//
// The page is the one where key belongs. The position on the page is guessed:
// by the model's line, or by a line between the separators of the page and of
// the next one. The number of entries on the pages before is proportional to
// the size of those pages before compression. So if entries have the same size
// everywhere the error is at most a page; otherwise it grows with the
// difference in size between the two ends.
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

// onePage is a whole page in the unit of parts of a page.
const onePage = 1 << 32

// share returns n*part/whole, and at most n.
func share(n, part, whole uint64) uint64 {
	if part >= whole {
		return n
	}
	hi, lo := bits.Mul64(n, part)
	q, _ := bits.Div64(hi, lo, whole)
	return q
}

// weighed is roughly how many pages weight visits in a compressed table. A page
// takes some nanoseconds.
const weighed = 2048

// weight returns how many bytes before compression come before a part of a page
// (in units of 1/onePage), and of how many in all. In a table of very many
// pages it visits a sample. all is the size of the table's pages before
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

// lenBefore returns the size of the pages before a page, before compression;
// all is the size of all pages. It counts from the nearer end.
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

// pageLen returns the size of a page before compression.
func (x *index) pageLen(i int) uint64 {
	if n := x.rawLen(i); n != 0 {
		return uint64(n)
	}
	_, stored := x.extent(i)
	return uint64(stored - rawTrailer)
}

// place returns the page where key belongs, and roughly which part of that
// page, in units of 1/onePage, is before key. key is between the keys of the
// table, of which largest is the last.
func (x *index) place(key, largest []byte) (page int, part uint64) {
	page, hint := x.find(key, base.TrailerMax)
	if hint != noHint {
		return page, uint64(hint) << 1
	}
	rest, _ := bytes.CutPrefix(key, x.prefix) // key has the prefix, since it is between two keys that do
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
	if start >= end { // the separators have the same head
		return page, onePage / 2
	}
	return page, share(onePage, h-start, end-start)
}

// modelled reports whether segment seg has a model, and if so returns its
// pages.
func (x *index) modelled(seg int) (first, pages int, ok bool) {
	word, bit := seg>>6, uint64(1)<<(seg&63)
	set := le.Uint64(x.modelBits[word*8:])
	m := int(le.Uint32(x.modelRanks[word*4:])) + bits.OnesCount64(set&(bit-1))
	if set&bit == 0 {
		return 0, 0, false
	}
	return seg + x.extraBefore(m), 1 + x.extraBefore(m+1) - x.extraBefore(m), true
}

// besideModel returns the part of page i of a model that is before a key for
// which the model predicts nothing: on its first page or on its last.
func besideModel(i, pages int) uint64 {
	switch {
	case pages == 1:
		return onePage / 2
	case i == 0:
		return 0
	}
	return onePage
}
