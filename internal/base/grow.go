package base

import "slices"

// Grow returns s with length n. It keeps the elements within the capacity of s,
// so that callers reuse their buffers.
func Grow[T any](s []T, n int) []T {
	return slices.Grow(s[:cap(s)], max(n-cap(s), 0))[:n]
}
