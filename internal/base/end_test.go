package base

import (
	"bytes"
	"testing"
)

// TestEnd compares ends with the sets of keys that they cut off.
func TestEnd(t *testing.T) {
	keys := [][]byte{{}, {0}, {0, 0}, {1}, []byte("a"), []byte("a\x00"), []byte("b"), {0xff}, {0xff, 0xff}}
	ends := []End{NoEnd, {[]byte("x"), BoundNone}}
	for _, k := range keys {
		ends = append(ends, End{k, BoundInclusive}, End{k, BoundExclusive})
	}
	within := func(e End) int {
		n := 0
		for _, k := range keys {
			if c := bytes.Compare(k, e.Key); e.Bound == BoundNone || c < 0 || c == 0 && e.Bound == BoundInclusive {
				n++
			}
		}
		if e.Bound == BoundNone {
			n++ // keys beyond the list
		}
		return n
	}
	for _, a := range ends {
		for i, k := range keys {
			if got, want := a.Before(k), within(a) <= i; got != want {
				t.Errorf("%q %d before %q: %v", a.Key, a.Bound, k, got)
			}
		}
		for _, b := range ends {
			got, want := a.Compare(b), within(a)-within(b)
			if got != -b.Compare(a) || want > 0 && got <= 0 || want < 0 && got >= 0 {
				t.Errorf("%q %d against %q %d: %d, want the sign of %d", a.Key, a.Bound, b.Key, b.Bound, got, want)
			}
		}
	}
	for _, k := range [][]byte{nil, {}} {
		if e := EndAt(k); e.Bound != BoundNone {
			t.Errorf("EndAt of nothing is %v", e)
		}
	}
	if e := EndAt([]byte("k")); e.Before([]byte("j")) || !e.Before([]byte("k")) {
		t.Errorf("EndAt is %v", e)
	}
}
