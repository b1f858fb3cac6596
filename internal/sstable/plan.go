package sstable

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/learned"
	"github.com/seerdb-go/seerdb/internal/sstable/block"
)

// IndexMode chooses how a table's pages are found.
type IndexMode uint8

const (
	// IndexAuto learns where that makes the index smaller, and uses fences
	// elsewhere.
	IndexAuto IndexMode = iota
	// IndexLearned learns wherever a line covers two pages.
	IndexLearned
	// IndexFences never learns: the classical twin.
	IndexFences
)

const (
	// minLearned is how many pages a model must cover to be smaller than the
	// fences it replaces: 32 bytes against at least 8 for each page but one.
	minLearned = 6
	// maxDepth bounds how often a group of keys with one number is looked at
	// through a deeper window. Each time costs a pass over the group.
	maxDepth = 16
	// entryOverhead is about what an entry costs in a page besides the bytes
	// of its key and value: offsets and a trailer.
	entryOverhead = 4
	// pageOverhead is about what a page costs besides its entries.
	pageOverhead = 40
	maxCodes     = 64
)

// segment is a run of pages, as planned.
type segment struct {
	pages    int
	hasModel bool
	code     uint8
	prefix   int // length of what its keys share
	model    learned.Model
}

// planner decides where pages end. It looks at a chunk of entries at a time
// and keeps its scratch memory.
type planner struct {
	mode   IndexMode
	limits learned.Limits
	codes  []*learned.Code // codes[0] is nil: raw

	arena   []byte // of the chunk being planned
	es      []block.Entry
	weights []uint64
	xs      []uint64
	sample  learned.Sample
	fitter  learned.Fitter
	desc    []byte
	favour  uint8 // the code that served last
	failed  int   // chunks in a row that did not fit
	skip    int   // chunks to go before trying again

	// The plan: where each page ends, as an index into es, and the segments.
	ends []int
	segs []segment
}

func (p *planner) reset(mode IndexMode, pageSize int) {
	target := uint64(max(pageSize-pageOverhead, 16))
	p.mode = mode
	p.limits = learned.Limits{Target: target, Min: target / 4, Max: 2 * target}
	p.codes = append(p.codes[:0], nil)
	p.favour, p.failed, p.skip = 0, 0, 0
}

// plan cuts es into pages.
func (p *planner) plan(arena []byte, es []block.Entry) {
	p.arena, p.es = arena, es
	p.ends, p.segs = p.ends[:0], p.segs[:0]
	p.weigh()
	if p.mode == IndexFences || p.skip > 0 {
		p.skip = max(p.skip-1, 0)
		p.fences(0, len(es))
		return
	}
	if cap(p.xs) < len(es) {
		p.xs = make([]uint64, len(es)+len(es)/2)
	}
	p.xs = p.xs[:len(es)]
	p.cut(0, len(es), 0)
	p.judge()
}

// judge gives up for a while on keys that do not fit: after the third chunk
// in a row of which less than a quarter was learned, for 2, 4, 8, ... chunks.
func (p *planner) judge() {
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

// weigh estimates what each entry will take in its page.
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

// number fills xs[lo:hi].
func (p *planner) number(lo, hi int, code uint8, prefix int) {
	c := p.codes[code]
	if c == nil {
		for i := lo; i < hi; i++ {
			p.xs[i] = learned.Raw(p.es[i].Key(p.arena), prefix)
		}
		return
	}
	for i := lo; i < hi; i++ {
		p.xs[i] = c.Number(p.es[i].Key(p.arena), prefix)
	}
}

// cut plans the entries lo to hi, which lie in the window behind what the
// first and the last of them share.
func (p *planner) cut(lo, hi, depth int) {
	prefix := block.CommonPrefix(p.es[lo].Key(p.arena), p.es[hi-1].Key(p.arena))
	code := p.choose(lo, hi, prefix)
	least := minLearned
	if p.mode == IndexLearned {
		least = 2
	}
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
		if end := p.groupEnd(i, hi); p.weights[end]-p.weights[i] > p.limits.Max {
			// More than a page of keys with one number: look deeper.
			deeper := block.CommonPrefix(p.es[i].Key(p.arena), p.es[end-1].Key(p.arena))
			if deeper > prefix && depth < maxDepth {
				p.cut(i, end, depth+1)
			} else {
				p.fences(i, end)
			}
			i = end
			continue
		}
		i = p.fence(i, hi)
	}
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

// fence adds one page of about the target weight and returns its end.
func (p *planner) fence(i, hi int) int {
	lo, end := i, hi
	limit := p.weights[i] + p.limits.Target
	for lo+1 < end {
		if m := int(uint(lo+end) / 2); p.weights[m] <= limit {
			lo = m
		} else {
			end = m
		}
	}
	if end == hi && p.weights[hi] <= limit {
		lo = hi
	}
	lo = max(lo, i+1)
	p.ends = append(p.ends, lo)
	p.segs = append(p.segs, segment{pages: 1})
	return lo
}

// fences cuts by weight alone.
func (p *planner) fences(lo, hi int) {
	for lo < hi {
		lo = p.fence(lo, hi)
	}
}

// choose picks the code under which the entries lo to hi need the smallest
// index, and leaves their numbers in xs. The code that served last is tried
// first, and is taken unseen by the others if one line covers everything.
func (p *planner) choose(lo, hi, prefix int) uint8 {
	best, bestCost := p.favour, p.try(lo, hi, p.favour, prefix)
	last := best
	if bestCost > 1 && p.favour != 0 {
		if c := p.try(lo, hi, 0, prefix); c <= bestCost {
			best, bestCost = 0, c
		}
		last = 0
	}
	if bestCost > 1 {
		if code, ok := p.describe(lo, hi, prefix); ok && code != p.favour {
			if c := p.try(lo, hi, code, prefix); c < bestCost {
				best = code
			}
			last = code
		}
	}
	if last != best {
		p.number(lo, hi, best, prefix)
	}
	p.favour = best
	return best
}

// try counts segments under a code: a quarter for a fence, so that a model
// counts as much as the bytes it takes.
func (p *planner) try(lo, hi int, code uint8, prefix int) int {
	p.number(lo, hi, code, prefix)
	models, fences := 0, 0
	for i := lo; i < hi; {
		if _, ends := p.fitter.Fit(p.xs[i:hi], p.weights[i:hi+1], p.limits); len(ends) >= minLearned || len(ends) > 0 && i+ends[len(ends)-1] == hi {
			models++
			i += ends[len(ends)-1]
			continue
		}
		fences++
		w := p.weights[i] + p.limits.Target
		for i++; i < hi && p.weights[i] < w; i++ {
		}
	}
	return models + (fences+3)/4
}

// describe makes a code of some of the entries' keys, or finds the one that is
// the same.
func (p *planner) describe(lo, hi, prefix int) (uint8, bool) {
	p.sample.Reset()
	step := max((hi-lo)/512, 1)
	for i := lo; i < hi; i += step {
		p.sample.Add(p.es[i].Key(p.arena), prefix)
	}
	p.desc = p.sample.Describe(p.desc[:0])
	if len(p.desc) == 0 {
		return 0, false
	}
	for i, c := range p.codes[1:] {
		if bytes.Equal(c.Description(), p.desc) {
			return uint8(i + 1), true
		}
	}
	if len(p.codes) > maxCodes {
		return 0, false
	}
	c, err := learned.DecodeCode(p.desc)
	if err != nil {
		panic("sstable: described code does not decode: " + err.Error())
	}
	p.codes = append(p.codes, c)
	return uint8(len(p.codes) - 1), true
}
