//go:build unix && !solaris && !aix && !race

package offheap

import (
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/invariant"
)

func TestAllocFailureIsAnError(t *testing.T) {
	before := Mapped()
	// Where an int has 32 bits, one such range may fit the address space; two
	// never do.
	var got [][]byte
	for range 3 {
		b, err := Alloc(math.MaxInt &^ 0xffff)
		if err != nil {
			break
		}
		got = append(got, b)
	}
	if len(got) == 3 {
		t.Fatalf("got %d bytes three times", len(got[0]))
	}
	for _, b := range got {
		Free(b)
	}
	if Mapped() != before {
		t.Fatal("a failed Alloc was counted")
	}
}

func TestFreedRangesAreBounded(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("without invariants nothing is kept")
	}
	for range maxFreed + 100 {
		b, err := Alloc(4096)
		if err != nil {
			t.Fatal(err)
		}
		Free(b)
	}
	freed.mu.Lock()
	defer freed.mu.Unlock()
	if len(freed.ranges) != maxFreed {
		t.Fatalf("%d ranges are kept, want %d", len(freed.ranges), maxFreed)
	}
}

// TestUseAfterFree runs itself as a child that reads freed memory: it must die.
func TestUseAfterFree(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("without invariants the range is unmapped and may be reused")
	}
	if os.Getenv("SEERDB_USE_AFTER_FREE") != "" {
		b, err := Alloc(4096)
		if err != nil {
			t.Fatal(err)
		}
		b[7] = 1
		Free(b)
		t.Fatalf("read %d from freed memory", b[7])
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestUseAfterFree$")
	cmd.Env = append(os.Environ(), "SEERDB_USE_AFTER_FREE=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "unexpected fault address") {
		t.Fatalf("the child was not stopped: %v\n%s", err, out)
	}
}

func BenchmarkAllocFree(b *testing.B) {
	for b.Loop() {
		m, err := Alloc(1 << 20)
		if err != nil {
			b.Fatal(err)
		}
		m[0] = 1
		Free(m)
	}
}
