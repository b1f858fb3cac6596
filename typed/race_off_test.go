//go:build !race

package typed_test

// raceEnabled says whether the race detector is on: it makes sync.Pool forget
// at random, and everything several times slower.
const raceEnabled = false
