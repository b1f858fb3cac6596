package main

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// minBlock is the narrowest block, in percent of the page: 7 pixels of 1400.
const minBlock = 0.5

// block is a part of a row.
type block struct {
	Width float64 // percent of the row's scale
	Label string  // its content, if there is room
	Short string  // a short form, if there is little room
	Title string  // everything about it
	Level int
	Dead  float64 // percent that is dead: tombstones or garbage
}

// endText returns the end of a table's keys as text.
func endText(f *manifest.FileMeta) string {
	switch f.LargestBound {
	case base.BoundExclusive:
		return shortKey(f.Largest) + " (exclusive)"
	case base.BoundNone:
		return "no end"
	}
	return shortKey(f.Largest)
}

// shortKey returns a key as text, cut if it is long.
func shortKey(key []byte) string {
	const most = 40
	if len(key) == 0 {
		return "the empty key"
	}
	if len(key) > most {
		return escape(key[:most]) + "…"
	}
	return escape(key)
}

// percent returns n in percent of total.
func percent(n, total uint64) float64 {
	if total == 0 {
		return 0
	}
	return 100 * float64(n) / float64(total)
}
