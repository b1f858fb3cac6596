//go:build fences && !learned

package sstable

const autoMode = IndexFences
