package keycodec

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// checkLaws draws values and checks everything that the package comment
// promises of a codec.
func checkLaws[K any](t *testing.T, c Codec[K], values *rapid.Generator[K], compare func(a, b K) int) {
	t.Helper()
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := values.Draw(t, "a"), values.Draw(t, "b")
		tail := rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "tail")
		want := compare(a, b)
		for name, encode := range map[string]func([]byte, K) []byte{"last": c.Append, "inner": c.AppendInner} {
			x, y := encode([]byte("before"), a), encode([]byte("before"), b)
			if !bytes.HasPrefix(x, []byte("before")) {
				t.Fatalf("%s: overwrote what was there: %x", name, x)
			}
			if got := bytes.Compare(x, y); got != want {
				t.Fatalf("%s: encodings %x and %x compare as %d, values %v and %v as %d", name, x, y, got, a, b, want)
			}
		}
		x, y := c.AppendInner(nil, a), c.AppendInner(nil, b)
		if want != 0 && bytes.HasPrefix(x, y) {
			t.Fatalf("inner form %x begins with %x", x, y)
		}
		decoded, rest, err := c.DecodeInner(append(bytes.Clone(x), tail...))
		if err != nil || compare(decoded, a) != 0 || !bytes.Equal(rest, tail) {
			t.Fatalf("inner %x: %v, rest %x, %v; want %v, rest %x", x, decoded, rest, err, a, tail)
		}
		last := c.Append(nil, a)
		decoded, err = c.Decode(last)
		for i := range last {
			last[i] ^= 0x55 // what was decoded may not notice
		}
		if err != nil || compare(decoded, a) != 0 {
			t.Fatalf("last: %v, %v; want %v", decoded, err, a)
		}
		for i := range len(x) {
			if _, rest, err := c.DecodeInner(x[:i]); !errors.Is(err, ErrInvalid) || rest != nil {
				t.Fatalf("the first %d bytes of %x give %v, rest %v", i, x, err, rest)
			}
		}
		hostile(t, c, rapid.SliceOfN(rapid.SampledFrom(awkwardBytes), 0, 20).Draw(t, "hostile"))
	})
}

var awkwardBytes = []byte{0, 0, 0, 1, 1, 2, 3, 7, 8, 9, 0x3b, 0x7f, 0x80, 0xf7, 0xf8, 0xfe, 0xff, 0xff}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// hostile decodes any bytes: they are refused, or are exactly what encoding
// makes of the value.
func hostile[K any](t fataler, c Codec[K], b []byte) {
	t.Helper()
	given := bytes.Clone(b)
	k, err := c.Decode(b)
	switch {
	case err != nil && !errors.Is(err, ErrInvalid):
		t.Fatalf("Decode(%x): %v is not ErrInvalid", b, err)
	case err == nil && !bytes.Equal(c.Append(nil, k), b):
		t.Fatalf("Decode(%x) is %v, which is encoded as %x", b, k, c.Append(nil, k))
	}
	k, rest, err := c.DecodeInner(b)
	switch {
	case err != nil && (!errors.Is(err, ErrInvalid) || rest != nil):
		t.Fatalf("DecodeInner(%x): %v, rest %v", b, err, rest)
	case err == nil && !bytes.Equal(append(c.AppendInner(nil, k), rest...), b):
		t.Fatalf("DecodeInner(%x) is %v and %x, and encoding gives %x", b, k, rest, c.AppendInner(nil, k))
	}
	if !bytes.Equal(b, given) {
		t.Fatalf("decoding changed its input %x to %x", given, b)
	}
}

// strs draws strings that share beginnings and hold what is escaped.
func strs() *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 'a', 0xff}), 0, 6), func(b []byte) string { return string(b) })
}

func near[K Signed | Unsigned](any *rapid.Generator[K]) *rapid.Generator[K] {
	return rapid.OneOf(any, rapid.Custom(func(t *rapid.T) K {
		k := K(1) << rapid.IntRange(0, 64).Draw(t, "shift")
		k += K(rapid.IntRange(0, 20).Draw(t, "plus")) - 10
		if rapid.Bool().Draw(t, "flip") {
			return ^k
		}
		return k
	}), rapid.Custom(func(t *rapid.T) K { return K(rapid.IntRange(-300, 300).Draw(t, "small")) }))
}

type (
	userID uint32
	offset int16
	name   string
	uuid   [16]byte
)

func TestLawsOfIntegers(t *testing.T) {
	t.Run("int", func(t *testing.T) { checkLaws(t, Int, near(rapid.Int()), cmp.Compare[int]) })
	t.Run("int8", func(t *testing.T) { checkLaws(t, Int8, rapid.Int8(), cmp.Compare[int8]) })
	t.Run("int16", func(t *testing.T) { checkLaws(t, Int16, near(rapid.Int16()), cmp.Compare[int16]) })
	t.Run("int32", func(t *testing.T) { checkLaws(t, Int32, near(rapid.Int32()), cmp.Compare[int32]) })
	t.Run("int64", func(t *testing.T) { checkLaws(t, Int64, near(rapid.Int64()), cmp.Compare[int64]) })
	t.Run("uint", func(t *testing.T) { checkLaws(t, Uint, near(rapid.Uint()), cmp.Compare[uint]) })
	t.Run("uint8", func(t *testing.T) { checkLaws(t, Uint8, rapid.Uint8(), cmp.Compare[uint8]) })
	t.Run("uint16", func(t *testing.T) { checkLaws(t, Uint16, near(rapid.Uint16()), cmp.Compare[uint16]) })
	t.Run("uint32", func(t *testing.T) { checkLaws(t, Uint32, near(rapid.Uint32()), cmp.Compare[uint32]) })
	t.Run("uint64", func(t *testing.T) { checkLaws(t, Uint64, near(rapid.Uint64()), cmp.Compare[uint64]) })
	t.Run("named", func(t *testing.T) {
		checkLaws(t, UintOf[userID](), rapid.Map(rapid.Uint32(), func(u uint32) userID { return userID(u) }), cmp.Compare[userID])
	})
	t.Run("varint", func(t *testing.T) { checkLaws(t, Varint, near(rapid.Int64()), cmp.Compare[int64]) })
	t.Run("uvarint", func(t *testing.T) { checkLaws(t, Uvarint, near(rapid.Uint64()), cmp.Compare[uint64]) })
	t.Run("varint16", func(t *testing.T) {
		checkLaws(t, VarintOf[offset](), rapid.Map(near(rapid.Int16()), func(u int16) offset { return offset(u) }), cmp.Compare[offset])
	})
	t.Run("uvarint32", func(t *testing.T) {
		checkLaws(t, UvarintOf[userID](), rapid.Map(near(rapid.Uint32()), func(u uint32) userID { return userID(u) }), cmp.Compare[userID])
	})
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func times() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		seconds := near(rapid.Int64()).Draw(t, "seconds")
		nanos := rapid.Int64Range(0, 999_999_999).Draw(t, "nanos")
		tm := time.Unix(seconds, nanos)
		if rapid.Bool().Draw(t, "zone") {
			tm = tm.In(time.FixedZone("east", 3600))
		}
		return tm
	})
}

func TestLawsOfScalars(t *testing.T) {
	special64 := rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.NaN(), math.Float64frombits(0xfff8000000000001), math.Inf(1), math.Inf(-1),
		math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, 1, -1})
	special32 := rapid.SampledFrom([]float32{0, float32(math.Copysign(0, -1)), float32(math.NaN()), math.Float32frombits(0xffc00001), float32(math.Inf(1)),
		float32(math.Inf(-1)), math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 1, -1})
	any64 := rapid.Map(rapid.Uint64(), math.Float64frombits)
	any32 := rapid.Map(rapid.Uint32(), math.Float32frombits)
	t.Run("bool", func(t *testing.T) { checkLaws(t, Bool, rapid.Bool(), compareBools) })
	t.Run("float64", func(t *testing.T) { checkLaws(t, Float64, rapid.OneOf(special64, any64), cmp.Compare[float64]) })
	t.Run("float32", func(t *testing.T) { checkLaws(t, Float32, rapid.OneOf(special32, any32), cmp.Compare[float32]) })
	t.Run("time", func(t *testing.T) { checkLaws(t, Time, times(), time.Time.Compare) })
}

func TestLawsOfStrings(t *testing.T) {
	asBytes := func(s string) []byte { return []byte(s) }
	t.Run("string", func(t *testing.T) { checkLaws(t, String, strs(), strings.Compare) })
	t.Run("bytes", func(t *testing.T) { checkLaws(t, Bytes, rapid.Map(strs(), asBytes), bytes.Compare) })
	t.Run("named", func(t *testing.T) {
		checkLaws(t, StringOf[name](), rapid.Map(rapid.String(), func(s string) name { return name(s) }), cmp.Compare[name])
	})
	t.Run("array", func(t *testing.T) {
		ids := rapid.Custom(func(t *rapid.T) uuid {
			return uuid(rapid.SliceOfN(rapid.SampledFrom(awkwardBytes), 16, 16).Draw(t, "id"))
		})
		checkLaws(t, ArrayOf[uuid](), ids, func(a, b uuid) int { return bytes.Compare(a[:], b[:]) })
	})
}

// positive refuses what it does not make, as the from of a Convert may.
func positive() Codec[int64] {
	return Convert(Int64, func(k int64) int64 { return -k }, func(v int64) (int64, error) {
		if v > 0 {
			return 0, errors.New("not negative")
		}
		return -v, nil
	})
}

type (
	pair   = Pair[string, int64]
	triple = Triple[bool, []byte, string]
	quad   = Quad[pair, uint64, string, time.Time]
)

func pairs() *rapid.Generator[pair] {
	return rapid.Custom(func(t *rapid.T) pair {
		return pair{strs().Draw(t, "first"), rapid.Int64Range(-2, 2).Draw(t, "second")}
	})
}

func comparePairs(a, b pair) int {
	return cmp.Or(strings.Compare(a.First, b.First), cmp.Compare(a.Second, b.Second))
}

func TestLawsOfTuples(t *testing.T) {
	t.Run("pair", func(t *testing.T) { checkLaws(t, PairOf(String, Int64), pairs(), comparePairs) })
	t.Run("triple", func(t *testing.T) {
		checkLaws(t, TripleOf(Bool, Bytes, String), rapid.Custom(func(t *rapid.T) triple {
			return triple{rapid.Bool().Draw(t, "first"), []byte(strs().Draw(t, "second")), strs().Draw(t, "third")}
		}), func(a, b triple) int {
			return cmp.Or(compareBools(a.First, b.First), bytes.Compare(a.Second, b.Second), strings.Compare(a.Third, b.Third))
		})
	})
	t.Run("quad", func(t *testing.T) {
		checkLaws(t, QuadOf(PairOf(String, Int64), Uvarint, String, Time), rapid.Custom(func(t *rapid.T) quad {
			return quad{pairs().Draw(t, "first"), rapid.Uint64Range(246, 250).Draw(t, "second"), strs().Draw(t, "third"), times().Draw(t, "fourth")}
		}), func(a, b quad) int {
			return cmp.Or(comparePairs(a.First, b.First), cmp.Compare(a.Second, b.Second), strings.Compare(a.Third, b.Third), a.Fourth.Compare(b.Fourth))
		})
	})
	t.Run("desc", func(t *testing.T) {
		checkLaws(t, Desc(String), strs(), func(a, b string) int { return strings.Compare(b, a) })
	})
	t.Run("desc of a pair with desc", func(t *testing.T) {
		checkLaws(t, Desc(PairOf(Desc(String), Int64)), pairs(), func(a, b pair) int {
			return cmp.Or(strings.Compare(a.First, b.First), cmp.Compare(b.Second, a.Second))
		})
	})
	t.Run("desc inside", func(t *testing.T) {
		checkLaws(t, PairOf(Desc(String), Int64), pairs(), func(a, b pair) int {
			return cmp.Or(strings.Compare(b.First, a.First), cmp.Compare(a.Second, b.Second))
		})
	})
	t.Run("convert", func(t *testing.T) {
		checkLaws(t, positive(), rapid.Int64Range(0, math.MaxInt64), func(a, b int64) int { return cmp.Compare(b, a) })
	})
	t.Run("convert inside", func(t *testing.T) {
		checkLaws(t, PairOf(Desc(String), positive()), rapid.Map(pairs(), func(p pair) pair { p.Second *= p.Second; return p }), func(a, b pair) int {
			return cmp.Or(strings.Compare(b.First, a.First), cmp.Compare(b.Second, a.Second))
		})
	})
}

// TestPrefixes checks that the bounds of a prefix hold the keys with those
// elements and no others.
func TestPrefixes(t *testing.T) {
	c := QuadOf(String, Desc(String), Varint, String)
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) Quad[string, string, int64, string] {
			return Quad[string, string, int64, string]{strs().Draw(t, label), strs().Draw(t, label), rapid.Int64Range(-121, -119).Draw(t, label), strs().Draw(t, label)}
		}
		a, b := draw("a"), draw("b")
		if rapid.Bool().Draw(t, "same") {
			b.First, b.Second = a.First, a.Second
		}
		key := c.Append(nil, b)
		one, two := a.First == b.First, a.Second == b.Second
		for _, p := range []struct {
			prefix Prefix[Quad[string, string, int64, string]]
			in     bool
		}{
			{c.First(a.First), one},
			{c.FirstTwo(a.First, a.Second), one && two},
			{c.FirstThree(a.First, a.Second, a.Third), one && two && a.Third == b.Third},
		} {
			lo, hi := p.prefix.Bounds()
			if got := bytes.Compare(lo, key) <= 0 && (hi == nil || bytes.Compare(key, hi) < 0); got != p.in {
				t.Fatalf("%v in the range of %v: %v", b, a, got)
			}
			if got := bytes.HasPrefix(key, p.prefix.Bytes()); got != p.in {
				t.Fatalf("%v begins as %v: %v", b, a, got)
			}
		}
		triples := TripleOf(String, String, String)
		key = triples.Append(nil, Triple[string, string, string]{b.First, b.Second, b.Fourth})
		if got := bytes.HasPrefix(key, triples.First(a.First).Bytes()); got != one {
			t.Fatalf("%v begins as the first of %v: %v", b, a, got)
		}
		if got := bytes.HasPrefix(key, triples.FirstTwo(a.First, a.Second).Bytes()); got != (one && two) {
			t.Fatalf("%v begins as the first two of %v: %v", b, a, got)
		}
		if got := bytes.HasPrefix(PairOf(String, Varint).Append(nil, Pair[string, int64]{b.First, b.Third}), PairOf(String, Varint).First(a.First).Bytes()); got != one {
			t.Fatalf("%v begins as the pair %v: %v", b, a, got)
		}
	})
	for in, want := range map[string]string{"": "", "a": "62", "a\xff": "62", "\xff\xff": ""} {
		if lo, hi := String.Prefix(in).Bounds(); string(lo) != in || hex.EncodeToString(hi) != want || (want == "") != (hi == nil) {
			t.Errorf("bounds of %q: %q, %x", in, lo, hi)
		}
	}
	p := []byte("ab")
	if b := Bytes.Prefix(p).Bytes(); !bytes.Equal(b, p) || &b[0] == &p[0] {
		t.Error("Bytes.Prefix keeps its argument")
	}
}

// TestTimesWithoutAnEnd checks the whole range of time.Time, in which Unix
// seconds wrap.
func TestTimesWithoutAnEnd(t *testing.T) {
	oldest := time.Unix(math.MaxInt64, 999_999_999) // wraps to a time before all others
	newest := time.Unix(-62135596800-1, 0)          // one second before year 1, for contrast
	for _, tm := range []time.Time{oldest, newest, {}, time.Unix(0, 0), time.Now(), time.Unix(math.MinInt64, 0), time.Unix(math.MaxInt64-62135596800, 0)} {
		got, err := Time.Decode(Time.Append(nil, tm))
		if err != nil || !got.Equal(tm) || got.Location() != time.UTC {
			t.Errorf("%v (%d): %v, %v", tm, tm.Unix(), got, err)
		}
	}
	if got, err := Time.Decode(Time.Append(nil, time.Time{})); err != nil || got != (time.Time{}) || !got.IsZero() {
		t.Errorf("the zero time: %v, %v", got, err)
	}
}

// TestFloatNames checks that -0 and NaN have one encoding each.
func TestFloatNames(t *testing.T) {
	if a, b := Float64.Append(nil, 0), Float64.Append(nil, math.Copysign(0, -1)); !bytes.Equal(a, b) {
		t.Errorf("0 is %x and -0 is %x", a, b)
	}
	if k, err := Float64.Decode(Float64.Append(nil, math.Copysign(0, -1))); err != nil || math.Signbit(k) {
		t.Errorf("-0 comes back as %v, %v", k, err)
	}
	if a, b := Float32.Append(nil, float32(math.NaN())), Float32.Append(nil, math.Float32frombits(0xffffffff)); !bytes.Equal(a, b) {
		t.Errorf("two NaNs are %x and %x", a, b)
	}
	for _, b := range []string{"\x7f\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\xff", "\x00\x00\x00\x00\x00\x00\x00\x01"} {
		if k, err := Float64.Decode([]byte(b)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%x, the bits of -0 or another NaN, is %v, %v", b, k, err)
		}
	}
}
