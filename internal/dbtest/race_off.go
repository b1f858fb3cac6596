//go:build !race

package dbtest

// RaceEnabled reports whether the race detector is on: it makes sync.Pool drop
// items at random, and everything several times slower.
const RaceEnabled = false
