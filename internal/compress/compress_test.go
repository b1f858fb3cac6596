package compress

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

var codecs = []Codec{None, LZ4, Zstd, S2}

// page makes n bytes of which about the share ratio is noise, in the manner of
// table pages: records of a key that counts up and a value whose second part
// repeats its first.
func page(rng *rand.Rand, n int, ratio float64) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = append(b, "user00000000"...)
		for j, x := len(b)-1, i; x > 0; j, x = j-1, x/10 {
			b[j] = byte('0' + x%10)
		}
		noise := make([]byte, int(100*ratio))
		for j := range noise {
			noise[j] = byte(rng.Uint32())
		}
		v := bytes.Repeat(append(noise, ' '), 100/(len(noise)+1)+1)
		b = append(b, v[:100]...)
	}
	return b[:n]
}

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range codecs {
		for _, n := range []int{0, 1, 2, 12, 13, 100, 4095, 8192, 70_000, 1 << 20} {
			for _, ratio := range []float64{0, 0.5, 1} {
				src := page(rng, n, ratio)
				enc := Encode([]byte("head"), src, c)
				if string(enc[:4]) != "head" {
					t.Fatalf("%v: Encode touched what was there before", c)
				}
				enc = enc[4:]
				if len(enc) > MaxEncodedLen(n, c) {
					t.Fatalf("%v: %d bytes became %d, more than the bound %d", c, n, len(enc), MaxEncodedLen(n, c))
				}
				dst := make([]byte, n)
				if err := Decode(dst, enc, c); err != nil || !bytes.Equal(dst, src) {
					t.Fatalf("%v: %d bytes at %v came back wrong: %v", c, n, ratio, err)
				}
			}
		}
	}
}

func TestRoundTripProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.SliceOf(rapid.Byte()).Draw(t, "src")
		src = bytes.Repeat(src, rapid.IntRange(1, 50).Draw(t, "times"))
		c := rapid.SampledFrom(codecs).Draw(t, "codec")
		dst := make([]byte, len(src))
		enc := Encode(nil, src, c)
		if err := Decode(dst, enc, c); err != nil || !bytes.Equal(dst, src) {
			t.Fatalf("%v: %v", c, err)
		}
		// A wrong length is refused, and nothing past dst is touched.
		room := bytes.Repeat([]byte{0xa5}, len(src)+64)
		short := rapid.IntRange(0, len(src)+16).Draw(t, "length")
		if err := Decode(room[:short], enc, c); err == nil && short != len(src) {
			t.Fatalf("%v: %d bytes decoded into %d", c, len(src), short)
		}
		for i, b := range room[short:] {
			if b != 0xa5 {
				t.Fatalf("%v: byte %d past the buffer was written", c, i)
			}
		}
	})
}

// TestDamage flips every bit of small encodings, and cuts them at every
// length: an error or len(dst) bytes, never a panic, never a byte past dst.
func TestDamage(t *testing.T) {
	src := page(rand.New(rand.NewPCG(3, 4)), 600, 0.3)
	for _, c := range codecs {
		enc := Encode(nil, src, c)
		room := bytes.Repeat([]byte{0xa5}, len(src)+256)
		check := func(in []byte) {
			_ = Decode(room[:len(src):len(src)], in, c)
			for _, b := range room[len(src):] {
				if b != 0xa5 {
					t.Fatalf("%v wrote past the buffer", c)
				}
			}
		}
		for i := range enc {
			for bit := range 8 {
				enc[i] ^= 1 << bit
				check(enc)
				enc[i] ^= 1 << bit
			}
			check(enc[:i])
			if err := Decode(room[:len(src)], enc[:i], c); err == nil {
				t.Fatalf("%v: the first %d of %d bytes decoded", c, i, len(enc))
			}
		}
	}
}

func TestUnknownCodec(t *testing.T) {
	if Codec(4).Valid() || Decode(make([]byte, 1), []byte{1}, 4) == nil {
		t.Fatal("an unknown codec was accepted")
	}
	defer func() {
		if recover() == nil {
			t.Fatal("Encode with an unknown codec did not panic")
		}
	}()
	Encode(nil, []byte{1}, 9)
}

func TestNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("pools drop at random under the race detector")
	}
	src := page(rand.New(rand.NewPCG(5, 6)), 8192, 0.5)
	dst := make([]byte, len(src))
	for _, c := range codecs {
		buf := make([]byte, 0, MaxEncodedLen(len(src), c))
		enc := Encode(buf, src, c)
		allocs := testing.AllocsPerRun(200, func() {
			enc = Encode(buf[:0], src, c)
			if err := Decode(dst, enc, c); err != nil {
				t.Fatal(err)
			}
		})
		if allocs >= 1 {
			t.Errorf("%v: %v allocations", c, allocs)
		}
	}
}

func FuzzDecode(f *testing.F) {
	src := page(rand.New(rand.NewPCG(7, 8)), 300, 0.3)
	for _, c := range codecs {
		f.Add(Encode(nil, src, c), uint8(c), uint16(len(src)))
	}
	f.Fuzz(func(t *testing.T, in []byte, c uint8, n uint16) {
		room := bytes.Repeat([]byte{0xa5}, int(n)+64)
		_ = Decode(room[:n:n], in, Codec(c))
		for _, b := range room[n:] {
			if b != 0xa5 {
				t.Fatal("wrote past the buffer")
			}
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("aaaaaaaaaaaaaaaaaaaaaaaabaaaaaaaaaaaaaaaaaaaaaaaac"))
	f.Fuzz(func(t *testing.T, src []byte) {
		dst := make([]byte, len(src))
		for _, c := range codecs {
			if err := Decode(dst, Encode(nil, src, c), c); err != nil || !bytes.Equal(dst, src) {
				t.Fatalf("%v: %v", c, err)
			}
		}
	})
}
