//go:build !unix

package sstable

import "testing"

func cpuTime(*testing.B) func(int) { return func(int) {} }

func cpuNanos() int64 { return 0 }
