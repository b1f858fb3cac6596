//go:build fences && !learned

package sstable

// AutoMode is the meaning of IndexAuto: see mode_auto.go.
const AutoMode = IndexFences
