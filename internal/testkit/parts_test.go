package testkit

import (
	"errors"
	"math"
	"testing"
)

// TestMergers holds what the operators mean, case by case.
func TestMergers(t *testing.T) {
	set := func(elements ...string) string { return string(AppendSet(nil, elements...)) }
	n := Number
	const missing = "missing"
	cases := []struct {
		merger   *Merger
		value    string
		operands []string
		want     string // missing: an error
	}{
		{Counter, missing, []string{n(5)}, "\x05\x00\x00\x00\x00\x00\x00\x00"},
		{Counter, n(-3), []string{n(5), n(-300)}, n(-298)},
		{Counter, n(math.MaxInt64), []string{n(1)}, missing},
		{Counter, n(math.MaxInt64), []string{n(1), n(-1)}, n(math.MaxInt64)},
		{Counter, n(math.MinInt64), []string{n(-1)}, missing},
		{Counter, n(math.MinInt64), []string{n(math.MinInt64), n(math.MaxInt64), n(math.MaxInt64)}, n(-2)},
		{Counter, n(math.MaxInt64), []string{n(math.MinInt64)}, n(-1)},
		{Counter, "", []string{n(1)}, missing},
		{Counter, missing, []string{n(1)[:7]}, missing},
		{Counter, missing, []string{n(1) + "\x00"}, missing},
		{AppendComma, missing, []string{"a"}, "a"},
		{AppendComma, missing, []string{"", "a"}, ", a"},
		{AppendComma, "", []string{"a"}, ", a"},
		{AppendComma, "x", []string{"a", "", "b"}, "x, a, , b"},
		{AppendBare, "x", []string{"a", "b"}, "xab"},
		{Max, missing, []string{"", "\x00"}, "\x00"},
		{Max, "b", []string{"abc", "\xff", "b"}, "\xff"},
		{Min, missing, []string{"b", "a\x00"}, "a\x00"},
		{Min, "", []string{"a"}, ""},
		{Union, missing, []string{set()}, ""},
		{Union, missing, []string{set("b", "a", "b", "")}, "\x00\x01a\x01b"},
		{Union, set("b", "d"), []string{set("c"), set("a", "b")}, set("a", "b", "c", "d")},
		{Union, set("aa", "b"), []string{set("a")}, "\x01a\x02aa\x01b"},
		{Union, missing, []string{"\x01b\x01a"}, missing},
		{Union, missing, []string{"\x01a\x01a"}, missing},
		{Union, missing, []string{"\x02a"}, missing},
		{Union, missing, []string{"\x81\x00a"}, missing}, // a length longer than need be
		{Union, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", []string{set("a")}, missing},
	}
	for _, c := range cases {
		value := c.value
		if value == missing {
			value = ""
		}
		got, err := c.merger.Full(value, c.value != missing, c.operands)
		if c.want == missing && !errors.Is(err, ErrMerge) || c.want != missing && (err != nil || got != c.want) {
			t.Errorf("%s of %q and %q: %q, %v; want %q", c.merger.Name, c.value, c.operands, got, err, c.want)
		}
	}
}

// TestExpiry holds what the time does to a key.
func TestExpiry(t *testing.T) {
	m := NewModel()
	m.UseMerger(Default, AppendComma)
	m.Commit([]Op{{Key: "k", Value: "old"}})
	m.Commit([]Op{{Kind: PutTTL, Key: "k", Value: "v", Expiry: 10}})
	m.Commit([]Op{{Kind: Merge, Key: "k", Value: "o"}})
	for _, c := range []struct {
		view View
		want string
	}{
		{View{1, 10}, "old"}, {View{2, 9}, "v"}, {View{2, 10}, ""}, {View{2, 11}, ""}, {View{3, 9}, "v, o"}, {View{3, 10}, "o"},
	} {
		if got, ok, err := m.Lookup(c.view, Default, "k"); got != c.want || ok != (c.want != "") || err != nil {
			t.Errorf("%+v: %q, %v, %v; want %q", c.view, got, ok, err, c.want)
		}
	}
}

// TestSpans holds prefixes and overlaps.
func TestSpans(t *testing.T) {
	for prefix, want := range map[string]Span{
		"":         {NoEnd: true},
		"a":        {"a", "b", false},
		"a\xff":    {"a\xff", "b", false},
		"\xff\xff": {"\xff\xff", "", true},
		"\x00":     {"\x00", "\x01", false},
		"a\xfe":    {"a\xfe", "a\xff", false},
	} {
		if got := PrefixSpan(prefix); got != want {
			t.Errorf("prefix %q: %+v, want %+v", prefix, got, want)
		}
	}
	spans := []Span{{"", "", true}, {"", "", false}, {"a", "c", false}, {"c", "d", false}, {"b", "", true}, {"b", "a", false}, {"b", "b", false}, KeySpan("c"), KeySpan("b")}
	points := []string{"", "a", "b", "b\x00", "bb", "c", "c\x00", "cc", "d", "e"}
	for _, a := range spans {
		for _, b := range spans {
			want := false
			for _, p := range points {
				want = want || a.Contains(p) && b.Contains(p)
			}
			if a.Overlaps(b) != want {
				t.Errorf("%+v and %+v overlap: %v", a, b, !want)
			}
		}
		some := false
		for _, p := range points {
			some = some || a.Contains(p)
		}
		if a.Empty() == some {
			t.Errorf("%+v is empty: %v", a, some)
		}
	}
	op := Op{Kind: DeleteRange, Key: "a", Hi: "b"}
	if lo, hi := op.Range(); string(lo) != "a" || string(hi) != "b" {
		t.Errorf("%q, %q", lo, hi)
	}
	op.NoEnd = true
	if lo, hi := op.Range(); string(lo) != "a" || hi != nil {
		t.Errorf("%q, %q", lo, hi)
	}
	if lo, hi := (Span{}).Bounds(); lo == nil || hi == nil {
		t.Error("an empty bound is no missing one")
	}
}

// TestCursorStops moves onto a row that cannot be read, and on.
func TestCursorStops(t *testing.T) {
	bad := Row{Key: "b", Err: ErrMerge}
	rows := []Row{{Key: "a"}, bad, {Key: "c", Value: "v"}}
	m := NewModel()
	m.UseMerger(Default, Counter)
	m.Commit([]Op{{Key: "a"}, {Kind: Merge, Key: "b", Value: "x"}, {Key: "c", Value: "v"}})
	type cursor interface {
		First() bool
		Last() bool
		Next() bool
		Prev() bool
		SeekGE(string) bool
		SeekLT(string) bool
		Row() (Row, bool)
		Err() error
	}
	for _, c := range []cursor{NewCursor(rows), m.Begin().Cursor(Default, Span{NoEnd: true}, false), NewCursor(m.Scan(m.View(), Default, Span{NoEnd: true}))} {
		if _, ok := c.Row(); ok || c.Err() != nil || !c.First() || c.Next() || c.Err() == nil || c.Next() || c.Prev() || c.Err() == nil {
			t.Error("an error stops a cursor and stays")
		}
		if row, ok := c.Row(); ok || row != (Row{}) {
			t.Errorf("a row with an error: %v", row)
		}
		if !c.Last() || c.Err() != nil || c.Prev() || c.Err() == nil || c.SeekGE("b") || c.Err() == nil || !c.SeekLT("b") || c.Err() != nil {
			t.Error("First, Last and seeks begin afresh")
		}
	}
	c := NewCursor(KeysOnly(rows))
	for _, want := range []string{"a", "b", "c"} {
		c.Next()
		if row, _ := c.Row(); row != (Row{Key: want}) || c.Err() != nil {
			t.Errorf("row %v, want %s; %v", row, want, c.Err())
		}
	}
	if keys := m.Begin().Scan(Read{Span: Span{NoEnd: true}, KeysOnly: true}); len(keys) != 3 || keys[1].Err != nil || keys[2].Value != "" {
		t.Errorf("keys %v", keys)
	}
}
