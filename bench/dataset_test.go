package main

import (
	"bytes"
	"errors"
	"testing"
)

func TestMixIsABijection(t *testing.T) {
	r := rng(1)
	for range 100_000 {
		x := r.next()
		if unmix(mix(x)) != x || mix(unmix(x)) != x {
			t.Fatalf("mix and unmix disagree at %x", x)
		}
	}
}

func TestKeys(t *testing.T) {
	d := newDataset(7, 100, 10)
	var a, b [keySize]byte
	prev := d.hash(0)
	for i := uint64(1); i < 10_000; i++ {
		h := d.hash(i)
		if d.record(h) != i {
			t.Fatalf("record of the hash of %d is %d", i, d.record(h))
		}
		ka, kb := writeKey(&a, prev), writeKey(&b, h)
		if got, ok := parseKey(kb); !ok || got != h {
			t.Fatalf("key %q parses to %x, want %x", kb, got, h)
		}
		if hexHash(kb) != h || !d.belongs(kb, d.word0(h, 3)) || d.belongs(ka, d.word0(h, 3)) {
			t.Fatalf("hexHash or belongs is wrong for %q", kb)
		}
		if (bytes.Compare(ka, kb) < 0) != (prev < h) {
			t.Fatalf("keys %q and %q do not sort as their hashes", ka, kb)
		}
		prev = h
	}
	for _, bad := range []string{"", "0", "0123456789abcdeF", "0123456789abcdef0", "0123456789abcde/"} {
		if _, ok := parseKey([]byte(bad)); ok {
			t.Errorf("parseKey takes %q", bad)
		}
	}
}

// A changed byte anywhere, another version, another key: each is seen by the
// full check, and a wrong version, length or key by the short one.
func TestCheckValue(t *testing.T) {
	for _, size := range []int{16, 17, 24, 99, 100, 1000} {
		d := newDataset(3, size, 1)
		h := d.hash(0)
		v := bytes.Clone(d.value(d.valueBuffer(), h, 5))
		for _, full := range []bool{false, true} {
			if err := d.checkValue(h, v, 5, 5, full); err != nil {
				t.Fatalf("size %d: %v", size, err)
			}
			for name, err := range map[string]error{
				"stale":   d.checkValue(h, v, 6, 7, full),
				"future":  d.checkValue(h, v, 3, 4, full),
				"short":   d.checkValue(h, v[:size-1], 5, 5, full),
				"foreign": d.checkValue(d.hash(1), v, 0, 1<<31, full),
			} {
				if !errors.Is(err, errWrong) {
					t.Errorf("size %d: a %s value passes (full %v)", size, name, full)
				}
			}
		}
		for i := range size {
			v[i] ^= 1
			if d.checkValue(h, v, 1, 9, true) == nil {
				t.Errorf("size %d: byte %d changed, and the value passes", size, i)
			}
			v[i] ^= 1
		}
	}
}

func TestValuesAreHalfCompressible(t *testing.T) {
	d := newDataset(3, 100, 1)
	v := d.value(d.valueBuffer(), 1, 1)
	if d.words != 6 || !bytes.Equal(v[:48], v[48:96]) || bytes.Equal(v[:24], v[24:48]) {
		t.Errorf("%d words, value %x", d.words, v)
	}
}

// The share of the first rank under Zipf 0.99 is 1/zeta(n).
func TestZipf(t *testing.T) {
	const n, draws = 1000, 200_000
	z := newZipf(n)
	r := rng(1)
	counts := make([]int, n)
	for range draws {
		counts[z.next(&r)]++
	}
	want := draws / z.zetan
	if got := float64(counts[0]); got < 0.95*want || got > 1.05*want {
		t.Errorf("rank 0 drawn %v times, want about %v", got, want)
	}
	if counts[0] < counts[1] || counts[1] < counts[10] || counts[10] < counts[500] {
		t.Errorf("counts do not fall with the rank: %d %d %d %d", counts[0], counts[1], counts[10], counts[500])
	}
}
