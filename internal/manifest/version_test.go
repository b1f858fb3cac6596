package manifest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb/internal/base"
)

// build applies edits to an empty version.
func build(t testing.TB, edits ...*Edit) *Version {
	t.Helper()
	v := &Version{}
	for _, e := range edits {
		var err error
		if v, err = v.Apply(e); err != nil {
			t.Fatal(err)
		}
		if err := v.Check(); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func sampleVersion(t testing.TB) *Version {
	return build(t,
		&Edit{
			AddValues: []ValueMeta{{Num: 9, Size: 1000, Bytes: 900, Count: 9}},
			Add: []NewFile{
				{1, table(1, 5, "a", "c", 1, 10)},
				{1, table(2, 5, "e", "g", 1, 10, ValueRef{9, 500, 5})},
				{0, table(3, 7, "b", "f", 11, 20, ValueRef{9, 400, 4})},
			},
		},
		&Edit{Add: []NewFile{{0, table(4, 8, "c", "d", 21, 30)}, {1, table(5, 6, "f", "f", 1, 30)}}},
	)
}

func TestVersionText(t *testing.T) {
	want := `L0 run 8
  table 4 ["c", "d"] seq 21-30 entries 10 size 1004 deletes 1
L0 run 7
  table 3 ["b", "f"] seq 11-20 entries 10 size 1003 deletes 1 -> 9 (4 values, 400 bytes)
L1 run 6
  table 5 ["f", "f"] seq 1-30 entries 10 size 1005 deletes 1
L1 run 5
  table 1 ["a", "c"] seq 1-10 entries 10 size 1001 deletes 1
  table 2 ["e", "g"] seq 1-10 entries 10 size 1002 deletes 1 -> 9 (5 values, 500 bytes)
values 9 size 1000 live 9/9 values 900/900 bytes in 2 tables
`
	v := sampleVersion(t)
	if got := v.String(); got != want {
		t.Fatalf("got\n%s", got)
	}
	if v.Tables() != 5 || v.LevelSize(1) != 1001+1002+1005 || v.LevelSize(6) != 0 {
		t.Fatalf("%d tables, level 1 has %d bytes", v.Tables(), v.LevelSize(1))
	}
	var nums []base.FileNum
	v.All(func(_ int, f *FileMeta) bool { nums = append(nums, f.Num); return len(nums) < 3 })
	if fmt.Sprint(nums) != "[4 3 5]" {
		t.Fatalf("All: %v", nums)
	}
}

// TestGarbage follows a value file from full to gone.
func TestGarbage(t *testing.T) {
	v1 := sampleVersion(t)
	before := v1.String()
	e := &Edit{Remove: []OldFile{{1, 2}}, Add: []NewFile{{2, table(6, 2, "e", "g", 0, 0, ValueRef{9, 300, 3})}}}
	v2, err := v1.Apply(e)
	if err != nil {
		t.Fatal(err)
	}
	if vf := v2.Values[9]; vf.Garbage() != 200 || vf.LiveCount != 7 || vf.Tables != 2 {
		t.Fatalf("%+v", vf)
	}
	if got := v1.DroppedBy(e, v2); fmt.Sprint(got) != fmt.Sprint([]Dropped{{base.FileTypeTable, 2}}) {
		t.Fatalf("dropped %v", got)
	}
	// A move drops nothing.
	e = &Edit{Remove: []OldFile{{2, 6}}, Add: []NewFile{{3, v2.Tree(0).Levels[2][0].Files[0]}}}
	v3, err := v2.Apply(e)
	if err != nil || len(v2.DroppedBy(e, v3)) != 0 || len(v3.Tree(0).Levels[2]) != 0 || len(v3.Tree(0).Levels[3]) != 1 {
		t.Fatalf("%v\n%s", err, v3)
	}
	e = &Edit{Remove: []OldFile{{3, 6}, {0, 3}}}
	v4, err := v3.Apply(e)
	if err != nil || len(v4.Values) != 0 || v4.Check() != nil {
		t.Fatalf("%v\n%s", err, v4)
	}
	if got := v3.DroppedBy(e, v4); len(got) != 3 || got[2] != (Dropped{base.FileTypeValues, 9}) {
		t.Fatalf("dropped %v", got)
	}
	if v1.String() != before {
		t.Fatal("Apply changed its receiver")
	}
}

// TestKeyspaces: each keyspace is a tree of its own: their tables may hold the
// same keys, and a version shares with the one before it all trees but those
// that the edit is about.
func TestKeyspaces(t *testing.T) {
	e := &Edit{}
	for i := range 8 {
		f := table(base.FileNum(i+1), 5, "a", "z", base.SeqNum(i+1), base.SeqNum(i+1))
		f.Keyspace = uint32(7 - i)
		e.Add = append(e.Add, NewFile{0, f})
	}
	v := build(t, e)
	other := table(20, 6, "a", "z", 1, 1) // older than what is in the other keyspaces
	other.Keyspace = 99
	next, err := v.Apply(&Edit{Add: []NewFile{{0, other}}, Remove: []OldFile{{0, 5}}})
	if err != nil || next.Check() != nil {
		t.Fatal(err, next.Check())
	}
	if n := len(next.Trees()); n != 8 || next.Tables() != 8 || len(v.Trees()) != 8 {
		t.Fatalf("%d trees", n)
	}
	for ks := range uint32(8) {
		old, tree := v.Tree(ks), next.Tree(ks)
		if ks == 3 {
			if !tree.empty() {
				t.Fatalf("a keyspace without tables has the tree %v", tree)
			}
		} else if f := tree.Levels[0][0].Find([]byte("k")); tree != old || f == nil || f.Keyspace != ks || tree.Keyspace != ks {
			t.Fatalf("keyspace %d: %v, before it %v", ks, tree, old)
		}
	}
	if next.Tree(99).Sums[0].Tables != 1 || !v.Tree(99).empty() {
		t.Fatal(next.Tree(99))
	}
}

// TestImpossibleEdits: none of these can be true of the sample, and none is
// applied.
func TestImpossibleEdits(t *testing.T) {
	with := func(change func(f *FileMeta)) *Edit {
		f := table(50, 50, "m", "p", 100, 110)
		change(f)
		return &Edit{Add: []NewFile{{2, f}}}
	}
	for want, e := range map[string]*Edit{
		"table 99 is not in level 0":                           {Remove: []OldFile{{0, 99}}},
		"table 1 is not in level 0":                            {Remove: []OldFile{{0, 1}}},
		"table 1 is not in level 1":                            {Remove: []OldFile{{1, 1}, {1, 1}}},
		"table 4: a file with this number":                     {Add: []NewFile{{2, table(4, 1, "x", "y", 1, 2)}}},
		"table 9: a file with this number":                     {Add: []NewFile{{2, table(9, 1, "x", "y", 1, 2)}}},
		"value file 9: a file with this number":                {AddValues: []ValueMeta{{Num: 9, Size: 1, Bytes: 1, Count: 1}}},
		"value file 4: a file with this number":                {AddValues: []ValueMeta{{Num: 4, Size: 1, Bytes: 1, Count: 1}}},
		"value file 0":                                         {AddValues: []ValueMeta{{}}},
		"value file 60 is added, but no":                       {AddValues: []ValueMeta{{Num: 60, Size: 1, Bytes: 1, Count: 1}}},
		"not in order or overlap":                              {Add: []NewFile{{1, table(50, 5, "b", "b", 1, 2)}}},
		"level 1 run 5":                                        {Add: []NewFile{{1, table(50, 5, "d", "e", 1, 2)}}},
		"tables 50 [\"h\"":                                     {Add: []NewFile{{2, table(50, 5, "h", "k", 1, 2)}, {2, table(51, 5, "k", "m", 1, 2)}}},
		"is not newer than table 4":                            {Add: []NewFile{{0, table(50, 50, "a", "z", 30, 40)}}},
		"newer than table 4 (run 8":                            {Add: []NewFile{{0, ranged(table(50, 50, "a", "b", 30, 40), base.BoundNone)}}},
		"tables 50 [\"h\", \"k\") and 51":                      {Add: []NewFile{{2, ranged(table(50, 5, "h", "k", 1, 2), base.BoundExclusive)}, {2, table(51, 5, "j", "m", 1, 2)}}},
		"50 [\"h\", ...) and 51":                               {Add: []NewFile{{2, ranged(table(50, 5, "h", "i", 1, 2), base.BoundNone)}, {2, table(51, 5, "k", "m", 1, 2)}}},
		"added to level 7: there are 7":                        {Add: []NewFile{{7, table(50, 5, "x", "y", 1, 2)}}},
		"added to level -1: there are 7":                       {Add: []NewFile{{-1, table(50, 5, "x", "y", 1, 2)}}},
		"added to level 3: there are 7":                        {Add: []NewFile{{3, nil}}},
		"value file 10, which does not exist":                  {Add: []NewFile{{2, table(50, 5, "x", "y", 1, 2, ValueRef{10, 1, 1})}}},
		"exceed what is there":                                 {Add: []NewFile{{2, table(50, 5, "x", "y", 1, 2, ValueRef{9, 1, 1})}}},
		"value reference 0 is invalid":                         with(func(f *FileMeta) { f.ValueRefs = []ValueRef{{9, 0, 0}} }),
		"value reference 1 is invalid":                         with(func(f *FileMeta) { f.ValueRefs = []ValueRef{{9, 1, 1}, {9, 1, 1}} }),
		"table has number 0":                                   with(func(f *FileMeta) { f.Num = 0 }),
		"size 0":                                               with(func(f *FileMeta) { f.Size = 0 }),
		"unknown location":                                     with(func(f *FileMeta) { f.Location = 1 }),
		"newer version":                                        with(func(f *FileMeta) { f.Format = base.FormatNewest + 1 }),
		"format version 0":                                     with(func(f *FileMeta) { f.Format = 0 }),
		"key is too large":                                     with(func(f *FileMeta) { f.Largest = bytes.Repeat([]byte("z"), base.MaxKeySize+1) }),
		"smallest key \"q\" is after":                          with(func(f *FileMeta) { f.Smallest = []byte("q") }),
		"sequences 111 to 110":                                 with(func(f *FileMeta) { f.SmallestSeq = 111 }),
		"sequences 100 to 720575940379279":                     with(func(f *FileMeta) { f.LargestSeq = base.SeqNumMax + 1 }),
		"0 entries, 0 deletes and 0 range tombstones":          with(func(f *FileMeta) { f.Entries, f.Deletes = 0, 0 }),
		"bound 1 contradicts its 0 range":                      with(func(f *FileMeta) { f.LargestBound = base.BoundExclusive }),
		"bound 2 contradicts its 0 range":                      with(func(f *FileMeta) { f.LargestBound = base.BoundNone }),
		"bound 3 contradicts its 1 range":                      with(func(f *FileMeta) { f.LargestBound, f.Ranges = 3, 1 }),
		"key \"p\" is also its end":                            with(func(f *FileMeta) { f.Smallest, f.LargestBound, f.Ranges = f.Largest, base.BoundExclusive, 1 }),
		"11 expiring entries contradict":                       with(func(f *FileMeta) { f.Expiring, f.MaxExpiry = 11, 5 }),
		"1 expiring entries contradict their expiries, 6 to 5": with(func(f *FileMeta) { f.Expiring, f.MinExpiry, f.MaxExpiry = 1, 6, 5 }),
		"0 expiring entries contradict":                        with(func(f *FileMeta) { f.MaxExpiry = 5 }),
		"11 deletes":                                           with(func(f *FileMeta) { f.Deletes = 11 }),
	} {
		v := sampleVersion(t)
		before := v.String()
		next, err := v.Apply(e)
		if err == nil || next != nil {
			t.Errorf("%s: applied\n%s", want, next)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if v.String() != before {
			t.Errorf("%s: the version changed", want)
		}
	}
}

// ranged gives a table range tombstones.
func ranged(f *FileMeta, b base.Bound) *FileMeta {
	f.Ranges, f.LargestBound = 1, b
	return f
}

// TestTouching: a table that ends where the next begins, without that key, does
// not overlap it, and may hide nothing that is newer.
func TestTouching(t *testing.T) {
	only := ranged(table(2, 5, "c", "e", 1, 10), base.BoundExclusive)
	only.Entries, only.Deletes = 0, 0
	v := build(t,
		&Edit{Add: []NewFile{
			{1, ranged(table(1, 5, "a", "c", 1, 10), base.BoundExclusive)},
			{1, only},
			{1, table(3, 5, "e", "e", 1, 10)},
			{1, ranged(table(4, 5, "f", "f", 1, 10), base.BoundNone)},
			{0, table(5, 7, "c", "d", 11, 20)},
		}},
		&Edit{Add: []NewFile{{0, ranged(table(6, 8, "a", "c", 1, 5), base.BoundExclusive)}}},
	)
	want := `L0 run 8
  table 6 ["a", "c") seq 1-5 entries 10 size 1006 deletes 1 ranges 1
L0 run 7
  table 5 ["c", "d"] seq 11-20 entries 10 size 1005 deletes 1
L1 run 5
  table 1 ["a", "c") seq 1-10 entries 10 size 1001 deletes 1 ranges 1
  table 2 ["c", "e") seq 1-10 entries 0 size 1002 ranges 1
  table 3 ["e", "e"] seq 1-10 entries 10 size 1003 deletes 1
  table 4 ["f", ...) seq 1-10 entries 10 size 1004 deletes 1 ranges 1
`
	if got := v.String(); got != want {
		t.Fatalf("got\n%s", got)
	}
	for key, num := range map[string]base.FileNum{"a": 1, "bz": 1, "c": 2, "dz": 2, "e": 3, "f": 4, "zz": 4} {
		if f := v.Tree(0).Levels[1][0].Find([]byte(key)); f == nil || f.Num != num {
			t.Errorf("%q is in %v, want table %d", key, f, num)
		}
	}
	if f := v.Tree(0).Levels[1][0].Find([]byte("ea")); f != nil {
		t.Errorf("between tables: %v", f)
	}
	a, b := v.Tree(0).Levels[1][0].Files[0], v.Tree(0).Levels[1][0].Files[1]
	if a.Overlaps(b) || b.Overlaps(a) || !a.EndsBefore([]byte("c")) || a.EndsBefore([]byte("bz")) || !b.StartsAfter([]byte("bz")) || b.StartsAfter([]byte("c")) {
		t.Error("tables that touch overlap")
	}
}

// TestCheckFinds damages a version in every way that Check must find.
func TestCheckFinds(t *testing.T) {
	for want, damage := range map[string]func(v *Version){
		"run 7 is listed before run 8":     func(v *Version) { slices.Reverse(v.Tree(0).Levels[0]) },
		"run 7 is empty":                   func(v *Version) { v.Tree(0).Levels[0][1].Files = nil },
		"not in order":                     func(v *Version) { slices.Reverse(v.Tree(0).Levels[1][1].Files) },
		"of run 7 is in run 8":             func(v *Version) { v.Tree(0).Levels[0][0].Files[0].Run = 7 },
		"listed twice":                     func(v *Version) { v.trees[0].Levels[2] = v.trees[0].Levels[0] },
		"tree of keyspace 0 has no tables": func(v *Version) { v.trees = []*Tree{{}} },
		"listed before that of 0":          func(v *Version) { v.trees = append(v.trees, v.trees[0]) },
		"keyspace 0 is in the tree":        func(v *Version) { v.trees[0].Keyspace = 3 },
		"the sums are":                     func(v *Version) { v.trees[0].Sums[1].Deletes++ },
		"is not newer":                     func(v *Version) { v.Tree(0).Levels[0][0].Files[0].SmallestSeq = 20 },
		"0 entries":                        func(v *Version) { v.Tree(0).Levels[0][0].Files[0].Entries = 0 },
		"which does not exist":             func(v *Version) { delete(v.Values, 9) },
		"exceed": func(v *Version) {
			v.Values[9] = &ValueFile{ValueMeta: ValueMeta{Num: 9, Size: 1, Bytes: 899, Count: 9}}
		},
		"accounts are":                            func(v *Version) { c := *v.Values[9]; c.LiveBytes--; v.Values[9] = &c },
		"value file 8: its accounts":              func(v *Version) { v.Values[8] = &ValueFile{ValueMeta: ValueMeta{Num: 8}} },
		"number 4 is both a table and a value fi": func(v *Version) { v.Values[4] = &ValueFile{ValueMeta: ValueMeta{Num: 4}} },
	} {
		v := sampleVersion(t)
		damage(v)
		if err := v.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// randomKey makes keys that share the 8 bytes which are compared as a number,
// that are prefixes of others, and that end in zeros.
func randomKey(rng *rand.Rand) string {
	b := []byte([]string{"", "pre", "prefix"}[rng.IntN(3)])
	if rng.IntN(4) == 0 {
		b = append(b, "12345678"...)
	}
	for range rng.IntN(5) {
		b = append(b, "\x00a"[rng.IntN(2)])
	}
	return string(b)
}

// randomRun cuts random keys into tables of one or two keys, and returns the
// keys too.
func randomRun(rng *rand.Rand) (r Run, all []string) {
	r.ID = 1
	var keys []string
	for range rng.IntN(30) {
		keys = append(keys, randomKey(rng))
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	all = append(all, keys...)
	for len(keys) > 0 {
		n := 1 + rng.IntN(min(2, len(keys)))
		f := table(base.FileNum(len(r.Files)+1), 1, keys[0], keys[n-1], 1, 1)
		r.Files = append(r.Files, f)
		if n == 2 && rng.IntN(2) == 0 { // ends where the next may begin
			ranged(f, base.BoundExclusive)
			n = 1
		} else if n == len(keys) && rng.IntN(2) == 0 {
			ranged(f, base.BoundNone)
		}
		keys = keys[n:]
	}
	return r, append(all, randomKey(rng))
}

// TestRunSearch compares Find and Overlapping with a walk over all tables.
func TestRunSearch(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 20000 {
		r, keys := randomRun(rng)
		lo, hi := []byte(keys[rng.IntN(len(keys))]), []byte(keys[rng.IntN(len(keys))])
		if bytes.Compare(lo, hi) > 0 {
			lo, hi = hi, lo
		}
		end := base.End{Key: hi, Bound: base.Bound(rng.IntN(3))}
		var found *FileMeta
		var overlapping []*FileMeta
		for _, f := range r.Files {
			reaches := f.LargestBound == base.BoundNone || bytes.Compare(lo, f.Largest) < 0 ||
				f.LargestBound == base.BoundInclusive && bytes.Equal(lo, f.Largest)
			if bytes.Compare(f.Smallest, lo) <= 0 && reaches {
				found = f
			}
			if c := bytes.Compare(f.Smallest, end.Key); reaches && (end.Bound == base.BoundNone || c < 0 || c == 0 && end.Bound == base.BoundInclusive) {
				overlapping = append(overlapping, f)
			}
		}
		for _, heads := range []*runHeads{nil, newRunHeads(r.Files)} {
			r.heads = heads
			if got := r.Find(lo); got != found {
				t.Fatalf("Find(%q) = %v, want %v (heads %+v)", lo, got, found, heads)
			}
			if got := r.Overlapping(lo, end); !slices.Equal(got, overlapping) {
				t.Fatalf("Overlapping(%q, %q) = %v, want %v (heads %+v)", lo, end, got, overlapping, heads)
			}
		}
	}
}

// TestHeadsOfARunThatShrinks: a run of level 0 is rewritten in place into fewer
// tables, and checked against the others before its heads are made anew.
func TestHeadsOfARunThatShrinks(t *testing.T) {
	e, swap := &Edit{}, &Edit{}
	for i := range 10 {
		e.Add = append(e.Add, NewFile{0, table(base.FileNum(i+1), 1, fmt.Sprintf("%02da", i), fmt.Sprintf("%02db", i), 1, 1)})
		swap.Remove = append(swap.Remove, OldFile{0, base.FileNum(i + 1)})
	}
	e.Add = append(e.Add, NewFile{0, table(20, 2, "a", "z", 2, 2)}, NewFile{0, table(21, 3, "09b", "09c", 3, 3)})
	v := build(t, e)
	swap.Remove = swap.Remove[:9]
	swap.Add = []NewFile{{0, table(30, 1, "00a", "00b", 1, 1)}}
	next, err := v.Apply(swap)
	if err != nil || next.Check() != nil {
		t.Fatal(err, next.Check())
	}
}

// TestHeadsFollow: the heads of a run are made anew by every edit of it.
func TestHeadsFollow(t *testing.T) {
	e := &Edit{}
	for i := range 10 {
		e.Add = append(e.Add, NewFile{1, table(base.FileNum(i+1), 1, fmt.Sprintf("%02da", i), fmt.Sprintf("%02db", i), 1, 1)})
	}
	v := build(t, e)
	for i := range 10 {
		if r := &v.Tree(0).Levels[1][0]; (r.heads != nil) != (len(r.Files) >= headsMin) {
			t.Fatalf("%d tables, heads %v", len(r.Files), r.heads)
		}
		if f := v.Tree(0).Levels[1][0].Find(fmt.Appendf(nil, "%02db", 9)); f == nil || f.Num != 10 {
			t.Fatalf("found %v", f)
		}
		if i == 9 {
			break
		}
		next, err := v.Apply(&Edit{Remove: []OldFile{{1, base.FileNum(i + 1)}}})
		if err != nil || next.Check() != nil {
			t.Fatal(err, next.Check())
		}
		if err := v.Check(); err != nil {
			t.Fatalf("the version before: %v", err)
		}
		v = next
	}
}

// TestApplyModel applies random edits, right and wrong, and compares with a
// flat list of tables; the version must be right, and unchanged when an edit
// is refused.
func TestApplyModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := &Version{}
		model := map[base.FileNum]NewFile{}
		values := map[base.FileNum]ValueMeta{}
		next := base.FileNum(1)
		for range rapid.IntRange(1, 30).Draw(t, "edits") {
			e := drawEdit(t, model, values, &next)
			before := v.String()
			after, err := v.Apply(e)
			if v.String() != before {
				t.Fatal("Apply changed its receiver")
			}
			wanted, wantedValues, legal := applyModel(model, values, e)
			if legal != (err == nil) {
				t.Fatalf("edit %s on\n%slegal %v, but %v", e, v, legal, err)
			}
			if err != nil {
				continue
			}
			v, model, values = after, wanted, wantedValues
			if err := v.Check(); err != nil {
				t.Fatal(err)
			}
			compareModel(t, v, model, values)
		}
	})
}

func drawEdit(t *rapid.T, model map[base.FileNum]NewFile, values map[base.FileNum]ValueMeta, next *base.FileNum) *Edit {
	e := &Edit{}
	for _, num := range slices.Sorted(maps.Keys(model)) {
		n := model[num]
		switch rapid.IntRange(0, 9).Draw(t, "fate") {
		case 0:
			e.Remove = append(e.Remove, OldFile{n.Level, num})
		case 1: // a move
			e.Remove = append(e.Remove, OldFile{n.Level, num})
			e.Add = append(e.Add, NewFile{rapid.IntRange(1, 6).Draw(t, "level"), n.Meta})
		}
	}
	refs := []base.FileNum{}
	for num := range values {
		refs = append(refs, num)
	}
	if rapid.Bool().Draw(t, "values") {
		e.AddValues = append(e.AddValues, ValueMeta{Num: *next, Size: 10, Bytes: 10, Count: 5})
		refs = append(refs, *next)
		*next++
	}
	slices.Sort(refs)
	for range rapid.IntRange(0, 3).Draw(t, "tables") {
		lo := rapid.IntRange(0, 50).Draw(t, "lo")
		hi := lo + rapid.IntRange(0, 5).Draw(t, "width")
		f := table(*next, rapid.Uint64Range(1, 4).Draw(t, "run"), string(rune('A'+lo)), string(rune('A'+hi)), 1, 2)
		*next++
		f.Keyspace = 7 * rapid.Uint32Range(0, 2).Draw(t, "keyspace")
		if b := base.Bound(rapid.IntRange(0, 5).Draw(t, "bound")); b == base.BoundNone || b == base.BoundExclusive && hi > lo {
			ranged(f, b)
		}
		for _, r := range refs {
			if rapid.IntRange(0, 2).Draw(t, "ref") == 0 {
				f.ValueRefs = append(f.ValueRefs, ValueRef{r, rapid.Uint64Range(1, 6).Draw(t, "bytes"), rapid.Uint64Range(1, 3).Draw(t, "count")})
			}
		}
		e.Add = append(e.Add, NewFile{rapid.IntRange(1, 3).Draw(t, "level"), f})
	}
	return e
}

// meet is Overlaps for the keys of drawEdit, one by one.
func meet(f, g *FileMeta) bool {
	has := func(f *FileMeta, key rune) bool {
		lo, hi := rune(f.Smallest[0]), rune(f.Largest[0])
		return lo <= key && (key < hi || f.LargestBound == base.BoundNone || key == hi && f.LargestBound == base.BoundInclusive)
	}
	for key := 'A'; key <= 'A'+60; key++ {
		if has(f, key) && has(g, key) {
			return true
		}
	}
	return false
}

// applyModel is Apply by brute force.
func applyModel(model map[base.FileNum]NewFile, values map[base.FileNum]ValueMeta, e *Edit) (map[base.FileNum]NewFile, map[base.FileNum]ValueMeta, bool) {
	tables := map[base.FileNum]NewFile{}
	for num, n := range model {
		tables[num] = n
	}
	all := map[base.FileNum]ValueMeta{}
	for num, m := range values {
		all[num] = m
	}
	for _, m := range e.AddValues {
		all[m.Num] = m
	}
	for _, o := range e.Remove {
		delete(tables, o.Num)
	}
	for _, n := range e.Add {
		f := *n.Meta
		for _, o := range tables {
			if o.Level == n.Level && o.Meta.Run == f.Run && o.Meta.Keyspace == f.Keyspace && meet(&f, o.Meta) {
				return nil, nil, false
			}
		}
		tables[f.Num] = n
	}
	live := map[base.FileNum]ValueMeta{}
	for _, n := range tables {
		for _, r := range n.Meta.ValueRefs {
			m, ok := all[r.File]
			sum := live[r.File]
			sum = ValueMeta{Num: r.File, Size: m.Size, Bytes: sum.Bytes + r.Bytes, Count: sum.Count + r.Count}
			live[r.File] = sum
			if !ok || sum.Bytes > m.Bytes || sum.Count > m.Count {
				return nil, nil, false
			}
		}
	}
	for _, m := range e.AddValues {
		if _, ok := live[m.Num]; !ok {
			return nil, nil, false
		}
	}
	for num := range live {
		live[num] = all[num]
	}
	return tables, live, true
}

func compareModel(t *rapid.T, v *Version, model map[base.FileNum]NewFile, values map[base.FileNum]ValueMeta) {
	n := 0
	v.All(func(level int, f *FileMeta) bool {
		n++
		if m, ok := model[f.Num]; !ok || m.Level != level || m.Meta != f {
			t.Fatalf("table %d in level %d: model has %v", f.Num, level, m)
		}
		return true
	})
	if n != len(model) || len(v.Values) != len(values) {
		t.Fatalf("%d tables and %d value files, want %d and %d", n, len(v.Values), len(model), len(values))
	}
	for num, m := range values {
		if v.Values[num] == nil || v.Values[num].ValueMeta != m {
			t.Fatalf("value file %d: %v, want %v", num, v.Values[num], m)
		}
	}
}
