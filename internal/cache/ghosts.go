package cache

// ghosts remembers fingerprints of pages that left a small queue, in sets of
// four; a new one replaces the oldest of its set. Guarded by mu.
type ghosts [][4]uint32

func (g ghosts) set(h uint64) (*[4]uint32, uint32) {
	return &g[h>>32&uint64(len(g)-1)], uint32(h) | 1
}

func (g ghosts) add(h uint64) {
	s, fp := g.set(h)
	copy(s[1:], s[:3])
	s[0] = fp
}

// take reports whether h is remembered, and removes it.
func (g ghosts) take(h uint64) bool {
	s, fp := g.set(h)
	for i, x := range s {
		if x == fp {
			s[i] = 0
			return true
		}
	}
	return false
}
