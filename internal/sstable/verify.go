package sstable

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/sstable/block"
)

// Verify reads the whole table, without the cache, and verifies all of it:
// checksums, the layout of every page, the order, that the index leads every
// key to its page and the filter contains it, and that the properties agree
// with the entries. progress, if not nil, is called with the number of bytes
// done.
func (r *Reader) Verify(ctx context.Context, progress func(bytesDone int64)) error {
	return r.inPack(r.verify(ctx, progress))
}

func (r *Reader) verify(ctx context.Context, progress func(bytesDone int64)) error {
	v := verifier{r: r}
	for n := range r.index.pages {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := v.page(n); err != nil {
			return err
		}
		if progress != nil {
			progress(r.index.offset(n + 1))
		}
	}
	if err := v.totals(); err != nil {
		return err
	}
	if progress != nil {
		progress(r.size)
	}
	return nil
}

// verifier counts the entries, to compare them with the properties.
type verifier struct {
	r         *Reader
	spans     spans
	seen      Properties
	kv        base.KV
	key, prev []byte
	prevT     base.Trailer
}

func (v *verifier) page(n int) error {
	r, off := v.r, v.r.index.offset(n)
	var p block.Page
	if err := v.spans.load(r, n, &p); err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		return damaged(r.id.Name(), off, "page", err)
	}
	v.key = append(v.key[:0], p.Prefix()...)
	for i := range p.Len() {
		v.key = p.Load(i, &v.kv, v.key)
		if err := v.entry(n, v.kv.Key, v.kv.Trailer, v.kv.Value); err != nil {
			return damaged(r.id.Name(), off, "page", fmt.Errorf("entry %d: %w", i, err))
		}
		v.prev, v.prevT = append(v.prev[:0], v.kv.Key...), v.kv.Trailer
	}
	return nil
}

var (
	errOrder  = errors.New("out of order with the previous page")
	errLost   = errors.New("the index leads to another page")
	errFilter = errors.New("the filter does not contain its key")
	errKind   = errors.New("the kind is unknown")
)

func (v *verifier) entry(n int, key []byte, t base.Trailer, value []byte) error {
	s := &v.seen
	seq := t.Seq()
	newKey := s.Entries == 0 || !bytes.Equal(v.prev, key)
	if s.Entries == 0 {
		s.Smallest = bytes.Clone(key)
		s.SmallestSeq, s.LargestSeq = seq, seq
	} else if base.Compare(v.prev, v.prevT, key, t) >= 0 {
		return errOrder
	}
	if page, _ := v.r.index.find(key, t); page != n {
		return errLost
	}
	if t.Kind() > base.KindMax || t.Kind() == base.KindRangeDelete {
		return errKind
	}
	if newKey {
		s.Keys++
		if !v.r.MayContain(base.Hash(key)) {
			return errFilter
		}
	}
	s.Entries++
	s.ByKind[t.Kind()]++
	s.RawKeyBytes += uint64(len(key))
	s.RawValueBytes += uint64(len(value))
	s.SmallestSeq, s.LargestSeq = min(s.SmallestSeq, seq), max(s.LargestSeq, seq)
	return nil
}

func (v *verifier) totals() error {
	s, p := &v.seen, v.r.props
	s.Largest = v.prev
	if s.Entries != p.Entries || s.Keys != p.Keys || s.ByKind != p.ByKind ||
		s.RawKeyBytes != p.RawKeyBytes || s.RawValueBytes != p.RawValueBytes ||
		s.SmallestSeq != p.SmallestSeq || s.LargestSeq != p.LargestSeq ||
		!bytes.Equal(s.Smallest, p.Smallest) || !bytes.Equal(s.Largest, p.Largest) {
		return base.Corruptf(v.r.id.Name(), -1, "the properties say %d entries of %d keys, the pages have %d of %d; or their sizes or bounds differ",
			p.Entries, p.Keys, s.Entries, s.Keys)
	}
	return nil
}
