package merger

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzCounter merges three operands of any bytes.
func FuzzCounter(f *testing.F) {
	f.Add(AppendInt64(nil, 1), AppendInt64(nil, 1<<63-1), AppendInt64(nil, -1<<63))
	f.Add([]byte{}, []byte("1"), []byte("123456789"))
	f.Fuzz(func(t *testing.T, a, b, c []byte) { foldThree(t, pure{Counter{}, t}, a, b, c) })
}

// FuzzUnion merges three sets of any bytes.
func FuzzUnion(f *testing.F) {
	f.Add(AppendSet(nil, []byte("a")), AppendSet(nil, []byte("b"), []byte("a")), AppendSet(nil))
	f.Add([]byte("\x80\x00"), []byte("\x01b\x01a"), []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"))
	f.Fuzz(func(t *testing.T, a, b, c []byte) { foldThree(t, pure{Union{}, t}, a, b, c) })
}

// FuzzSet reads a set of any bytes: it is refused, or is exactly what AppendSet
// makes of its elements.
func FuzzSet(f *testing.F) {
	f.Add([]byte("\x00\x01a\x02ab"))
	f.Add([]byte("\x81\x00a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		elements, err := Set(b)
		if err != nil {
			if elements != nil || !errors.Is(err, ErrForm) {
				t.Fatalf("Set(%x) is %x, %v", b, elements, err)
			}
			return
		}
		if again := AppendSet(nil, elements...); !bytes.Equal(again, b) {
			t.Fatalf("Set(%x) is %x, which is %x", b, elements, again)
		}
		for _, e := range elements {
			if in, err := Contains(b, e); err != nil || !in {
				t.Fatalf("%x not in %x: %v", e, b, err)
			}
		}
	})
}

// FuzzBytes merges any bytes with the operators that take any.
func FuzzBytes(f *testing.F) {
	f.Add("sep", []byte("a"), []byte(""), []byte("\xff"))
	f.Fuzz(func(t *testing.T, sep string, a, b, c []byte) {
		for _, p := range []pure{{Append{sep}, t}, {Max{}, t}, {Min{}, t}} {
			foldThree(t, p, a, b, c)
		}
	})
}

// foldThree compares the ways to merge three.
func foldThree(t *testing.T, p pure, a, b, c []byte) {
	want, wantErr := p.full(nil, false, [][]byte{a, b, c})
	same := func(how string, got []byte, err error) {
		if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
			t.Fatalf("%s: %x, %v %s; at once %x, %v", p.Name(), got, err, how, want, wantErr)
		}
	}
	got, err := p.full(a, true, [][]byte{b, c})
	same("on the first", got, err)
	if ab, ok, err := p.partial(a, b); ok && err == nil {
		got, err = p.full(nil, false, [][]byte{ab, c})
		same("with the first two merged", got, err)
		if abc, ok, err := p.partial(ab, c); ok && err == nil {
			got, err = p.full(nil, false, [][]byte{abc})
			same("with all merged from the left", got, err)
		}
	}
	if bc, ok, err := p.partial(b, c); ok && err == nil {
		got, err = p.full(a, true, [][]byte{bc})
		same("with the last two merged", got, err)
	}
}
