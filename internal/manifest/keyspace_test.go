package manifest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestKeyspaceEdits: what edits say about keyspaces survives encoding, adding
// up, rotation and reopening; numbers and time do not go back.
func TestKeyspaceEdits(t *testing.T) {
	fs := memfs.New()
	if err := fs.MkdirAll("db"); err != nil {
		t.Fatal(err)
	}
	l, err := Create(fs, "db", 1, 9)
	if err != nil {
		t.Fatal(err)
	}
	edits := []*Edit{
		{SetKeyspaces: []Keyspace{{ID: 1, Name: "a"}, {ID: 2, Name: "b", Merger: "sum"}}, Clock: 50},
		{SetKeyspaces: []Keyspace{{ID: 0, Merger: "max"}}},
		{DropKeyspaces: []uint32{2}, Clock: 40},
		{DropKeyspaces: []uint32{1}, SetKeyspaces: []Keyspace{{ID: 3, Name: "a"}}},
		{SetKeyspaces: []Keyspace{{ID: 3, Name: "a", Merger: "sum"}}, Clock: 60},
		{DropKeyspaces: []uint32{3}},
	}
	var states []*State
	for _, e := range edits {
		decoded, err := DecodeEdit(AppendEdit(nil, e))
		if err != nil || !cmp.Equal(decoded, e) {
			t.Fatalf("decoded %+v, %v; want %+v", decoded, err, e)
		}
		if err := l.Append(e); err != nil {
			t.Fatal(err)
		}
		states = append(states, l.State())
	}
	want := []Keyspace{{ID: 0, Merger: "max"}, {ID: 3, Name: "a", Merger: "sum"}}
	if got := states[4].Keyspaces; !slices.Equal(got, want) {
		t.Fatalf("keyspaces %+v, want %+v", got, want)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // from edits, then from a snapshot
		s, err := Recover(fs, "db")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(s.Keyspaces, want[:1]) || s.NextKeyspace != 4 || s.Clock != 60 {
			t.Fatalf("recovered %+v, next %d, clock %d", s.Keyspaces, s.NextKeyspace, s.Clock)
		}
		if l, err = Start(fs, "db", s, 9); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestImpossibleKeyspaces: edits that cannot be true are refused.
func TestImpossibleKeyspaces(t *testing.T) {
	s := &State{Version: &Version{}}
	s, err := s.apply(&Edit{SetKeyspaces: []Keyspace{{ID: 1, Name: "a"}, {ID: 5, Name: "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	table := NewFile{1, &FileMeta{
		Num: 9, Run: 1, Size: 1, Entries: 1, Format: base.FormatNewest, Keyspace: 2,
		Smallest: []byte("a"), Largest: []byte("b"), SmallestSeq: 1, LargestSeq: 1,
	}}
	many := func(last ...string) *Edit { // more names than are compared one by one
		e := new(Edit)
		for i := range uint32(2 * fewKeyspaces) {
			e.SetKeyspaces = append(e.SetKeyspaces, Keyspace{ID: 10 + i, Name: fmt.Sprint("n", i)})
		}
		for i, name := range last {
			e.SetKeyspaces = append(e.SetKeyspaces, Keyspace{ID: 100 + uint32(i), Name: name})
		}
		return e
	}
	if next, err := s.apply(many("c", "d")); err != nil || len(next.Keyspaces) != 2*fewKeyspaces+4 {
		t.Errorf("many at once: %v", err)
	}
	for name, e := range map[string]*Edit{
		"many, one is there":     many("a"),
		"many, two of a name":    many("c", "c"),
		"dropped twice":          {DropKeyspaces: []uint32{1, 1}},
		"dropped, never there":   {DropKeyspaces: []uint32{2}},
		"the default dropped":    {DropKeyspaces: []uint32{0}},
		"renamed":                {SetKeyspaces: []Keyspace{{ID: 1, Name: "c"}}},
		"two of a name":          {SetKeyspaces: []Keyspace{{ID: 6, Name: "a"}}},
		"no name":                {SetKeyspaces: []Keyspace{{ID: 6}}},
		"a name for the default": {SetKeyspaces: []Keyspace{{Name: "x"}}},
		"a long name":            {SetKeyspaces: []Keyspace{{ID: 6, Name: strings.Repeat("x", MaxKeyspaceName+1)}}},
		"the last number":        {SetKeyspaces: []Keyspace{{ID: 1<<32 - 1, Name: "x"}}},
		"a table of no keyspace": {Add: []NewFile{table}},
	} {
		if _, err := s.apply(e); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if s.FindKeyspace(5).Name != "b" || s.FindKeyspace(2) != nil || s.NextKeyspace != 6 {
		t.Fatalf("the state changed: %+v", s)
	}
}
