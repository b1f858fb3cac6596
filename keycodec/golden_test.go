package keycodec

import (
	"encoding/hex"
	"math"
	"testing"
	"time"
)

// golden freezes one value: its last and its inner form, in hexadecimal. The
// encodings are those of docs/FORMAT.md; they are in databases and never change.
func golden[K any](t *testing.T, c Codec[K], k K, last, inner string) {
	t.Helper()
	if got := hex.EncodeToString(c.Append(nil, k)); got != last {
		t.Errorf("%v last: %s, want %s", k, got, last)
	}
	if got := hex.EncodeToString(c.AppendInner(nil, k)); got != inner {
		t.Errorf("%v inner: %s, want %s", k, got, inner)
	}
}

// same is golden for codecs of one form.
func same[K any](t *testing.T, c Codec[K], k K, want string) {
	t.Helper()
	golden(t, c, k, want, want)
}

func TestGoldenIntegers(t *testing.T) {
	same(t, Int, -1, "7fffffffffffffff")
	same(t, Int8, -128, "00")
	same(t, Int8, 127, "ff")
	same(t, Int16, 258, "8102")
	same(t, Int32, -2, "7ffffffe")
	same(t, Int64, 0, "8000000000000000")
	same(t, Int64, math.MinInt64, "0000000000000000")
	same(t, Int64, 0x0102030405060708, "8102030405060708")
	same(t, Uint, 1, "0000000000000001")
	same(t, Uint8, 200, "c8")
	same(t, Uint16, 258, "0102")
	same(t, Uint32, 0x01020304, "01020304")
	same(t, Uint64, math.MaxUint64, "ffffffffffffffff")
	same(t, UintOf[userID](), 7, "00000007")
	same(t, IntOf[offset](), 7, "8007")
}

func TestGoldenVarints(t *testing.T) {
	same(t, Uvarint, 0, "00")
	same(t, Uvarint, 247, "f7")
	same(t, Uvarint, 248, "f8f8")
	same(t, Uvarint, 255, "f8ff")
	same(t, Uvarint, 256, "f90100")
	same(t, Uvarint, 1<<32, "fc0100000000")
	same(t, Uvarint, math.MaxUint64, "ffffffffffffffffff")
	same(t, Varint, 0, "80")
	same(t, Varint, 119, "f7")
	same(t, Varint, 120, "f878")
	same(t, Varint, 256, "f90100")
	same(t, Varint, math.MaxInt64, "ff7fffffffffffffff")
	same(t, Varint, -120, "08")
	same(t, Varint, -121, "0787")
	same(t, Varint, -256, "0700")
	same(t, Varint, -257, "06feff")
	same(t, Varint, math.MinInt64, "008000000000000000")
}

func TestGoldenScalars(t *testing.T) {
	same(t, Bool, false, "00")
	same(t, Bool, true, "01")
	same(t, Float64, 1, "bff0000000000000")
	same(t, Float64, -1, "400fffffffffffff")
	same(t, Float64, 0, "8000000000000000")
	same(t, Float64, math.Copysign(0, -1), "8000000000000000")
	same(t, Float64, math.Inf(1), "fff0000000000000")
	same(t, Float64, math.Inf(-1), "000fffffffffffff")
	same(t, Float64, math.NaN(), "0000000000000000")
	same(t, Float32, 1, "bf800000")
	same(t, Float32, -1, "407fffff")
	same(t, Float32, float32(math.NaN()), "00000000")
	same(t, Time, time.Time{}, "800000000000000000000000")
	same(t, Time, time.Unix(0, 1), "8000000e7791f70000000001")
	same(t, Time, time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("east", 3600)), "8000000ee0e91e9500000006")
}

func TestGoldenStrings(t *testing.T) {
	golden(t, String, "", "", "00")
	golden(t, String, "ab", "6162", "616200")
	golden(t, String, "\x00\x01\x02\xff", "000102ff", "0101010202ff00")
	golden(t, Bytes, []byte("a\x00"), "6100", "61010100")
	golden(t, Bytes, nil, "", "00")
	same(t, ArrayOf[[4]byte](), [4]byte{0, 1, 2, 255}, "000102ff")
}

func TestGoldenTuples(t *testing.T) {
	golden(t, PairOf(String, String), Pair[string, string]{"a", "b"}, "610062", "61006200")
	golden(t, TripleOf(Uint8, String, Bool), Triple[uint8, string, bool]{7, "x", true}, "07780001", "07780001")
	golden(t, QuadOf(String, Uint8, Uint8, String), Quad[string, uint8, uint8, string]{"", 1, 2, "\x00"}, "00010200", "000102010100")
	golden(t, PairOf(PairOf(String, String), String), Pair[Pair[string, string], string]{Pair[string, string]{"a", "b"}, "c"}, "6100620063", "610062006300")
	same(t, Desc(String), "ab", "9e9dff")
	same(t, Desc(Uint8), 1, "fe")
	same(t, Desc(Desc(String)), "a", "6100")
	golden(t, PairOf(Desc(Uint8), String), Pair[uint8, string]{1, "b"}, "fe62", "fe6200")
}

// TestGoldenExamples has the examples of docs/FORMAT.md.
func TestGoldenExamples(t *testing.T) {
	golden(t, PairOf(String, Desc(Varint)), Pair[string, int64]{"ada", 5}, "616461007a", "616461007a")
}
