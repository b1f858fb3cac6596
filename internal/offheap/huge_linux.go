//go:build !race

package offheap

import "golang.org/x/sys/unix"

// hugeMin is the smallest region worth huge pages: below a few of them the
// rounding wastes more than the TLB saves.
const hugeMin = 8 << 20

func adviseHuge(b []byte) {
	if len(b) >= hugeMin {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
}

func discard(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }
