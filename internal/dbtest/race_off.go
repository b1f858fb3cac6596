//go:build !race

package dbtest

// RaceEnabled says whether the race detector is on: it makes sync.Pool forget
// at random, and everything several times slower.
const RaceEnabled = false
