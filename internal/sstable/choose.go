package sstable

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/learned"
)

// tried is roughly how many entries a code is judged by. Using all of them
// would cost as much as the rest of the writer on keys that take several codes;
// of a page of 70 entries, 8 are enough to see whether a line fits.
const tried = 1024

// choose returns the code under which the entries lo to hi need the smallest
// index, and leaves their numbers in xs. It tries the last used code first, and
// tries no other if one line covers everything.
func (p *planner) choose(lo, hi, prefix, least int) uint8 {
	best, bestCost := p.favour, p.try(lo, hi, p.favour, prefix, least)
	if bestCost > modelBytes && p.favour != 0 {
		if c := p.try(lo, hi, 0, prefix, least); c <= bestCost {
			best, bestCost = 0, c
		}
	}
	if bestCost > modelBytes {
		known := len(p.codes)
		if code, ok := p.describe(lo, hi, prefix); ok && code != p.favour {
			c := p.try(lo, hi, code, prefix, least)
			if int(code) == known {
				c += 1 + len(p.desc)
			}
			if c < bestCost {
				best = code
			} else {
				p.codes = p.codes[:known]
			}
		}
	}
	p.number(lo, hi, best, prefix)
	p.favour = best
	return best
}

// try returns roughly the index bytes of the entries lo to hi under a code,
// without looking deeper. It uses a sample.
func (p *planner) try(lo, hi int, code uint8, prefix, least int) int {
	step := max((hi-lo)/tried, 1)
	c := p.codes[code]
	p.sampleXs, p.sampleWeights = p.sampleXs[:0], p.sampleWeights[:0]
	for i := lo; i < hi; i += step {
		p.sampleXs = append(p.sampleXs, c.Number(p.es[i].Key(p.arena), prefix))
		p.sampleWeights = append(p.sampleWeights, p.weights[i])
	}
	p.sampleWeights = append(p.sampleWeights, p.weights[hi])
	n, cost := len(p.sampleXs), 0
	for i := 0; i < n; {
		_, ends := p.fitter.Fit(p.sampleXs[i:], p.sampleWeights[i:], p.limits)
		if k := len(ends); k >= least || k > 0 && i+ends[k-1] == n {
			cost += modelBytes
			i += ends[k-1]
			continue
		}
		cost += p.separatorBytes(lo + i*step)
		for w := p.sampleWeights[i] + p.limits.Target; i < n && p.sampleWeights[i] < w; i++ {
		}
	}
	return cost
}

// describe returns a code made from some of the entries' keys, an existing one
// if that is the same.
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
