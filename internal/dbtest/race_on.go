//go:build race

package dbtest

// RaceEnabled reports whether the race detector is on.
const RaceEnabled = true
