package valuelog

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb/internal/base"
)

func TestPointerRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Pointer{
			File:      base.FileNum(rapid.Uint64().Draw(t, "file")),
			Offset:    rapid.Uint64().Draw(t, "offset"),
			Length:    rapid.Uint32Range(recordHeaderSize, maxRecordSize).Draw(t, "length"),
			RawLength: rapid.Uint32Range(0, base.MaxValueSize).Draw(t, "raw"),
			Checksum:  rapid.Uint32().Draw(t, "checksum"),
		}
		b := AppendPointer([]byte("x"), p)
		if len(b)-1 > MaxPointerSize {
			t.Fatalf("%d bytes", len(b)-1)
		}
		if got, err := DecodePointer(b[1:]); err != nil || got != p {
			t.Fatalf("%+v became %+v, %v", p, got, err)
		}
	})
}

// TestPointerDamage changes every byte of pointers of every length to every
// other value. A CRC is linear, so whether a change is found does not depend on
// the rest of the pointer: this covers all pointers.
func TestPointerDamage(t *testing.T) {
	for shift := 0; shift < 64; shift += 7 {
		p := Pointer{File: 1 << shift, Offset: 3 << shift, Length: 1000, RawLength: uint32(900) << (shift % 21), Checksum: 0xdeadbeef}
		b := AppendPointer(nil, p)
		for i := range b {
			for d := 1; d < 256; d++ {
				b[i] ^= byte(d)
				if got, err := DecodePointer(b); err == nil {
					t.Fatalf("byte %d ^ %02x: %+v passes for %+v", i, d, got, p)
				}
				b[i] ^= byte(d)
			}
		}
		for n := range b {
			if _, err := DecodePointer(b[:n]); err == nil {
				t.Fatalf("%d of %d bytes pass", n, len(b))
			}
		}
		if _, err := DecodePointer(append(b, 0)); err == nil {
			t.Fatal("a byte too many passes")
		}
	}
}

// TestPointerShape: one pointer has one encoding, even among those whose check
// is right.
func TestPointerShape(t *testing.T) {
	seal := func(b ...byte) []byte {
		b = append(b, 1, 2, 3, 4)
		sum := pointerCheck(b)
		return append(b, byte(sum), byte(sum>>8))
	}
	if _, err := DecodePointer(seal(1, 2, 30, 4)); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"not minimal":      seal(0x81, 0x00, 2, 30, 4),
		"a field too many": seal(1, 2, 30, 4, 5),
		"a field too few":  seal(1, 2, 30),
		"open-ended":       seal(1, 2, 30, 0x84),
		"length too small": seal(1, 2, 3, 4),
		"length too large": seal(1, 2, 0x80, 0x80, 0x80, 0x80, 0x08, 4),
		"raw too large":    seal(1, 2, 30, 0x80, 0x80, 0x80, 0x80, 0x08),
	} {
		if p, err := DecodePointer(b); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func FuzzPointer(f *testing.F) {
	f.Add(AppendPointer(nil, Pointer{File: 3, Offset: 1000, Length: 1040, RawLength: 1024, Checksum: 1}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePointer(b)
		if err == nil && !bytes.Equal(AppendPointer(nil, p), b) {
			t.Fatalf("% x decodes to %+v, which is % x", b, p, AppendPointer(nil, p))
		}
		// With the check made right, the rest of the decoder sees the input.
		if len(b) < 2 {
			return
		}
		b = bytes.Clone(b)
		sum := pointerCheck(b[:len(b)-2])
		b[len(b)-2], b[len(b)-1] = byte(sum), byte(sum>>8)
		if p, err := DecodePointer(b); err == nil && !bytes.Equal(AppendPointer(nil, p), b) {
			t.Fatalf("% x decodes to %+v, which is % x", b, p, AppendPointer(nil, p))
		}
	})
}
