package base

import "slices"

// Grow returns s with length n, keeping all elements that it has room for: their buffers
// are used again.
func Grow[T any](s []T, n int) []T {
	return slices.Grow(s[:cap(s)], max(n-cap(s), 0))[:n]
}
