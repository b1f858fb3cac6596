package sstable

import (
	"math"
	"math/bits"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/learned"
	"github.com/seerdb-go/seerdb/internal/sstable/block"
)

// indexBuilder collects the parts of an index while pages are written.
type indexBuilder struct {
	offsets []int64  // where each page begins
	rawLens []uint32 // 0 if not compressed
	segs    []builtSegment
	keys    []byte // separators and model prefixes
	codes   []byte
	packed  bool // a page is compressed
}

// builtSegment is a segment. Its strings are in keys.
type builtSegment struct {
	sepOff, sepLen uint32
	trailer        base.Trailer // TrailerMax if the separator has none
	hasModel       bool
	code           uint8
	model          learned.Model
	preOff, preLen uint32 // the model's prefix
	firstPage      uint32
}

func (b *indexBuilder) reset() {
	*b = indexBuilder{offsets: b.offsets[:0], rawLens: b.rawLens[:0], segs: b.segs[:0], keys: b.keys[:0], codes: b.codes[:0]}
}

// addSegment begins a segment at the next page. The first segment of a table
// has an empty separator.
func (b *indexBuilder) addSegment(sep []byte, t base.Trailer) *builtSegment {
	b.segs = append(b.segs, builtSegment{
		sepOff: uint32(len(b.keys)), sepLen: uint32(len(sep)), trailer: t, firstPage: uint32(len(b.offsets)),
	})
	b.keys = append(b.keys, sep...)
	return &b.segs[len(b.segs)-1]
}

// setModel gives s a model over keys that begin with prefix. Consecutive models
// mostly share a prefix, which is then stored once.
func (b *indexBuilder) setModel(s *builtSegment, m learned.Model, code uint8, prefix []byte) {
	s.hasModel, s.model, s.code = true, m, code
	for i := len(b.segs) - 2; i >= 0 && i >= len(b.segs)-4; i-- {
		p := &b.segs[i]
		if p.hasModel && string(b.keys[p.preOff:p.preOff+p.preLen]) == string(prefix) {
			s.preOff, s.preLen = p.preOff, p.preLen
			return
		}
	}
	s.preOff, s.preLen = uint32(len(b.keys)), uint32(len(prefix))
	b.keys = append(b.keys, prefix...)
}

func (b *indexBuilder) addPage(off int64, rawLen int) {
	b.offsets = append(b.offsets, off)
	b.rawLens = append(b.rawLens, uint32(rawLen))
	b.packed = b.packed || rawLen != 0
}

// estimate returns roughly the size of the index so far.
func (b *indexBuilder) estimate() int { return 64 + 4*len(b.offsets) + 12*len(b.segs) + len(b.keys) }

// separator returns the shortest string s with prev < s <= first. If both are
// one user key it returns that key, with a trailer that separates the two
// entries.
func separator(prev []byte, prevT base.Trailer, first []byte) ([]byte, base.Trailer) {
	n := block.CommonPrefix(prev, first)
	if n == len(first) {
		return first, prevT - 1 // trailers descend: this is the first after prevT
	}
	return first[:n+1], base.TrailerMax
}

// finish appends the index of a table whose keys all begin with prefix and
// whose last page ends at end.
func (b *indexBuilder) finish(dst, prefix []byte, end int64) []byte {
	var heads, models, modelBits, modelRanks, extBits, extRanks, extOffs, heap, shared []byte
	words := (len(b.segs) + 63) / 64
	modelSet, extSet := make([]uint64, words), make([]uint64, words)
	nModels, nExts, extra := 0, 0, uint32(0)
	lastPre, lastOff := uint32(math.MaxUint32), uint32(0)
	for i := range b.segs {
		s := &b.segs[i]
		if i == 0 {
			heads = le.AppendUint64(heads, 0)
		} else {
			rest := b.keys[s.sepOff : s.sepOff+s.sepLen][len(prefix):]
			heads = le.AppendUint64(heads, base.Head(rest))
			if s.trailer != base.TrailerMax || len(rest) > 8 || rest[len(rest)-1] == 0 {
				extSet[i/64] |= 1 << (i % 64)
				nExts++
				extOffs = le.AppendUint32(extOffs, uint32(len(heap)))
				heap = appendExtension(heap, rest, s.trailer)
			}
		}
		if !s.hasModel {
			continue
		}
		next := uint32(len(b.offsets))
		if i+1 < len(b.segs) {
			next = b.segs[i+1].firstPage
		}
		modelSet[i/64] |= 1 << (i % 64)
		nModels++
		pre := b.keys[s.preOff : s.preOff+s.preLen][len(prefix):]
		if s.preOff != lastPre {
			lastPre, lastOff = s.preOff, uint32(len(shared))
			shared = append(shared, pre...)
		}
		models = le.AppendUint64(models, s.model.X0)
		models = le.AppendUint64(models, s.model.Slope)
		models = le.AppendUint32(models, extra)
		models = le.AppendUint32(models, lastOff)
		models = le.AppendUint32(models, uint32(len(pre)))
		models = append(models, s.code, s.model.Shift, 0, 0)
		extra += next - s.firstPage - 1
	}
	if nModels > 0 {
		modelBits, modelRanks = rankColumns(modelSet)
	}
	if nExts > 0 {
		extBits, extRanks = rankColumns(extSet)
		extOffs = le.AppendUint32(extOffs, uint32(len(heap)))
	}
	// Extensions end where the next one begins, so models' prefixes come last.
	for m := range nModels {
		off := models[m*modelSize+20:]
		le.PutUint32(off, le.Uint32(off)+uint32(len(heap)))
	}
	heap = append(heap, shared...)
	anchors, residuals, rw := b.offsetColumns(end)
	rawLens, lw := b.rawLenColumn()

	for _, n := range []int{len(b.offsets), len(b.segs), nModels, nExts, len(prefix), len(heap), len(b.codes)} {
		dst = le.AppendUint32(dst, uint32(n))
	}
	dst = append(dst, byte(rw), byte(lw), 0, 0)
	for _, c := range [][]byte{
		heads, modelBits, modelRanks, models, extBits, extRanks, extOffs,
		anchors, residuals, rawLens, b.codes, prefix, heap,
	} {
		dst = append(dst, c...)
	}
	return dst
}

func appendExtension(heap, rest []byte, t base.Trailer) []byte {
	hl := min(len(rest), 8)
	if t == base.TrailerMax {
		heap = append(heap, byte(hl))
	} else {
		heap = le.AppendUint64(append(heap, byte(hl)|extTrailer), uint64(t))
	}
	return append(heap, rest[hl:]...)
}

func rankColumns(set []uint64) (words, ranks []byte) {
	sum := 0
	for _, w := range set {
		words = le.AppendUint64(words, w)
		ranks = le.AppendUint32(ranks, uint32(sum))
		sum += bits.OnesCount64(w)
	}
	return words, ranks
}

// offsetColumns stores the offsets of the pages as distances from the line
// between two anchors, mostly in 2 bytes a page.
func (b *indexBuilder) offsetColumns(end int64) (anchors, residuals []byte, width int) {
	offs := append(b.offsets, end)
	n := len(b.offsets)
	x := &index{residualWidth: 8, residuals: make([]byte, 8*len(offs))}
	for k := range n>>anchorShift + 2 {
		i := k << anchorShift
		a := uint64(0)
		if i <= n {
			a = uint64(offs[i])
		} else if from := i - 1<<anchorShift; from < n {
			// The last stretch is shorter: continue its slope.
			a = uint64(offs[from]) + uint64(end-offs[from])<<anchorShift/uint64(n-from)
		} else {
			a = uint64(end)
		}
		x.anchors = le.AppendUint64(x.anchors, a)
	}
	var largest int64
	res := make([]int64, len(offs))
	for i, off := range offs {
		res[i] = off - x.offset(i)
		largest = max(largest, res[i], -res[i])
	}
	width = 8
	if largest <= math.MaxInt16 {
		width = 2
	} else if largest <= math.MaxInt32 {
		width = 4
	}
	for _, r := range res {
		switch width {
		case 2:
			residuals = le.AppendUint16(residuals, uint16(r))
		case 4:
			residuals = le.AppendUint32(residuals, uint32(r))
		default:
			residuals = le.AppendUint64(residuals, uint64(r))
		}
	}
	return x.anchors, residuals, width
}

func (b *indexBuilder) rawLenColumn() (col []byte, width int) {
	if !b.packed {
		return nil, 0
	}
	width = 2
	for _, n := range b.rawLens {
		if n > math.MaxUint16 {
			width = 4
		}
	}
	for _, n := range b.rawLens {
		if width == 2 {
			col = le.AppendUint16(col, uint16(n))
		} else {
			col = le.AppendUint32(col, n)
		}
	}
	return col, width
}
