//go:build unix

package sstable

import (
	"testing"

	"golang.org/x/sys/unix"
)

// cpuTime measures processor time from now until the returned function is
// called, which reports it per operation: on a busy machine the clock on the
// wall tells little.
func cpuTime(b *testing.B) func(ops int) {
	begin := cpuNanos()
	return func(ops int) {
		b.ReportMetric(float64(cpuNanos()-begin)/float64(ops), "cpu-ns/op")
	}
}

func cpuNanos() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
