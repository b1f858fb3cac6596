package main

import "math"

// rng is splitmix64: small, fast, and the same on every machine.
type rng uint64

func (r *rng) next() uint64 {
	*r += golden
	return mix(uint64(*r))
}

// below returns a number in [0, n).
func (r *rng) below(n uint64) uint64 { return r.next() % n }

func (r *rng) float() float64 { return float64(r.next()>>11) / (1 << 53) }

// zipf draws ranks from 0 with the skew of YCSB (theta 0.99), by the method of
// Gray et al., "Quickly generating billion-record synthetic databases", 1994.
type zipf struct {
	n                 float64
	alpha, zetan, eta float64
	half              float64 // 0.5^theta
}

const zipfTheta = 0.99

func newZipf(n int) *zipf {
	z := &zipf{n: float64(n), alpha: 1 / (1 - zipfTheta), half: math.Pow(0.5, zipfTheta)}
	for i := 1; i <= n; i++ {
		z.zetan += 1 / math.Pow(float64(i), zipfTheta)
	}
	zeta2 := 1 + z.half
	z.eta = (1 - math.Pow(2/z.n, 1-zipfTheta)) / (1 - zeta2/z.zetan)
	return z
}

func (z *zipf) next(r *rng) uint64 {
	u := r.float()
	uz := u * z.zetan
	switch {
	case uz < 1:
		return 0
	case uz < 1+z.half:
		return 1
	}
	return min(uint64(z.n*math.Pow(z.eta*u-z.eta+1, z.alpha)), uint64(z.n)-1)
}

// scrambled spreads the ranks over the records, as YCSB does.
func (z *zipf) scrambled(r *rng) uint64 { return mix(z.next(r)+golden) % uint64(z.n) }
