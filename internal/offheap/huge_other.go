//go:build unix && !linux && !solaris && !aix && !race

package offheap

import "golang.org/x/sys/unix"

func adviseHuge([]byte) {}

func discard(b []byte) { _ = unix.Madvise(b, unix.MADV_FREE) }
