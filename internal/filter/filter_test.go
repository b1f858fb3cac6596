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

func buildFuse(in []uint64) []byte {
	var b Builder
	for _, h := range in {
		b.AddHash(h)
	}
	return b.FinishFuse(nil, 9)
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
	for _, n := range []int{0, 1, 2, 3, 10, 100, 1000, 10_000, 50_000} {
		if raceEnabled && n > 1000 {
			continue // one goroutine: only slow
		}
		for _, bits := range []float64{0.5, 1, 2, 4, 6, 8, 9, 10, 12, 14, 16, 20, 24, 30, 60} {
			in := hashes(uint64(n), n)
			data := build(in, bits)
			f, err := Open(data)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range in {
				if !f.MayContain(h) {
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

func TestFuse(t *testing.T) {
	var b Builder
	for n := range 300 {
		checkFuse(t, &b, hashes(uint64(n), n))
	}
	for _, n := range []int{1000, 9999, 50_000, 200_000} {
		if raceEnabled && n > 1000 {
			continue
		}
		in := hashes(uint64(n), n)
		data := checkFuse(t, &b, in)
		f, _ := Open(data)
		got := 100 * falsePositives(&f, 400_000)
		size := 8 * float64(len(data)) / float64(n)
		t.Logf("%7d keys: %5.2f bits, %.3f %% false positives", n, size, got)
		if f.Kind() != Fuse || got > 0.43 || size > 11.5 {
			t.Errorf("%d keys: kind %d, %.3f %%, %.2f bits", n, f.Kind(), got, size)
		}
	}
}

// checkFuse builds with a builder that is used again and again.
func checkFuse(t *testing.T, b *Builder, in []uint64) []byte {
	t.Helper()
	b.Reset()
	for _, h := range in {
		b.AddHash(h)
	}
	data := b.FinishFuse(nil, 9)
	f, err := Open(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range in {
		if !f.MayContain(h) {
			t.Fatalf("%d keys: lost %x", len(in), h)
		}
	}
	return data
}

func TestFuseDuplicates(t *testing.T) {
	in := hashes(5, 1000)
	in = append(in, in...)
	in = append(in, 1, 2, 1, 2, 1)
	var b Builder
	data := checkFuse(t, &b, in)
	if f, _ := Open(data); f.Kind() != Fuse || len(data) > 2000 || b.Len() != 1002 {
		t.Fatalf("kind %d, %d bytes, %d keys", f.Kind(), len(data), b.Len())
	}
}

func TestFuseProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in := rapid.SliceOf(rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 300))).Draw(rt, "hashes")
		var b Builder
		checkFuse(t, &b, in)
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
	if raceEnabled {
		t.Skip("one goroutine")
	}
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

// TestDamage: whatever bit is flipped and wherever the bytes are cut, Open
// refuses or the filter answers something.
func TestDamage(t *testing.T) {
	in := hashes(2, 300)
	for _, data := range [][]byte{build(in, 10), build(in, 20), buildFuse(in)} {
		for i := range data {
			for bit := range 8 {
				data[i] ^= 1 << bit
				ask(data)
				data[i] ^= 1 << bit
			}
			ask(data[:i])
		}
	}
	for _, bad := range [][]byte{nil, {0}, {byte(Bloom)}, {3, byte(Bloom)}, make([]byte, 66), {byte(Fuse)},
		append(make([]byte, 13), byte(Fuse)), append(make([]byte, 64), 0, byte(Bloom)), append(make([]byte, 64), 15, byte(Bloom))} {
		if _, err := Open(bad); err == nil {
			t.Errorf("Open accepted %v", bad)
		}
	}
}

func ask(data []byte, more ...uint64) {
	f, err := Open(data)
	if err != nil {
		return
	}
	for _, h := range append(more, 0, 1, 1<<63, ^uint64(0), 0x123456789abcdef) {
		f.MayContain(h)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(build(hashes(1, 10), 10), uint64(1))
	f.Add(buildFuse(hashes(1, 10)), uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, h uint64) {
		ask(data, h)
	})
}

func TestNoAllocation(t *testing.T) {
	in := hashes(3, 1000)
	for _, data := range [][]byte{build(in, 10), buildFuse(in)} {
		noAllocation(t, data, in)
	}
}

func noAllocation(t *testing.T, data []byte, in []uint64) {
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
