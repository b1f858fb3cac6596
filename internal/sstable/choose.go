package sstable

import (
	"bytes"

	"github.com/seerdb-go/seerdb/internal/learned"
)

// choose picks the code under which the entries lo to hi need the smallest
// index, and leaves their numbers in xs. The code that served last is tried
// first, and is taken unseen by the others if one line covers everything.
func (p *planner) choose(lo, hi, prefix, least int) uint8 {
	best, bestCost := p.favour, p.try(lo, hi, p.favour, prefix, least)
	last := best
	if bestCost > modelBytes && p.favour != 0 {
		if c := p.try(lo, hi, 0, prefix, least); c <= bestCost {
			best, bestCost = 0, c
		}
		last = 0
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
			last = code
		}
	}
	if last != best {
		p.number(lo, hi, best, prefix)
	}
	p.favour = best
	return best
}

// try says what the index of the entries lo to hi would take under a code, in
// bytes, without looking deeper.
func (p *planner) try(lo, hi int, code uint8, prefix, least int) int {
	p.number(lo, hi, code, prefix)
	cost := 0
	for i := lo; i < hi; {
		_, ends := p.fitter.Fit(p.xs[i:hi], p.weights[i:hi+1], p.limits)
		if n := len(ends); n >= least || n > 0 && i+ends[n-1] == hi {
			cost += modelBytes
			i += ends[n-1]
			continue
		}
		cost += p.separatorBytes(i)
		i = p.pageEnd(i, hi)
	}
	return cost
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
