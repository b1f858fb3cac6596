//go:build race

package dbtest

// RaceEnabled says whether the race detector is on.
const RaceEnabled = true
