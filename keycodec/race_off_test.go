//go:build !race

package keycodec

// raceEnabled says whether the race detector is on: it makes sync.Pool forget
// at random, and everything several times slower.
const raceEnabled = false
