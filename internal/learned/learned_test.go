package learned

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func describe(keys [][]byte, from int) *Code {
	var s Sample
	for _, k := range keys {
		s.Add(k, from)
	}
	c, err := DecodeCode(s.Describe(nil))
	if err != nil {
		panic(err)
	}
	return c
}

var keyGen = rapid.OneOf(
	rapid.SliceOfN(rapid.Byte(), 0, 24),
	rapid.SliceOfN(rapid.SampledFrom([]byte("0123456789")), 0, 24),
	rapid.SliceOfN(rapid.SampledFrom([]byte("/09:@AZ[`az{-_.\x00\xff")), 0, 24),
	rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0xfe, 0xff}), 0, 12),
)

// TestCodeMonotone is the rule on which everything rests: a code made of any
// keys orders all other keys weakly as bytes do.
func TestCodeMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		made := rapid.SliceOfN(keyGen, 1, 12).Draw(t, "made of")
		from := rapid.IntRange(0, 3).Draw(t, "from")
		c := describe(made, from)
		if rapid.Bool().Draw(t, "raw") {
			c = nil
		}
		keys := append(rapid.SliceOfN(keyGen, 2, 40).Draw(t, "keys"), made...)
		for _, k := range made {
			keys = append(keys, append(bytes.Clone(k), 0), append(bytes.Clone(k), 0xff), k[:len(k)/2])
		}
		slices.SortFunc(keys, bytes.Compare)
		p := min(from, 2)
		prev := uint64(0)
		for i, k := range keys {
			// All keys share the first p bytes, as a window requires.
			k = append([]byte("prefix")[:p], k...)
			x := c.Number(k, p)
			if x < prev {
				t.Fatalf("code %x: number of %x is %x, but of the lesser %x it is %x", c.Description(), k, x, keys[i-1], prev)
			}
			prev = x
		}
	})
}

// TestCodeFull: sixteen hexadecimal digits use all of 64 bits, and a byte
// beyond the last digit must not wrap around to 0.
func TestCodeFull(t *testing.T) {
	c, err := DecodeCode(bytes.Repeat([]byte{2}, 16))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"ffffffffffffffff", "g", "fg", "z\x00"} {
		if x := c.Number([]byte(k), 0); x != 1<<64-1 {
			t.Errorf("number of %q is %x", k, x)
		}
	}
}

func TestCodeDescriptionRoundTrip(t *testing.T) {
	c := describe([][]byte{[]byte("a0-Z\xff"), []byte("b9-y\x00")}, 0)
	if want := []byte{2, 1, 0, '-', 8, 12}; !bytes.Equal(c.Description(), want) {
		t.Fatalf("description %v, want %v", c.Description(), want)
	}
	for _, k := range []string{"a0-Z\xff", "b9-y\x00", "a", "a5", "a5,", "a5.", "zzz"} {
		d, err := DecodeCode(c.Description())
		if err != nil || d.Number([]byte(k), 0) != c.Number([]byte(k), 0) {
			t.Fatalf("%q: %v", k, err)
		}
	}
}

// TestCodeLinear: numbers of decimal text step evenly.
func TestCodeLinear(t *testing.T) {
	var keys [][]byte
	for i := range 3000 {
		keys = append(keys, fmt.Appendf(nil, "%06d", i))
	}
	c := describe(keys, 0)
	for i, k := range keys {
		if x := c.Number(k, 0); x != uint64(i) {
			t.Fatalf("number of %s is %d", k, x)
		}
	}
}

func TestBadCodes(t *testing.T) {
	for _, d := range [][]byte{
		{byte(len(classes))}, {0}, {1, 0}, bytes.Repeat([]byte{12}, 9), bytes.Repeat([]byte{0, 1}, maxSymbols+1),
	} {
		if _, err := DecodeCode(d); err == nil {
			t.Errorf("code %v was accepted", d)
		}
	}
	if _, err := DecodeCode(bytes.Repeat([]byte{12}, 8)); err != nil {
		t.Errorf("eight bytes make 2^64 numbers: %v", err)
	}
}

func FuzzDecodeCode(f *testing.F) {
	f.Add([]byte{1, 2, 0, 'x', 12}, []byte("12x4"), []byte("12y"))
	f.Fuzz(func(t *testing.T, desc, a, b []byte) {
		c, err := DecodeCode(desc)
		if err != nil {
			return
		}
		x, y := c.Number(a, 0), c.Number(b, 0)
		if cmp := bytes.Compare(a, b); cmp < 0 && x > y || cmp > 0 && x < y || cmp == 0 && x != y {
			t.Fatalf("code %x: %x -> %x, %x -> %x", desc, a, x, b, y)
		}
	})
}

func TestModelMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Model{X0: rapid.Uint64().Draw(t, "x0"), Slope: rapid.Uint64().Draw(t, "slope"), Shift: uint8(rapid.IntRange(0, 70).Draw(t, "shift"))}
		a, b := rapid.Uint64().Draw(t, "a"), rapid.Uint64().Draw(t, "b")
		if a > b {
			a, b = b, a
		}
		if m.Position(a) > m.Position(b) {
			t.Fatalf("%+v: position(%d) > position(%d)", m, a, b)
		}
	})
}

// number generators of different hardness.
var numberSets = map[string]func(r *rand.Rand, i int) uint64{
	"uniform":   func(r *rand.Rand, i int) uint64 { return r.Uint64() },
	"sequence":  func(r *rand.Rand, i int) uint64 { return 1<<40 + uint64(i) },
	"clustered": func(r *rand.Rand, i int) uint64 { return uint64(r.IntN(20))<<58 + uint64(r.IntN(1<<20)) },
	"few":       func(r *rand.Rand, i int) uint64 { return uint64(r.IntN(40)) },
	"lognormal": func(r *rand.Rand, i int) uint64 { return uint64(1) << r.IntN(63) * uint64(1+r.IntN(9)) / 8 },
	"extremes":  func(r *rand.Rand, i int) uint64 { return -(r.Uint64() & 1) },
}

// TestFit checks what Fit promises, by the model alone.
func TestFit(t *testing.T) {
	var f Fitter
	for name, gen := range numberSets {
		r := rand.New(rand.NewPCG(1, 1))
		for range 60 {
			n := 1 + r.IntN(4000)
			xs, ws := make([]uint64, n), make([]uint64, n+1)
			for i := range xs {
				xs[i] = gen(r, i)
				ws[i+1] = ws[i] + 50 + uint64(r.IntN(100))
			}
			slices.Sort(xs)
			lim := Limits{Target: 4096, Min: 1024, Max: 8192}
			m, ends := f.Fit(xs, ws, lim)
			begin := 0
			for page, end := range ends {
				for i := begin; i < end; i++ {
					if got := m.Position(xs[i]) >> 32; got != uint64(page) {
						t.Fatalf("%s: number %d of page %d is said to be on %d", name, i, page, got)
					}
				}
				if end < n && xs[end] == xs[end-1] {
					t.Fatalf("%s: equal numbers on two pages", name)
				}
				if w := ws[end] - ws[begin]; w > lim.Max || w < lim.Min && end < n {
					t.Fatalf("%s: page %d weighs %d", name, page, w)
				}
				begin = end
			}
		}
	}
}

// TestFitUniform: one line covers uniform numbers however many they are.
func TestFitUniform(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const n = 200_000
	xs, ws := make([]uint64, n), make([]uint64, n+1)
	for i := range xs {
		xs[i] = r.Uint64()
		ws[i+1] = ws[i] + 116
	}
	slices.Sort(xs)
	var f Fitter
	_, ends := f.Fit(xs, ws, Limits{Target: 8192, Min: 2048, Max: 16384})
	if len(ends) == 0 || ends[len(ends)-1] != n {
		t.Fatalf("one line covers %d pages of %d numbers", len(ends), n)
	}
}
