package base

import (
	"bytes"
	"cmp"
	"testing"
)

// TestHeadOrders: heads that differ are in the order of their keys, whatever the
// lengths, and keys in order never have heads in the other.
func TestHeadOrders(t *testing.T) {
	var keys [][]byte
	for n := range 10 {
		for _, last := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			for _, fill := range []byte{0, 'a', 0xff} {
				keys = append(keys, append(bytes.Repeat([]byte{fill}, n), last))
			}
		}
	}
	keys = append(keys, nil, []byte{})
	for _, a := range keys {
		for _, b := range keys {
			if x, y := Head(a), Head(b); x != y && cmp.Compare(x, y) != bytes.Compare(a, b) {
				t.Errorf("%q has head %x, %q has %x", a, x, b, y)
			}
		}
	}
	if h := Head([]byte("abcdefghi")); h != 0x6162636465666768 {
		t.Errorf("%x", h)
	}
	if h := Head([]byte("ab")); h != 0x6162000000000000 {
		t.Errorf("%x", h)
	}
}

// TestHeadFrom: behind the end of a key is what is in the empty one.
func TestHeadFrom(t *testing.T) {
	key := []byte("0123456789")
	for from := range 20 {
		if got, want := HeadFrom(key, from), Head([]byte(string(key)[min(from, len(key)):])); got != want || (from >= len(key)) != (got == 0) {
			t.Errorf("from %d: %x, want %x", from, got, want)
		}
	}
}
