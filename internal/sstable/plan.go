package sstable

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/learned"
	"github.com/seerdb-go/seerdb/internal/sstable/block"
)

// IndexMode is the kind of index of a table.
type IndexMode uint8

const (
	// IndexAuto uses models where they make the index smaller, and fences
	// elsewhere.
	IndexAuto IndexMode = iota
	// IndexLearned uses a model wherever a line covers two pages.
	IndexLearned
	// IndexFences uses no models: the classical index.
	IndexFences
)

const (
	// maxDepth bounds how often a group of keys with one number is planned with
	// a deeper window. Each time costs a pass over the group.
	maxDepth = 16
	// entryOverhead is roughly the cost of an entry in a page besides the bytes
	// of its key and value: an offset and a trailer.
	entryOverhead = 4
	// pageOverhead is roughly the cost of a page besides its entries.
	pageOverhead = 40
	maxCodes     = 64

	// Costs in the index, in bytes.
	headBytes  = 8             // a separator's head
	modelBytes = modelSize + 8 // a segment with a model, its head included
	pageBytes  = 2             // a page of any segment
	extBytes   = 5             // a separator that is more than a head, besides its tail
)

// segment is a planned segment.
type segment struct {
	pages    int
	hasModel bool
	code     uint8
	prefix   int // length of the prefix that its keys share
	model    learned.Model
}

// planner decides where pages end. It plans a chunk of entries at a time and
// keeps its scratch memory.
type planner struct {
	mode   IndexMode
	limits learned.Limits
	codes  []*learned.Code // codes[0] is nil: raw

	arena   []byte // of the chunk being planned
	es      []block.Entry
	weights []uint64
	xs      []uint64

	sampleXs, sampleWeights []uint64
	sample                  learned.Sample

	fitter learned.Fitter
	desc   []byte
	base   int   // length of the common prefix of all keys of the table so far
	favour uint8 // the last used code
	failed int   // consecutive chunks that did not fit a model
	skip   int   // chunks to skip before trying again

	// The plan: the end of each page, as an index into es, and the segments.
	ends []int
	segs []segment
	// The plan not taken, kept for its memory.
	otherEnds []int
	otherSegs []segment
}

func (p *planner) reset(mode IndexMode, pageSize int) {
	target := uint64(max(pageSize-pageOverhead, 16))
	if mode == IndexAuto {
		mode = AutoMode
	}
	p.mode = mode
	p.limits = learned.Limits{Target: target, Min: target / 4, Max: 2 * target}
	p.codes = append(p.codes[:0], nil)
	p.favour, p.failed, p.skip = 0, 0, 0
}

// plan cuts es into pages. base is the length of the common prefix of all keys
// of the table so far.
func (p *planner) plan(arena []byte, es []block.Entry, base int) {
	p.arena, p.es, p.base = arena, es, base
	p.ends, p.segs = p.ends[:0], p.segs[:0]
	p.weigh()
	if p.mode == IndexFences || p.skip > 0 {
		p.skip = max(p.skip-1, 0)
		p.fences()
		return
	}
	if cap(p.xs) < len(es) {
		p.xs = make([]uint64, len(es)+len(es)/2)
	}
	p.xs = p.xs[:len(es)]
	codes := len(p.codes)
	p.cut(0, len(es), 0)
	if p.mode == IndexAuto {
		p.compare(codes)
	}
	p.backOff()
}

// compare replaces the plan by one of fences only if that takes fewer bytes.
// codes is how many codes there were before the plan.
func (p *planner) compare(codes int) {
	learnedCost := p.cost()
	for _, c := range p.codes[codes:] {
		learnedCost += 1 + len(c.Description())
	}
	p.ends, p.otherEnds = p.otherEnds[:0], p.ends
	p.segs, p.otherSegs = p.otherSegs[:0], p.segs
	p.fences()
	if p.cost() < learnedCost {
		p.codes = p.codes[:codes]
		if int(p.favour) >= codes {
			p.favour = 0
		}
		return
	}
	p.ends, p.otherEnds = p.otherEnds, p.ends
	p.segs, p.otherSegs = p.otherSegs, p.segs
}

// cost returns the size of the plan's index in bytes.
func (p *planner) cost() int {
	sum, page, start := 0, 0, 0
	for i := range p.segs {
		s := &p.segs[i]
		sum += pageBytes*s.pages + p.separatorBytes(start)
		if s.hasModel {
			sum += modelBytes - headBytes
		}
		page += s.pages
		start = p.ends[page-1]
	}
	return sum
}

// separatorBytes returns the size of the separator before entry i.
func (p *planner) separatorBytes(i int) int {
	if i == 0 {
		return headBytes
	}
	n := block.CommonPrefix(p.es[i-1].Key(p.arena), p.es[i].Key(p.arena)) + 1 - p.base
	if n <= 8 {
		return headBytes
	}
	return headBytes + extBytes + n - 8
}

// backOff stops trying models for keys that do not fit: after the third
// consecutive chunk of which less than a quarter fitted, for 2, 4, 8, ...
// chunks.
func (p *planner) backOff() {
	learnedPages := 0
	for i := range p.segs {
		if p.segs[i].hasModel {
			learnedPages += p.segs[i].pages
		}
	}
	if 4*learnedPages >= len(p.ends) {
		p.failed = 0
		return
	}
	if p.failed++; p.failed >= 3 && p.mode == IndexAuto {
		p.skip = 1 << min(p.failed-2, 6)
	}
}

// weigh estimates the size of each entry in its page.
func (p *planner) weigh() {
	first, last := p.es[0].Key(p.arena), p.es[len(p.es)-1].Key(p.arena)
	shared := block.CommonPrefix(first, last)
	p.weights = append(p.weights[:0], 0)
	sum := uint64(0)
	for i := range p.es {
		e := &p.es[i]
		sum += uint64(int(e.KeyLen)-shared) + uint64(e.ValLen) + entryOverhead
		p.weights = append(p.weights, sum)
	}
}

// number sets xs[lo:hi].
func (p *planner) number(lo, hi int, code uint8, prefix int) {
	c := p.codes[code]
	if c == nil {
		for i := lo; i < hi; i++ {
			p.xs[i] = base.HeadFrom(p.es[i].Key(p.arena), prefix)
		}
		return
	}
	for i := lo; i < hi; i++ {
		p.xs[i] = c.Number(p.es[i].Key(p.arena), prefix)
	}
}

// cut plans the entries lo to hi with the window after the common prefix of the
// first and the last of them. Inside another cut (depth > 0) it may leave a
// small rest to that one, and returns where the rest begins.
func (p *planner) cut(lo, hi, depth int) int {
	prefix := block.CommonPrefix(p.es[lo].Key(p.arena), p.es[hi-1].Key(p.arena))
	least := 2
	if p.mode == IndexAuto {
		least = modelBytes/p.fenceBytes(lo, hi) + 1
	}
	code := p.choose(lo, hi, prefix, least)
	for i := lo; i < hi; {
		m, ends := p.fitter.Fit(p.xs[i:hi], p.weights[i:hi+1], p.limits)
		if len(ends) >= least {
			p.segs = append(p.segs, segment{len(ends), true, code, prefix, m})
			for _, e := range ends {
				p.ends = append(p.ends, i+e)
			}
			i += ends[len(ends)-1]
			continue
		}
		end := p.groupEnd(i, hi)
		if w := p.weights[end] - p.weights[i]; w > p.limits.Max && w >= uint64(least)*p.limits.Target && depth < maxDepth &&
			block.CommonPrefix(p.es[i].Key(p.arena), p.es[end-1].Key(p.arena)) > prefix {
			// These pages are full of keys with one number: look deeper.
			i = p.cut(i, end, depth+1)
			p.number(i, end, code, prefix)
			continue
		}
		i = p.fence(i, hi)
	}
	if depth > 0 {
		return p.giveBack(lo, hi)
	}
	return hi
}

// giveBack removes the last page of the plan if it is less than half full and
// not the only one since lo, and returns where the plan ends.
func (p *planner) giveBack(lo, hi int) int {
	n := len(p.ends)
	if n < 2 || p.ends[n-2] <= lo || 2*(p.weights[hi]-p.weights[p.ends[n-2]]) >= p.limits.Target {
		return hi
	}
	p.ends = p.ends[:n-1]
	if s := &p.segs[len(p.segs)-1]; s.pages > 1 {
		s.pages--
	} else {
		p.segs = p.segs[:len(p.segs)-1]
	}
	return p.ends[n-2]
}

// fenceBytes returns roughly the size of a fence among the entries lo to hi.
func (p *planner) fenceBytes(lo, hi int) int {
	const samples = 8
	sum := 0
	for j := range samples {
		i := lo + (hi-lo)*(2*j+1)/(2*samples)
		sum += p.separatorBytes(i)
	}
	return sum / samples
}

// groupEnd returns the end of the numbers that equal xs[i].
func (p *planner) groupEnd(i, hi int) int {
	lo, step := i, 1
	for i+step < hi && p.xs[i+step] == p.xs[i] {
		lo, step = i+step, step*2
	}
	hi = min(hi, i+step)
	for lo+1 < hi {
		if m := int(uint(lo+hi) / 2); p.xs[m] == p.xs[i] {
			lo = m
		} else {
			hi = m
		}
	}
	return lo + 1
}

// pageEnd returns the end of a page of roughly the target weight, with at least
// one entry.
func (p *planner) pageEnd(i, hi int) int {
	limit := p.weights[i] + p.limits.Target
	lo, end := i, hi+1 // weights[lo] is within the limit, weights[end] is not
	for lo+1 < end {
		if m := int(uint(lo+end) / 2); p.weights[m] <= limit {
			lo = m
		} else {
			end = m
		}
	}
	return max(lo, i+1)
}

// fence adds one page and returns its end.
func (p *planner) fence(i, hi int) int {
	end := p.pageEnd(i, hi)
	p.ends = append(p.ends, end)
	p.segs = append(p.segs, segment{pages: 1})
	return end
}

// fences cuts pages by weight alone.
func (p *planner) fences() {
	for i := 0; i < len(p.es); {
		i = p.fence(i, len(p.es))
	}
}
