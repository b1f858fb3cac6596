package merger

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb/internal/base"
)

// pure wraps a merger and checks what base.Merger asks of the methods: inputs
// stay as they are, results are none of them, dst is only appended to.
type pure struct {
	base.Merger
	t fataler
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (p pure) check(inputs [][]byte, call func(dst []byte) ([]byte, error)) ([]byte, error) {
	p.t.Helper()
	var before [][]byte
	for _, in := range inputs {
		before = append(before, bytes.Clone(in))
	}
	same := func(when string) {
		for i := range inputs {
			if !bytes.Equal(inputs[i], before[i]) {
				p.t.Fatalf("%s: input %d was %x and is %x %s", p.Name(), i, before[i], inputs[i], when)
			}
		}
	}
	out, err := call(append(make([]byte, 0, 40), "dst:"...))
	same("after the call")
	if err != nil {
		if out != nil || !errors.Is(err, ErrForm) && !errors.Is(err, ErrOverflow) {
			p.t.Fatalf("%s: %x with error %v", p.Name(), out, err)
		}
		return nil, err
	}
	if out == nil {
		return nil, nil
	}
	rest, ok := bytes.CutPrefix(out, []byte("dst:"))
	if !ok {
		p.t.Fatalf("%s: overwrote dst: %x", p.Name(), out)
	}
	result := bytes.Clone(rest)
	for i := range out {
		out[i] ^= 0xff
	}
	same("after the result changed")
	return append([]byte{}, result...), nil
}

func (p pure) full(existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	p.t.Helper()
	return p.check(append(slices.Clone(operands), existing), func(dst []byte) ([]byte, error) {
		return p.Full(dst, []byte("key"), existing, exists, operands)
	})
}

func (p pure) partial(older, newer []byte) (out []byte, ok bool, err error) {
	p.t.Helper()
	out, err = p.check([][]byte{older, newer}, func(dst []byte) (b []byte, err error) {
		b, ok, err = p.Partial(dst, []byte("key"), older, newer)
		return b, err
	})
	return out, ok, err
}

// fold merges in random steps, as flushes and compactions do: neighbours by
// Partial, and the oldest ones onto the value by Full. A step that fails leaves
// everything as it was.
func fold(t *rapid.T, p pure, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	operands = slices.Clone(operands)
	for range rapid.IntRange(0, 2*len(operands)).Draw(t, "steps") {
		if len(operands) == 0 {
			break
		}
		i := rapid.IntRange(0, len(operands)-1).Draw(t, "at")
		if rapid.IntRange(0, 3).Draw(t, "full") == 0 {
			if out, err := p.full(existing, exists, operands[:i+1]); err == nil {
				existing, exists, operands = out, true, operands[i+1:]
			}
		} else if i+1 < len(operands) {
			if out, ok, err := p.partial(operands[i], operands[i+1]); ok && err == nil {
				operands = slices.Replace(operands, i, i+2, out)
			}
		}
	}
	if len(operands) == 0 {
		return existing, nil
	}
	return p.full(existing, exists, operands)
}

// checkMerger holds a merger to an oracle, and every way of folding to Full.
func checkMerger(t *testing.T, m base.Merger, operand *rapid.Generator[[]byte], oracle func(values [][]byte) ([]byte, error)) {
	t.Helper()
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := pure{m, t}
		operands := rapid.SliceOfN(operand, 1, 8).Draw(t, "operands")
		values := operands
		var existing []byte
		exists := rapid.Bool().Draw(t, "exists")
		if exists {
			existing = operand.Draw(t, "existing")
			values = append([][]byte{existing}, operands...)
		}
		want, wantErr := oracle(values)
		got, err := p.full(existing, exists, operands)
		if !bytes.Equal(got, want) || !errors.Is(err, wantErr) {
			t.Fatalf("Full(%x, %v, %x) is %x, %v; want %x, %v", existing, exists, operands, got, err, want, wantErr)
		}
		got, err = fold(t, p, existing, exists, operands)
		if !bytes.Equal(got, want) || !errors.Is(err, wantErr) {
			t.Fatalf("in steps it is %x, %v; want %x, %v", got, err, want, wantErr)
		}
	})
}

func TestCounter(t *testing.T) {
	number := rapid.OneOf(rapid.Int64Range(-3, 3), rapid.SampledFrom([]int64{math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, math.MinInt64 + 1}), rapid.Int64())
	checkMerger(t, Counter{}, rapid.Map(number, func(n int64) []byte { return AppendInt64(nil, n) }), func(values [][]byte) ([]byte, error) {
		total := new(big.Int)
		for _, v := range values {
			n, err := Int64(v)
			if err != nil {
				return nil, err
			}
			total.Add(total, big.NewInt(n))
		}
		if !total.IsInt64() {
			return nil, ErrOverflow
		}
		return AppendInt64(nil, total.Int64()), nil
	})
}

func TestCounterOfManyLargeOperands(t *testing.T) {
	operands := make([][]byte, 100_000)
	for i := range operands {
		operands[i] = AppendInt64(nil, math.MaxInt64)
		if i%2 == 1 {
			operands[i] = AppendInt64(nil, math.MinInt64)
		}
	}
	out, err := Counter{}.Full(nil, nil, nil, false, operands)
	if n, err2 := Int64(out); err != nil || err2 != nil || n != -50_000 {
		t.Errorf("sum %d, %v, %v", n, err, err2)
	}
	if _, err := (Counter{}).Full(nil, []byte("k"), nil, false, operands[:1999:1999]); err != nil {
		t.Error(err)
	}
	_, err = Counter{}.Full(nil, []byte("k"), AppendInt64(nil, 1), true, [][]byte{operands[0]})
	if !errors.Is(err, ErrOverflow) || !strings.Contains(err.Error(), `"k"`) {
		t.Errorf("an overflow is %v", err)
	}
}

// few draws byte strings that are often equal.
func few() *rapid.Generator[[]byte] {
	return rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 0xff}), 0, 3)
}

func TestAppend(t *testing.T) {
	for _, sep := range []string{"", ",", "\x00\"\n"} {
		t.Run(Append{sep}.Name(), func(t *testing.T) {
			checkMerger(t, Append{sep}, few(), func(values [][]byte) ([]byte, error) {
				return bytes.Join(values, []byte(sep)), nil
			})
		})
	}
}

func TestExtremes(t *testing.T) {
	t.Run("max", func(t *testing.T) {
		checkMerger(t, Max{}, few(), func(values [][]byte) ([]byte, error) { return slices.MaxFunc(values, bytes.Compare), nil })
	})
	t.Run("min", func(t *testing.T) {
		checkMerger(t, Min{}, few(), func(values [][]byte) ([]byte, error) { return slices.MinFunc(values, bytes.Compare), nil })
	})
}

func TestUnion(t *testing.T) {
	set := rapid.Map(rapid.SliceOfN(few(), 0, 5), func(e [][]byte) []byte { return AppendSet(nil, e...) })
	checkMerger(t, Union{}, set, func(values [][]byte) ([]byte, error) {
		var all [][]byte
		for _, v := range values {
			e, err := Set(v)
			if err != nil {
				return nil, err
			}
			all = append(all, e...)
		}
		return AppendSet(nil, all...), nil
	})
}

func TestSets(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		elements := rapid.SliceOfN(few(), 0, 8).Draw(t, "elements")
		given := slices.Clone(elements)
		b := AppendSet([]byte("x"), elements...)
		if b[0] != 'x' || !cmp.Equal(elements, given) {
			t.Fatalf("AppendSet changed its arguments")
		}
		want := map[string]bool{}
		for _, e := range elements {
			want[string(e)] = true
		}
		got, err := Set(b[1:])
		if err != nil || len(got) != len(want) || !slices.IsSortedFunc(got, bytes.Compare) {
			t.Fatalf("set of %x: %x, %v", elements, got, err)
		}
		for _, e := range got {
			if !want[string(e)] {
				t.Fatalf("set of %x has %x", elements, e)
			}
		}
		e := few().Draw(t, "asked")
		if in, err := Contains(b[1:], e); err != nil || in != want[string(e)] {
			t.Fatalf("%x in %x: %v, %v", e, elements, in, err)
		}
	})
}

// TestWrongForms checks that what is not of an operator's form is an error
// wherever it stands, and that the rest is not merged.
func TestWrongForms(t *testing.T) {
	long := AppendSet(nil, bytes.Repeat([]byte("x"), 200))
	cases := []struct {
		m    base.Merger
		good []byte
		bad  []string
	}{
		{Counter{}, AppendInt64(nil, 1), []string{"", "1", "1234567", "123456789"}},
		{Union{}, AppendSet(nil, []byte("a")), []string{"\x02a", "\x01", "\x81\x00a", "\x01b\x01a", "\x01a\x01a", "\x01a\x00", "\x00\x00", "\x80",
			"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", string(long[:len(long)-1])}},
	}
	for _, c := range cases {
		p := pure{c.m, t}
		for _, s := range c.bad {
			bad := []byte(s)
			for _, try := range []struct {
				existing []byte
				operands [][]byte
			}{
				{nil, [][]byte{bad}}, {nil, [][]byte{bad, c.good}}, {nil, [][]byte{c.good, bad}}, {c.good, [][]byte{bad}},
				{bad, [][]byte{c.good}}, {bad, [][]byte{c.good, c.good}}, {c.good, [][]byte{c.good, bad, c.good}},
			} {
				if out, err := p.full(try.existing, try.existing != nil, try.operands); !errors.Is(err, ErrForm) {
					t.Errorf("%s: Full(%x, %x) is %x, %v", c.m.Name(), try.existing, try.operands, out, err)
				}
			}
			for _, pair := range [][2][]byte{{bad, c.good}, {c.good, bad}, {bad, bad}} {
				if out, ok, err := p.partial(pair[0], pair[1]); ok || !errors.Is(err, ErrForm) {
					t.Errorf("%s: Partial(%x, %x) is %x, %v, %v", c.m.Name(), pair[0], pair[1], out, ok, err)
				}
			}
		}
	}
	if _, err := Contains([]byte("\x05a"), []byte("b")); !errors.Is(err, ErrForm) {
		t.Errorf("Contains of a bad set: %v", err)
	}
	if e, err := Set([]byte("\x01a\x05a")); !errors.Is(err, ErrForm) || e != nil {
		t.Errorf("Set of a bad set: %x, %v", e, err)
	}
}

// TestGolden freezes names and forms, which are in databases.
func TestGolden(t *testing.T) {
	names := []string{}
	for _, m := range []base.Merger{Counter{}, Append{}, Append{","}, Append{"\"\x00é"}, Max{}, Min{}, Union{}} {
		names = append(names, m.Name())
	}
	want := []string{"seerdb.counter", `seerdb.append/""`, `seerdb.append/","`, `seerdb.append/"\"\x00\u00e9"`, "seerdb.max", "seerdb.min", "seerdb.union"}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
	for got, want := range map[string]string{
		string(AppendInt64(nil, -2)):                                 "feffffffffffffff",
		string(AppendInt64(nil, 258)):                                "0201000000000000",
		string(AppendSet(nil)):                                       "",
		string(AppendSet(nil, []byte("b"), nil, []byte("ab"))):       "00026162" + "0162",
		string(AppendSet(nil, bytes.Repeat([]byte("x"), 128))[:3]):   "800178",
		string(AppendSet(nil, []byte("b"), []byte{}, []byte("b"))):   "000162",
		string(AppendSet([]byte("-"), []byte("b"), []byte("a"))):     "2d01610162",
		string(AppendSet([]byte("-"), []byte("a"), []byte("b"))[1:]): "01610162",
	} {
		if h := hex.EncodeToString([]byte(got)); h != want {
			t.Errorf("%s, want %s", h, want)
		}
	}
}

// TestAllocations checks that merging into a buffer with room takes no memory
// of its own for what is merged all the time.
func TestAllocations(t *testing.T) {
	buf := make([]byte, 0, 256)
	one, set := AppendInt64(nil, 1), AppendSet(nil, []byte("a"), []byte("b"))
	operands, sets := [][]byte{one, one, one}, [][]byte{set}
	var err error
	note := func(e error) {
		if e != nil {
			err = e
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		_, e := Counter{}.Full(buf, nil, one, true, operands)
		note(e)
		_, _, e = Counter{}.Partial(buf, nil, one, one)
		note(e)
		_, e = Append{","}.Full(buf, nil, one, true, operands)
		note(e)
		_, e = Max{}.Full(buf, nil, one, true, operands)
		note(e)
		_, _, e = Min{}.Partial(buf, nil, one, one)
		note(e)
		_, e = Union{}.Full(buf, nil, set, true, sets)
		note(e)
	}); n != 0 || err != nil {
		t.Errorf("%v allocations, %v", n, err)
	}
}
