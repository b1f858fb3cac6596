package cache

import (
	"fmt"
	"os"
	"testing"
)

func resident(t *testing.T) int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Skip(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestChargeReturnsMemory: what a charge takes from the pages goes back to the
// system, at once.
func TestChargeReturnsMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the Go heap keeps the memory")
	}
	const budget = 64 << 20
	before := resident(t)
	c := newTest(t, budget)
	file := NewFileID()
	for i := range uint64(budget / 8192) {
		h, _ := c.Acquire(Key{file, i}, 8192, false)
		clear(h.Bytes())
		h.Publish()
		h.Release()
	}
	full := resident(t)
	c.Charge(Memtables, budget*7/8)
	after := resident(t)
	t.Logf("MiB resident: %d, with a full cache %d, after a charge of seven eighths %d", before>>20, full>>20, after>>20)
	if full-before < budget*7/10 {
		t.Skip("the cache did not fill; the machine reclaims memory by itself")
	}
	if full-after < budget*6/10 {
		t.Fatalf("the process kept %d of %d bytes", after-before, full-before)
	}
}
