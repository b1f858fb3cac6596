package readstate

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// TestTableRunFind: tables that touch at a key that only the later one has.
func TestTableRunFind(t *testing.T) {
	r := &Run{}
	for i, m := range []manifest.FileMeta{
		{Smallest: []byte("a"), Largest: []byte("c"), LargestBound: base.BoundExclusive},
		{Smallest: []byte("c"), Largest: []byte("e")},
		{Smallest: []byte("g"), Largest: []byte("h"), LargestBound: base.BoundNone},
	} {
		m.Num = base.FileNum(i + 1)
		r.Tables = append(r.Tables, &Table{Meta: &m})
	}
	for key, want := range map[string]base.FileNum{
		"": 0, "a": 1, "bz": 1, "c": 2, "e": 2, "ea": 0, "f": 0, "g": 3, "h": 3, "zz": 3,
	} {
		got := base.FileNum(0)
		if f := r.Find([]byte(key)); f != nil {
			got = f.Meta.Num
		}
		if got != want {
			t.Errorf("%q is in table %d, want %d", key, got, want)
		}
	}
	for key, want := range map[string]int{"": 0, "bz": 0, "c": 1, "ea": 2, "zz": 2} {
		if got := r.search([]byte(key)); got != want {
			t.Errorf("search %q: %d, want %d", key, got, want)
		}
	}
}
