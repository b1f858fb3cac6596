package sstable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compress"
	"github.com/seerdb-go/seerdb/internal/filter"
	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/sstable/block"
)

// DefaultPageSize is the target size of pages before compression, as measured
// in index_bench_test.go.
const DefaultPageSize = 8 << 10

// WriterOptions configure a table.
type WriterOptions struct {
	ID         base.Identity
	PageSize   int // 0 means DefaultPageSize
	Codec      compress.Codec
	FilterBits float64 // per distinct user key; 0 for no filter
	Index      IndexMode
	Scratch    *Scratch // of the job; nil if the writer allocates its own
}

const (
	// chunkPages is how many pages are planned at a time: enough that a model's
	// 40 bytes are negligible, few enough that the waiting entries stay in the
	// cache.
	chunkPages = 128
	// writeSize is how many bytes are gathered for a write.
	writeSize = 256 << 10
)

// Writer makes a table from sorted entries. It is used by one goroutine.
type Writer struct {
	w   io.Writer
	o   WriterOptions
	err error // sticky; errFinished after Finish

	chunkSize int
	planAt    int // size of the arena at which pages are laid out
	props     Properties
	ranges    []rangedel.Fragment
	rangeSize int   // rough size of ranges in the file
	off       int64 // bytes written so far, including those in out
	prevT     base.Trailer
	*scratch
}

// scratch is the memory of a writer. It passes from one writer to the next: a
// compaction makes a table every few megabytes, and allocating all this for
// each cost the collector four times the table's size.
type scratch struct {
	// Entries not yet laid out. The next key is compared with the last one's.
	arena []byte
	es    []block.Entry

	planner planner
	index   indexBuilder
	filter  filter.Builder
	out     []byte // bytes waiting to be written to w
	raw     []byte // the page being laid out
	prevKey []byte // last key laid out, once it is not in the arena any more
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Scratch is memory that the writers of a job use one after another. The zero
// value is ready. Used by one goroutine. Without it memory passes between
// writers through a sync.Pool, which the collector may empty while a table is
// synced: filters of 100 million keys, built in a small heap, were then
// allocated anew for each table, 1.9 GB in all.
type Scratch struct{ idle *scratch }

func (s *Scratch) get() *scratch {
	if s == nil || s.idle == nil {
		return scratches.Get().(*scratch)
	}
	x := s.idle
	s.idle = nil
	return x
}

func (s *Scratch) put(x *scratch) {
	if s == nil {
		scratches.Put(x)
		return
	}
	s.idle = x
}

// Release makes the memory available to other jobs.
func (s *Scratch) Release() {
	if s.idle != nil {
		scratches.Put(s.idle)
		s.idle = nil
	}
}

var errFinished = errors.New("sstable: the table is finished")

// NewWriter returns a writer of a table to w, whose first byte is at offset 0
// of its file.
func NewWriter(w io.Writer, o WriterOptions) *Writer {
	if o.PageSize <= 0 {
		o.PageSize = DefaultPageSize
	}
	wr := &Writer{w: w, o: o, chunkSize: chunkPages * o.PageSize, scratch: o.Scratch.get()}
	wr.planAt = wr.chunkSize
	wr.arena, wr.es, wr.out, wr.prevKey = wr.arena[:0], wr.es[:0], wr.out[:0], wr.prevKey[:0]
	wr.planner.reset(o.Index, o.PageSize)
	wr.index.reset()
	wr.filter.Reset()
	wr.props.Codec, wr.props.PageSize, wr.props.FilterBits = uint8(o.Codec), uint64(o.PageSize), o.FilterBits
	return wr
}

// Add appends an entry, which must sort after all before it. It copies the
// bytes. Errors are sticky.
func (w *Writer) Add(key []byte, t base.Trailer, value []byte) error {
	if w.err != nil {
		return w.err
	}
	if len(key) > base.MaxKeySize || len(value) > base.MaxValueSize {
		return w.fail(fmt.Errorf("sstable: entry with a key of %d and a value of %d bytes is too large", len(key), len(value)))
	}
	if t.Kind() > base.KindMax || t.Kind() == base.KindRangeDelete {
		return w.fail(fmt.Errorf("sstable: an entry cannot have kind %d", t.Kind()))
	}
	newKey := true
	if n := len(w.es); n > 0 {
		last := &w.es[n-1]
		c := base.Compare(last.Key(w.arena), last.Trailer, key, t)
		if c >= 0 {
			return w.fail(fmt.Errorf("sstable: entry %q %v is out of order after %q %v", key, t, last.Key(w.arena), last.Trailer))
		}
		newKey = len(key) != int(last.KeyLen) || string(key) != string(last.Key(w.arena))
	}
	if len(w.arena) >= w.planAt {
		if err := w.layOut(false); err != nil {
			return err
		}
	}
	if newKey {
		w.props.Keys++
		if w.o.FilterBits > 0 {
			w.filter.AddHash(base.Hash(key))
		}
	}
	w.count(key, t, value)
	w.es = append(w.es, block.Entry{Trailer: t, Off: uint32(len(w.arena)), KeyLen: uint32(len(key)), ValLen: uint32(len(value))})
	w.arena = append(append(w.arena, key...), value...)
	return nil
}

// AddRange adds a fragment of range tombstones, which must come after all
// fragments before it; its order among the entries does not matter. It copies
// the bytes. Errors are sticky.
func (w *Writer) AddRange(f rangedel.Fragment) error {
	if w.err != nil {
		return w.err
	}
	if len(f.Lo) > base.MaxKeySize || len(f.Hi) > base.MaxKeySize || len(f.Seqs) == 0 {
		return w.fail(fmt.Errorf("sstable: invalid range tombstone with keys of %d and %d bytes and %d sequences", len(f.Lo), len(f.Hi), len(f.Seqs)))
	}
	ordered := f.Hi == nil || bytes.Compare(f.Lo, f.Hi) < 0
	if n := len(w.ranges); n > 0 && ordered {
		last := &w.ranges[n-1]
		ordered = last.Hi != nil && bytes.Compare(last.Hi, f.Lo) <= 0
	}
	for i := 1; i < len(f.Seqs); i++ {
		ordered = ordered && f.Seqs[i-1] > f.Seqs[i]
	}
	if !ordered || f.Seqs[0] > base.SeqNumMax || f.Seqs[len(f.Seqs)-1] == 0 {
		return w.fail(fmt.Errorf("sstable: range tombstone from %q to %q at sequences %d is out of order", f.Lo, f.Hi, f.Seqs))
	}
	w.ranges = append(w.ranges, rangedel.Fragment{Lo: bytes.Clone(f.Lo), Hi: bytes.Clone(f.Hi), Seqs: slices.Clone(f.Seqs)})
	w.rangeSize += rangedel.EncodedBound(&f)
	return nil
}

func (w *Writer) count(key []byte, t base.Trailer, value []byte) {
	p := &w.props
	seq := t.Seq()
	if p.Entries == 0 {
		p.Smallest = slices.Clone(key)
		if p.Smallest == nil {
			p.Smallest = []byte{}
		}
		p.SmallestSeq, p.LargestSeq = seq, seq
	}
	p.Entries++
	p.ByKind[t.Kind()]++
	p.RawKeyBytes += uint64(len(key))
	p.RawValueBytes += uint64(len(value))
	p.SmallestSeq, p.LargestSeq = min(p.SmallestSeq, seq), max(p.LargestSeq, seq)
}

func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return w.err
}

// layOut plans the waiting entries and writes their pages. Unless last is set
// it keeps the entries of the last page, which is likely incomplete.
func (w *Writer) layOut(last bool) error {
	begin := time.Now()
	shared := block.CommonPrefix(w.props.Smallest, w.es[len(w.es)-1].Key(w.arena))
	w.planner.plan(w.arena, w.es, shared)
	w.props.TrainNanos += time.Since(begin).Nanoseconds()
	segs, ends := w.planner.segs, w.planner.ends
	if !last {
		ends = ends[:len(ends)-1]
		if s := &segs[len(segs)-1]; s.pages > 1 {
			s.pages--
		} else {
			segs = segs[:len(segs)-1]
		}
	}
	start, page := 0, 0
	for i := range segs {
		w.beginSegment(&segs[i], start)
		for range segs[i].pages {
			if err := w.writePage(w.es[start:ends[page]]); err != nil {
				return err
			}
			start = ends[page]
			page++
		}
	}
	if start == 0 {
		// The keys are long and differ little: a page holds more than a chunk.
		w.planAt = len(w.arena) + w.chunkSize
		return nil
	}
	e := &w.es[start-1]
	w.prevKey, w.prevT = append(w.prevKey[:0], e.Key(w.arena)...), e.Trailer
	w.drop(start)
	w.planAt = len(w.arena) + w.chunkSize
	return nil
}

// drop removes the first n entries. The last entry, which only Finish drops,
// holds the largest key.
func (w *Writer) drop(n int) {
	if n == len(w.es) {
		w.arena, w.es = w.arena[:0], w.es[:0]
		return
	}
	cut := w.es[n].Off
	rest := w.arena[cut:]
	if cap(w.arena) > 4*w.chunkSize && len(rest) <= w.chunkSize {
		w.arena = slices.Grow([]byte(nil), 2*w.chunkSize) // do not keep the memory of one huge value
	}
	w.arena = append(w.arena[:0], rest...)
	w.es = append(w.es[:0], w.es[n:]...)
	for i := range w.es {
		w.es[i].Off -= cut
	}
}

// beginSegment adds the separator and the model of a segment whose first entry
// is es[start].
func (w *Writer) beginSegment(s *segment, start int) {
	first := &w.es[start]
	key := first.Key(w.arena)
	var sep []byte
	t := base.TrailerMax
	if len(w.index.segs) > 0 {
		prev, prevT := w.prevKey, w.prevT
		if start > 0 {
			e := &w.es[start-1]
			prev, prevT = e.Key(w.arena), e.Trailer
		}
		sep, t = separator(prev, prevT, key)
	}
	b := w.index.addSegment(sep, t)
	if s.hasModel && s.pages > 1 {
		w.index.setModel(b, s.model, s.code, key[:s.prefix])
		w.props.LearnedPages += uint64(s.pages)
	} else {
		w.props.FencePages += uint64(s.pages)
	}
}

// writePage lays out a page, and compresses it if that saves an eighth.
func (w *Writer) writePage(es []block.Entry) error {
	w.raw = block.Encode(w.raw[:0], w.arena, es)
	if invariant.Enabled {
		var p block.Page
		if err := errors.Join(p.Open(w.raw), p.Check()); err != nil {
			panic(fmt.Sprintf("sstable: wrote a bad page: %v", err))
		}
	}
	rawLen := len(w.raw)
	w.props.RawBytes += uint64(rawLen)
	start := len(w.out)
	codec := w.o.Codec
	if codec != compress.None {
		w.out = compress.Encode(w.out, w.raw, codec)
		if n := len(w.out) - start; n > rawLen-rawLen/8 || n < rawLen/maxRatio {
			w.out, codec = w.out[:start], compress.None
		}
	}
	if codec == compress.None {
		w.out = append(append(w.out, w.raw...), byte(compress.None))
		w.index.addPage(w.off, 0)
	} else {
		w.out = le.AppendUint32(append(w.out, byte(codec)), uint32(rawLen))
		w.index.addPage(w.off, rawLen)
	}
	w.out = le.AppendUint32(w.out, w.o.ID.Checksum(w.off, w.out[start:]))
	w.off += int64(len(w.out) - start)
	w.props.Pages++
	if cap(w.raw) > 64*w.o.PageSize+1<<20 {
		w.raw = nil
	}
	if len(w.out) >= writeSize {
		return w.flush()
	}
	return nil
}

func (w *Writer) flush() error {
	_, err := w.w.Write(w.out)
	w.out = w.out[:0]
	if cap(w.out) > 8*writeSize {
		w.out = nil
	}
	if err != nil {
		return w.fail(err)
	}
	return nil
}

// EstimatedSize returns roughly the length that the file would have if it were
// finished now. It is rather too high, since waiting entries count
// uncompressed.
func (w *Writer) EstimatedSize() uint64 {
	if w.scratch == nil {
		return uint64(w.off)
	}
	const perEntry = 16 // more than the head and row of an entry take besides its bytes
	return w.WrittenSize() + uint64(len(w.arena)+perEntry*len(w.es))
}

// WrittenSize is EstimatedSize without the entries that wait to be compressed.
func (w *Writer) WrittenSize() uint64 {
	if w.scratch == nil {
		return uint64(w.off)
	}
	return uint64(w.off) + uint64(w.index.estimate()+w.filter.EstimatedSize(w.o.FilterBits)+w.rangeSize) + footerSize + 256
}

// Info describes a finished table for the manifest.
type Info struct {
	Size                    uint64
	Smallest, Largest       []byte // user keys of entries and range tombstones
	LargestBound            base.Bound
	Ranges                  uint64 // fragments of range tombstones
	SmallestSeq, LargestSeq base.SeqNum
	Props                   Properties
}

// Finish writes the rest of the table. It neither syncs nor closes the file. It
// fails if the table has neither an entry nor a range tombstone.
func (w *Writer) Finish() (Info, error) {
	if w.err != nil {
		return Info{}, w.err
	}
	if len(w.es) == 0 && len(w.ranges) == 0 {
		return Info{}, w.fail(errors.New("sstable: Finish of an empty table"))
	}
	p := &w.props
	p.Ranges = rangedel.FromFragments(w.ranges)
	if len(w.es) > 0 {
		p.Largest = append([]byte{}, w.es[len(w.es)-1].Key(w.arena)...)
		if err := w.layOut(true); err != nil {
			return Info{}, err
		}
	}
	p.DataBytes, p.Segments = uint64(w.off), uint64(len(w.index.segs))
	var f footer
	f.format = w.o.ID.Format()
	f.filter = w.section(func(dst []byte) []byte {
		if w.o.FilterBits > 0 && p.Entries > 0 {
			dst = w.filter.Finish(dst, w.o.FilterBits)
		}
		return dst
	})
	for _, c := range w.planner.codes[1:] {
		d := c.Description()
		w.index.codes = append(append(w.index.codes, byte(len(d))), d...)
	}
	end := int64(p.DataBytes)
	f.index = w.section(func(dst []byte) []byte {
		if p.Entries == 0 {
			return dst
		}
		return w.index.finish(dst, p.Smallest[:block.CommonPrefix(p.Smallest, p.Largest)], end)
	})
	p.FilterBytes, p.IndexBytes = f.filter.len, f.index.len
	f.props = w.section(p.append)
	start := len(w.out)
	w.out = f.append(w.out, w.o.ID, w.off)
	w.off += int64(len(w.out) - start)
	if err := w.flush(); err != nil {
		return Info{}, err
	}
	if cap(w.arena) <= 4*w.chunkSize {
		w.o.Scratch.put(w.scratch)
	}
	w.scratch, w.err = nil, errFinished
	b := p.bounds()
	return Info{
		Size: uint64(w.off), Smallest: b.smallest, Largest: b.end.Key, LargestBound: b.end.Bound,
		Ranges: uint64(p.Ranges.Len()), SmallestSeq: b.smallestSeq, LargestSeq: b.newestSeq, Props: *p,
	}, nil
}

// section writes what fn appends, followed by its checksum.
func (w *Writer) section(fn func(dst []byte) []byte) section {
	start := len(w.out)
	w.out = fn(w.out)
	b := w.out[start:]
	s := section{uint64(w.off), uint64(len(b))}
	w.out = le.AppendUint32(w.out, w.o.ID.Checksum(w.off, b))
	w.off += int64(len(b)) + sumSize
	return s
}
