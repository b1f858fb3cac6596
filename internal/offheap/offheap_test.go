package offheap

import (
	"math/rand/v2"
	"sync"
	"testing"
)

func TestAllocIsZeroedAndExact(t *testing.T) {
	before := Mapped()
	for _, n := range []int{1, 63, 4096, 4097, 1 << 20, 9 << 20} {
		b, err := Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != n || Mapped()-before != int64(n) {
			t.Fatalf("Alloc(%d): %d bytes, %d mapped", n, len(b), Mapped()-before)
		}
		for i := 0; i < n; i += 61 {
			if b[i] != 0 {
				t.Fatalf("byte %d of %d is %d", i, n, b[i])
			}
			b[i] = 0xff
		}
		Free(b)
		if Mapped() != before {
			t.Fatalf("Free(%d) left %d mapped", n, Mapped()-before)
		}
	}
}

func TestAllocRefusesNothing(t *testing.T) {
	for _, n := range []int{0, -1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Alloc(%d) did not panic", n)
				}
			}()
			_, _ = Alloc(n)
		}()
	}
}

func TestDiscardKeepsTheRangeUsable(t *testing.T) {
	b, err := Alloc(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer Free(b)
	b[0], b[1<<19], b[1<<20-1] = 1, 2, 3
	Discard(b[1<<19 : 1<<19+1<<16])
	Discard(nil)
	if b[0] != 1 || b[1<<20-1] != 3 {
		t.Fatal("Discard of a part touched another")
	}
	b[1<<19] = 4
	if b[1<<19] != 4 {
		t.Fatal("discarded memory cannot be written")
	}
}

// TestConcurrent has many goroutines hold regions of their own mark: no two
// may ever share a byte. It frees more than the invariants build keeps.
func TestConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			var held [][]byte
			for range 1000 {
				b, err := Alloc(1 + rng.IntN(20_000))
				if err != nil {
					t.Error(err)
					return
				}
				b[0], b[len(b)-1] = byte(g), byte(g)
				held = append(held, b)
				if len(held) > 10 {
					old := held[0]
					held = held[1:]
					if old[0] != byte(g) || old[len(old)-1] != byte(g) {
						t.Error("a region was handed out twice")
					}
					Free(old)
				}
			}
			for _, b := range held {
				Free(b)
			}
		})
	}
	wg.Wait()
}
