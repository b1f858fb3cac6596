//go:build unix

package dbtest

// SetLimit sets a field of syscall.Rlimit, whose type differs between systems.
func SetLimit[T int64 | uint64](field *T, n int) { *field = T(n) }
