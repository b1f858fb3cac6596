//go:build fences && !learned

package sstable

// AutoMode is what IndexAuto means: see mode_auto.go.
const AutoMode = IndexFences
