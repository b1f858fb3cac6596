package learned

// Limits bound the weight of a page, in the caller's unit.
type Limits struct {
	Target, Min, Max uint64
}

// Fitter fits lines. It keeps its scratch memory between calls.
type Fitter struct {
	ends, best []int
}

// Fit fits a line to the ascending numbers xs, which may repeat, beginning at
// xs[0]. weights[i] is the weight of everything before i; it has one more
// element than xs. Fit returns the line that covers the most pages, and for
// each page the index after its last number; the slice is valid until the next
// call. Equal numbers are on one page. If there is no line it returns no pages.
//
// Every page but the last weighs between lim.Min and lim.Max. The last is only
// bounded from above, and is complete only if more numbers follow it.
func (f *Fitter) Fit(xs, weights []uint64, lim Limits) (Model, []int) {
	n := len(xs)
	f.best = f.best[:0]
	var best Model
	total := weights[n] - weights[0]
	reach := xs[n-1] - xs[0]
	// Try densities: that of all numbers, then of ever shorter prefixes. For
	// data that fits, the first is nearly always right.
	for pages := max(total/lim.Target, 1); pages > 0; pages = pages / 2 {
		at := search(weights, weights[0]+pages*lim.Target)
		if at >= n {
			at = n - 1
		}
		if at == 0 {
			continue
		}
		m, ok := through(xs[0], xs[at]-xs[0], pages, reach)
		if !ok {
			continue
		}
		if f.run(&m, xs, weights, lim); len(f.ends) > len(f.best) {
			best, f.best, f.ends = m, f.ends, f.best
		}
		if k := len(f.best); k > 0 && (f.best[k-1] == n || uint64(k) >= pages) {
			break // it covers everything, or more than a shorter prefix can
		}
	}
	return best, f.best
}

// run follows m until a page exceeds the limits, and fills f.ends.
func (f *Fitter) run(m *Model, xs, weights []uint64, lim Limits) {
	f.ends = f.ends[:0]
	n, step := len(xs), 8
	for i, page := 0, uint64(0); i < n; page++ {
		if m.Position(xs[i])>>32 != page {
			return // a page without entries
		}
		// Gallop by the last page's length, then bisect, to find the first
		// number beyond this page.
		lo, hi := i, min(i+step, n)
		for hi < n && m.Position(xs[hi])>>32 == page {
			lo, hi = hi, min(hi+step, n)
		}
		for lo+1 < hi {
			if mid := int(uint(lo+hi) / 2); m.Position(xs[mid])>>32 == page {
				lo = mid
			} else {
				hi = mid
			}
		}
		hi = lo + 1
		w := weights[hi] - weights[i]
		if w > lim.Max || (w < lim.Min && hi < n) {
			return
		}
		f.ends = append(f.ends, hi)
		step = max(hi-i, 2)
		i = hi
	}
}

// search returns the first index whose weight is >= w, or len(weights)-1.
func search(weights []uint64, w uint64) int {
	lo, hi := 0, len(weights)-1
	for lo < hi {
		if m := int(uint(lo+hi) / 2); weights[m] < w {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}
