package valuecodec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/merger"
)

// checkLaws checks that values come back, that what is in dst stays, and that
// what is decoded does not point into what it was decoded from.
func checkLaws[V any](t *testing.T, c Codec[V], values *rapid.Generator[V]) {
	t.Helper()
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := values.Draw(t, "v")
		b, err := c.Append([]byte("before"), v)
		if err != nil {
			t.Fatal(err)
		}
		enc, ok := bytes.CutPrefix(b, []byte("before"))
		if !ok {
			t.Fatalf("overwrote what was there: %q", b)
		}
		got, err := c.Decode(enc)
		for i := range enc {
			enc[i] ^= 0x55
		}
		if d := cmp.Diff(v, got); err != nil || d != "" {
			t.Fatalf("%v: %s", err, d)
		}
	})
}

type user struct {
	Name string
	Tags []string `json:",omitempty"`
}

func TestLaws(t *testing.T) {
	t.Run("bytes", func(t *testing.T) { checkLaws(t, Bytes, rapid.SliceOf(rapid.Byte())) })
	t.Run("string", func(t *testing.T) { checkLaws(t, String, rapid.String()) })
	t.Run("empty", func(t *testing.T) { checkLaws(t, Empty, rapid.Just(struct{}{})) })
	t.Run("json", func(t *testing.T) {
		checkLaws(t, JSON[user](), rapid.Custom(func(t *rapid.T) user {
			return user{rapid.String().Draw(t, "name"), rapid.SliceOfN(rapid.String(), 1, 3).Draw(t, "tags")}
		}))
	})
	t.Run("binary that appends", func(t *testing.T) {
		checkLaws(t, Binary[time.Time](), rapid.Map(rapid.Int64Range(0, 1e18), func(n int64) time.Time { return time.Unix(0, n).UTC() }))
	})
	t.Run("binary", func(t *testing.T) {
		checkLaws(t, Binary[marshals](), rapid.Map(rapid.String(), func(s string) marshals { return marshals{s} }))
	})
	t.Run("int64", func(t *testing.T) { checkLaws(t, Int64, rapid.Int64()) })
	t.Run("ordered", func(t *testing.T) { checkLaws(t, Ordered(keycodec.Varint), rapid.Int64()) })
	t.Run("set", func(t *testing.T) {
		checkLaws(t, Set(String), rapid.Map(rapid.SliceOf(rapid.String()), func(s []string) []string {
			slices.Sort(s)
			return slices.Compact(s)
		}))
	})
	t.Run("func", func(t *testing.T) {
		checkLaws(t, Func(
			func(dst []byte, v uint64) ([]byte, error) { return binary.LittleEndian.AppendUint64(dst, v), nil },
			func(b []byte) (uint64, error) { return binary.LittleEndian.Uint64(b), nil },
		), rapid.Uint64())
	})
}

// marshals has no AppendBinary, and refuses some values.
type marshals struct{ S string }

var errRefused = errors.New("refused")

func (m marshals) MarshalBinary() ([]byte, error) {
	if m.S == "bad" {
		return nil, errRefused
	}
	return []byte(m.S), nil
}

func (m *marshals) UnmarshalBinary(b []byte) error {
	m.S = string(b)
	if m.S == "bad" {
		return errRefused
	}
	return nil
}

// TestFailures checks that errors come through, with dst and the zero value.
func TestFailures(t *testing.T) {
	dst := []byte("dst")
	if b, err := JSON[chan int]().Append(dst, nil); err == nil || string(b) != "dst" {
		t.Errorf("JSON of a channel: %q, %v", b, err)
	}
	if v, err := JSON[user]().Decode([]byte(`{"Name":"x","Tags":3}`)); err == nil || v.Name != "" {
		t.Errorf("JSON of another type: %+v, %v", v, err)
	}
	if b, err := Binary[marshals]().Append(dst, marshals{"bad"}); !errors.Is(err, errRefused) || string(b) != "dst" {
		t.Errorf("Binary: %q, %v", b, err)
	}
	if v, err := Binary[marshals]().Decode([]byte("bad")); !errors.Is(err, errRefused) || v.S != "" {
		t.Errorf("Binary: %v, %v", v, err)
	}
	strange := time.Now().In(time.FixedZone("strange", 1<<30)) // an offset that does not fit
	if b, err := Binary[time.Time]().Append(dst, strange); err == nil || string(b) != "dst" {
		t.Errorf("Binary of a time: %q, %v", b, err)
	}
	if _, err := Empty.Decode([]byte("x")); err == nil {
		t.Error("Empty takes a byte")
	}
	if v, err := Bytes.Decode(nil); err != nil || v == nil {
		t.Errorf("Bytes of nothing: %v, %v", v, err)
	}
	if v, err := Binary[url.URL]().Decode([]byte("http://x/y")); err != nil || !strings.HasSuffix(v.Path, "y") {
		t.Errorf("Binary of a URL: %v, %v", &v, err)
	}
}

// TestMerged: the codecs write what the operators read, and read what they write.
func TestMerged(t *testing.T) {
	checkMerged(t, merger.Counter{}, Int64, 40, []int64{3, -1}, 42)
	checkMerged(t, merger.Max{}, Ordered(keycodec.Int64), -300, []int64{-2, -1, -256}, -1)
	checkMerged(t, merger.Min{}, Ordered(keycodec.Float64), 1, []float64{-1, 0.5, -2.5}, -2.5)
	checkMerged(t, merger.Union{}, Set(Int64), []int64{2, 1, 2}, [][]int64{{1, 3}, nil}, []int64{1, 2, 3})
	checkMerged(t, merger.Union{}, Set(Bytes), nil, [][][]byte{{}}, [][]byte{})
}

func checkMerged[V any](t *testing.T, m merger.Operator, c Codec[V], v V, operands []V, want V) {
	t.Helper()
	var encoded [][]byte
	for _, o := range append([]V{v}, operands...) {
		b, err := c.Append(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		encoded = append(encoded, b)
	}
	b, err := m.Full(nil, nil, encoded[0], true, encoded[1:])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Decode(b); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("%s: %v, %v; want %v", m.Name(), got, err, want)
	}
}

// TestMergedFailures: what is not of the operator's form is an error.
func TestMergedFailures(t *testing.T) {
	if n, err := Int64.Decode([]byte("seven b")); n != 0 || !errors.Is(err, merger.ErrForm) {
		t.Errorf("Int64 of 7 bytes: %d, %v", n, err)
	}
	if v, err := Ordered(keycodec.Uint16).Decode([]byte("x")); v != 0 || !errors.Is(err, keycodec.ErrInvalid) {
		t.Errorf("Ordered: %v, %v", v, err)
	}
	if v, err := Set(String).Decode([]byte("\x01b\x01a")); v != nil || !errors.Is(err, merger.ErrForm) {
		t.Errorf("Set out of order: %v, %v", v, err)
	}
	bad := Set(Binary[marshals]())
	if b, err := bad.Append([]byte("dst"), []marshals{{"a"}, {"bad"}}); !errors.Is(err, errRefused) || string(b) != "dst" {
		t.Errorf("Set of what does not encode: %q, %v", b, err)
	}
	if v, err := bad.Decode(merger.AppendSet(nil, []byte("a"), []byte("bad"))); v != nil || !errors.Is(err, errRefused) {
		t.Errorf("Set of what does not decode: %v, %v", v, err)
	}
}

// FuzzDecode decodes any bytes: codecs of others are theirs to fuzz.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Name":"x","Tags":["y"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := String.Decode(b)
		again, err2 := Bytes.Decode(b)
		if err != nil || err2 != nil || s != string(b) || !bytes.Equal(again, b) {
			t.Fatalf("%x: %q, %v, %x, %v", b, s, err, again, err2)
		}
		if _, err := Empty.Decode(b); (err == nil) != (len(b) == 0) {
			t.Fatalf("Empty of %x: %v", b, err)
		}
		fuzzMerged(t, Int64, b)
		fuzzMerged(t, Ordered(keycodec.Time), b)
		fuzzMerged(t, Ordered(keycodec.String), b)
		fuzzMerged(t, Set(String), b)
		u, err := JSON[user]().Decode(b)
		if err != nil {
			return
		}
		enc, err := JSON[user]().Append(nil, u)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := JSON[user]().Decode(enc); err != nil || again.Name != u.Name || len(again.Tags) != len(u.Tags) {
			t.Fatalf("%q is %+v, which is %q, which is %+v, %v", b, u, enc, again, err)
		}
	})
}

// fuzzMerged: what decodes encodes to the same bytes, by which the operators of
// package merger compare.
func fuzzMerged[V any](t *testing.T, c Codec[V], b []byte) {
	v, err := c.Decode(b)
	if err != nil {
		return
	}
	if again, err := c.Append(nil, v); err != nil || !bytes.Equal(again, b) {
		t.Fatalf("%T: %x is %v, which is %x, %v", c, b, v, again, err)
	}
}
