package main

// arena makes copies of byte slices that live until reset. It is for drivers of
// engines that keep the caller's slices until the commit.
type arena struct {
	blocks [][]byte // full ones; kept until reset because copies point into them
	buf    []byte
}

const arenaBlock = 64 << 10

func (a *arena) copy(p []byte) []byte {
	if len(a.buf)+len(p) > cap(a.buf) {
		if cap(a.buf) > 0 {
			a.blocks = append(a.blocks, a.buf)
		}
		a.buf = make([]byte, 0, max(arenaBlock, len(p)))
	}
	n := len(a.buf)
	a.buf = append(a.buf, p...)
	return a.buf[n:len(a.buf):len(a.buf)]
}

func (a *arena) reset() {
	clear(a.blocks)
	a.blocks = a.blocks[:0]
	a.buf = a.buf[:0]
}
