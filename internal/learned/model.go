package learned

import "math/bits"

// Model is the line position = (x - X0) * Slope. The position is in pages, in
// fixed point with 32 fractional bits. It is part of the table format. Any
// values are safe: positions saturate.
type Model struct {
	X0    uint64 // where page 0 begins
	Slope uint64 // pages << 32 per 2^(64-Shift) of x
	Shift uint8  // scales x - X0 up before the multiplication; below 64
}

// Position returns the position of x: the page in the upper 32 bits, the
// fraction of that page in the lower. It is monotone in x.
func (m *Model) Position(x uint64) uint64 {
	if x <= m.X0 {
		return 0
	}
	d, s := x-m.X0, m.Shift&63
	if d<<s>>s != d {
		return 1<<64 - 1
	}
	hi, _ := bits.Mul64(d<<s, m.Slope)
	return hi
}

// through returns the line from x0 that reaches page after dx and does not
// saturate before reach. It returns false if there is none.
func through(x0, dx, page, reach uint64) (Model, bool) {
	if dx == 0 || page == 0 || page >= 1<<18 {
		return Model{}, false
	}
	// The line saturates beyond 2^12 times dx, so that the scaled dx keeps
	// enough bits for Div64 not to overflow: dx << shift >= 2^51 > page << 32.
	if hi, lo := bits.Mul64(dx, 1<<12); hi == 0 && lo < reach {
		reach = lo
	}
	shift := bits.LeadingZeros64(max(reach, dx))
	slope, _ := bits.Div64(page<<32, 0, dx<<shift)
	return Model{X0: x0, Slope: slope, Shift: uint8(shift)}, slope != 0
}
