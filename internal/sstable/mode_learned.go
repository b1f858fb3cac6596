//go:build learned && !fences

package sstable

const autoMode = IndexLearned
