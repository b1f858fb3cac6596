//go:build race

package keycodec

const raceEnabled = true
