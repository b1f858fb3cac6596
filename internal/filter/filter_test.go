package filter

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// hashes are n random numbers, as base.Hash makes of distinct keys.
func hashes(seed uint64, n int) []uint64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	out := make([]uint64, n)
	for i := range out {
		out[i] = rng.Uint64()
	}
	return out
}

func build(in []uint64, bitsPerKey float64) []byte {
	var b Builder
	for _, h := range in {
		b.AddHash(h)
	}
	return b.Finish(nil, bitsPerKey)
}

func falsePositives(f *Filter, n int) float64 {
	hit := 0
	for _, h := range hashes(99, n) {
		if f.MayContain(h) {
			hit++
		}
	}
	return float64(hit) / float64(n)
}

func TestNoFalseNegative(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 10, 100, 1000, 10_000, 100_000} {
		for _, bits := range []float64{0.5, 1, 2, 4, 6, 8, 9, 10, 12, 14, 16, 20, 24, 30, 60} {
			in := hashes(uint64(n), n)
			data := build(in, bits)
			f, err := Open(data)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range in {
				if !f.MayContain(h) || !MayContain(data, h) {
					t.Fatalf("%d keys at %v bits: lost %x", n, bits, h)
				}
			}
		}
	}
}

func TestNoFalseNegativeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Small numbers make hashes that are far from random.
		in := rapid.SliceOf(rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 50))).Draw(t, "hashes")
		bits := rapid.Float64Range(0, 40).Draw(t, "bits")
		head := rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "head")
		var b Builder
		for _, h := range in {
			b.AddHash(h)
		}
		size := b.EstimatedSize(bits)
		data := b.Finish(append([]byte(nil), head...), bits)[len(head):]
		if len(data) > size {
			t.Fatalf("%d bytes, estimated %d", len(data), size)
		}
		f, err := Open(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range in {
			if !f.MayContain(h) {
				t.Fatalf("lost %x", h)
			}
		}
	})
}

func TestEmpty(t *testing.T) {
	f, err := Open(build(nil, 10))
	if err != nil || f.MayContain(1) || f.MayContain(0) {
		t.Fatalf("the empty set contains something: %v", err)
	}
	var zero Filter
	if !zero.MayContain(1) {
		t.Fatal("the zero Filter must contain everything")
	}
}

func TestBuilderCountsRunsOnce(t *testing.T) {
	var b Builder
	for range 5 {
		b.AddHash(7)
	}
	b.AddHash(8)
	if b.Len() != 2 {
		t.Fatalf("Len = %d", b.Len())
	}
	b.Reset()
	if f, _ := Open(b.Finish(nil, 10)); b.Len() != 0 || f.MayContain(7) {
		t.Fatal("Reset kept a hash")
	}
}

// TestFalsePositives holds the rates to what was measured when the layout was
// chosen, with a tenth of room.
func TestFalsePositives(t *testing.T) {
	in := hashes(1, 200_000)
	for _, c := range []struct{ bits, percent float64 }{
		{6, 6.9}, {8, 2.6}, {9, 1.65}, {10, 1.05}, {12, 0.48}, {14, 0.23}, {16, 0.12},
	} {
		data := build(in, c.bits)
		f, err := Open(data)
		if err != nil {
			t.Fatal(err)
		}
		got := 100 * falsePositives(&f, 400_000)
		size := 8 * float64(len(data)) / float64(len(in))
		t.Logf("%4.1f bits asked, %5.2f used: %.3f %% false positives", c.bits, size, got)
		if got > c.percent || size > c.bits+0.1 {
			t.Errorf("%v bits: %.3f %% at %.2f bits, want at most %v %%", c.bits, got, size, c.percent)
		}
	}
}

// TestDamage: whatever a bit is flipped or cut, Open refuses or the filter
// answers something; and a builder is not fooled by growing bits per key.
func TestDamage(t *testing.T) {
	in := hashes(2, 300)
	data := build(in, 10)
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			probe(data)
			data[i] ^= 1 << bit
		}
		probe(data[:i])
	}
	for _, bad := range [][]byte{nil, {0}, {byte(Bloom)}, {3, byte(Bloom)}, make([]byte, 66)} {
		if _, err := Open(bad); err == nil {
			t.Errorf("Open accepted %v", bad)
		}
		if !MayContain(bad, 1) {
			t.Errorf("damaged bytes %v hide a key", bad)
		}
	}
}

func probe(data []byte) {
	f, err := Open(data)
	if err != nil {
		return
	}
	for _, h := range []uint64{0, 1, 1 << 63, ^uint64(0), 0x123456789abcdef} {
		f.MayContain(h)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(build(hashes(1, 10), 10), uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, h uint64) {
		probe(data)
		MayContain(data, h)
	})
}

func TestNoAllocation(t *testing.T) {
	in := hashes(3, 1000)
	data := build(in, 10)
	if n := testing.AllocsPerRun(100, func() {
		f, _ := Open(data)
		f.MayContain(in[0])
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func ExampleBuilder() {
	var b Builder
	b.AddHash(0x1234)
	f, err := Open(b.Finish(nil, 10))
	fmt.Println(f.MayContain(0x1234), err)
	// Output: true <nil>
}
