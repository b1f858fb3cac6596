//go:build learned && !fences

package sstable

// AutoMode is what IndexAuto means: see mode_auto.go.
const AutoMode = IndexLearned
