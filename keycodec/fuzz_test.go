package keycodec

import "testing"

// fuzz decodes what the fuzzer finds, in every codec given: it is refused, or is
// exactly what encoding makes of the value.
func fuzz(f *testing.F, check func(t fataler, b []byte)) {
	for _, seed := range []string{"", "\x00", "\x01", "\x01\x01\x00", "a\x01\x02\x00b", "\x01\x03\x00", "\xf8\xf8", "\x07\x87", "\xff\x7f\xff\xff\xff\xff\xff\xff\xff",
		"\x00\x80\x00\x00\x00\x00\x00\x00\x00", "\x80\x00\x00\x0e\x77\x91\xf7\x00\x00\x00\x00\x01", "\x9e\x9d\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

func FuzzIntegers(f *testing.F) {
	fuzz(f, func(t fataler, b []byte) {
		hostile(t, Int, b)
		hostile(t, Int8, b)
		hostile(t, Int32, b)
		hostile(t, Uint16, b)
		hostile(t, Uint64, b)
	})
}

func FuzzVarints(f *testing.F) {
	fuzz(f, func(t fataler, b []byte) {
		hostile(t, Varint, b)
		hostile(t, Uvarint, b)
		hostile(t, VarintOf[offset](), b)
		hostile(t, UvarintOf[userID](), b)
	})
}

func FuzzScalars(f *testing.F) {
	fuzz(f, func(t fataler, b []byte) {
		hostile(t, Bool, b)
		hostile(t, Float64, b)
		hostile(t, Float32, b)
		hostile(t, Time, b)
	})
}

func FuzzStrings(f *testing.F) {
	fuzz(f, func(t fataler, b []byte) {
		hostile(t, String, b)
		hostile(t, Bytes, b)
		hostile(t, ArrayOf[[6]byte](), b)
	})
}

func FuzzTuples(f *testing.F) {
	fuzz(f, func(t fataler, b []byte) {
		hostile(t, PairOf(String, Varint), b)
		hostile(t, TripleOf(Uvarint, Desc(String), Bytes), b)
		hostile(t, QuadOf(PairOf(String, positive()), Bool, Desc(Time), String), b)
	})
}

func FuzzDesc(f *testing.F) {
	fuzz(f, func(t fataler, b []byte) {
		hostile(t, Desc(Varint), b)
		hostile(t, Desc(Bytes), b)
		hostile(t, Desc(PairOf(Desc(String), String)), b)
	})
}
