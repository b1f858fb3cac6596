package compaction

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// parseEntries reads "key sequence kind value; ...". A value with an expiry is
// "expiry@value".
func parseEntries(t testing.TB, text string) (out []entry) {
	t.Helper()
	for line := range strings.SplitSeq(text, ";") {
		f := append(strings.Fields(line), "")
		if len(f) == 1 {
			continue
		}
		seq, err := strconv.Atoi(f[1])
		if err != nil {
			t.Fatal(err)
		}
		kind := base.Kind(0)
		for kind.String() != f[2] {
			kind++
		}
		value := []byte(f[3])
		if expiry, v, ok := strings.Cut(f[3], "@"); ok {
			e, _ := strconv.Atoi(expiry)
			value = append(binary.LittleEndian.AppendUint64(nil, uint64(e)), v...)
		}
		out = append(out, entry{f[0], base.MakeTrailer(base.SeqNum(seq), kind), value})
	}
	return out
}

// format is the reverse of parseEntries.
func format(entries []entry) string {
	var out []string
	for _, e := range entries {
		v := string(e.value)
		if e.t.Kind() == base.KindPutTTL {
			v = fmt.Sprintf("%d@%s", expiryOf(e.value), e.value[base.ExpirySize:])
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %d %v %s", e.key, e.t.Seq(), e.t.Kind(), v)))
	}
	return strings.Join(out, "; ")
}

func always([]byte) bool           { return true }
func alwaysRange(_, _ []byte) bool { return true }
func list(ts ...rangedel.Tombstone) *rangedel.List {
	l := rangedel.Build(ts)
	return &l
}

// try runs over in and returns what came out, with plain values.
func (s *shop) try(o RunOptions, in string) (string, Result) {
	s.t.Helper()
	o.Input = &sliceIter{entries: parseEntries(s.t, in)}
	o.NewTable, o.NewValues, o.Values.Fetch = s.newTable, s.newValues, s.fetch
	if o.MaxTableSize == 0 {
		o.MaxTableSize = 1 << 20
	}
	o.Values.MaxFileSize = 1 << 20
	res, err := Run(context.Background(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []entry
	for _, e := range s.checkShape(res, &o) {
		out = append(out, s.follow(e))
	}
	return format(out), res
}

// apart is a joiner of operands that never combine.
var apart = joiner{apart: func(_, _ []byte) bool { return true }}

// over is a range tombstone from k on.
func over(s base.SeqNum) *rangedel.List { return list(rangedel.Tombstone{Lo: []byte("k"), Seq: s}) }

func seqs(s ...base.SeqNum) []base.SeqNum { return s }

// runsByKind has a line for each rule of retention.go.
var runsByKind = []struct {
	name     string
	o        RunOptions
	in, want string
}{
	{"dropped merge operands", RunOptions{Merger: joiner{}, Snapshots: seqs(9)},
		"k 5 MERGE e; k 3 MERGE c; k 2 MERGE b", "k 5 MERGE bce"},
	{"operands onto a value", RunOptions{Merger: joiner{}, Snapshots: seqs(9)},
		"k 5 MERGE e; k 3 MERGE c; k 2 PUT b; k 1 PUT a", "k 5 PUT bce"},
	{"operands onto a tombstone", RunOptions{Merger: joiner{}, Snapshots: seqs(9)},
		"k 5 MERGE e; k 3 MERGE c; k 2 DEL; k 1 PUT a", "k 5 PUT ce"},
	{"operands onto a single delete", RunOptions{Merger: joiner{}, Snapshots: seqs(9)},
		"k 5 MERGE e; k 2 SDEL", "k 5 PUT e; k 2 SDEL"},
	{"operands onto a pair that vanishes", RunOptions{Merger: joiner{}, Snapshots: seqs(9)},
		"k 5 MERGE e; k 2 SDEL; k 1 PUT a", "k 5 PUT e"},
	{"operands onto a range tombstone", RunOptions{Merger: joiner{}, Snapshots: seqs(9), Ranges: over(4)},
		"k 5 MERGE e; k 3 MERGE c; k 2 PUT b", "k 5 PUT e"},
	{"operands onto a range tombstone and nothing else", RunOptions{Merger: joiner{}, Snapshots: seqs(9), Ranges: over(4)},
		"k 6 MERGE f; k 5 MERGE e", "k 6 PUT ef"},
	{"operands over a range tombstone of another stripe", RunOptions{Merger: joiner{}, Snapshots: seqs(4, 9), Ranges: over(4)},
		"k 6 MERGE f; k 5 MERGE e; k 3 PUT c", "k 6 MERGE ef"},
	{"operands at the bottom", RunOptions{Merger: joiner{}, Snapshots: seqs(9), Elide: always, ZeroSeq: true},
		"k 5 MERGE e; k 3 MERGE c", "k 0 PUT ce"},
	{"operands at the bottom, not of all snapshots", RunOptions{Merger: joiner{}, Snapshots: seqs(2, 9), Elide: always, ZeroSeq: true},
		"k 5 MERGE e; k 3 MERGE c", "k 5 MERGE ce"},
	{"operands above a snapshot", RunOptions{Merger: joiner{}, Snapshots: seqs(4, 9)},
		"k 6 MERGE f; k 5 MERGE e; k 3 MERGE c; k 2 PUT b", "k 6 MERGE ef; k 3 PUT bc"},
	{"operands not published", RunOptions{Merger: joiner{}, Snapshots: seqs(4)},
		"k 6 MERGE f; k 5 MERGE e; k 3 MERGE c; k 2 PUT b", "k 6 MERGE f; k 5 MERGE e; k 3 PUT bc"},
	{"operands under a value", RunOptions{Merger: joiner{}, Snapshots: seqs(9)},
		"k 6 PUT f; k 5 MERGE e; k 3 MERGE c", "k 6 PUT f"},
	{"operands that do not combine", RunOptions{Merger: apart, Snapshots: seqs(9)},
		"k 6 MERGE f; k 5 MERGE e", "k 6 MERGE f; k 5 MERGE e"},
	{"operands that do not combine, onto a value", RunOptions{Merger: apart, Snapshots: seqs(9)},
		"k 6 MERGE f; k 5 MERGE e; k 1 PUT a", "k 6 PUT aef"},
	{"without a merger", RunOptions{Snapshots: seqs(9), Elide: always, ZeroSeq: true},
		"k 6 MERGE f; k 5 MERGE e; k 4 PUT d; k 1 PUT a", "k 6 MERGE f; k 5 MERGE e; k 0 PUT d"},
	{"a merge error keeps everything", RunOptions{Merger: joiner{}, Snapshots: seqs(9)},
		"k 6 MERGE f!; k 5 MERGE e; k 4 PUT d; k 1 PUT a", "k 6 MERGE f!; k 5 MERGE e; k 4 PUT d"},
	{"a merge error of operands that combined", RunOptions{Merger: joiner{}, Snapshots: seqs(9)},
		"k 6 MERGE f; k 5 MERGE e!; k 4 DEL; k 1 PUT a", "k 6 MERGE e!f; k 4 DEL"},
	{"operands onto what will expire", RunOptions{Merger: joiner{}, Snapshots: seqs(9), ExpireAt: 10},
		"k 6 MERGE f; k 5 MERGE e; k 4 TTL 11@d; k 3 PUT c", "k 6 MERGE ef; k 4 TTL 11@d"},
	{"operands onto what expired", RunOptions{Merger: joiner{}, Snapshots: seqs(9), ExpireAt: 10},
		"k 6 MERGE f; k 5 MERGE e; k 4 TTL 10@d; k 3 PUT c", "k 6 PUT ef"},

	{"a single delete and its value", RunOptions{Snapshots: seqs(9)},
		"k 5 SDEL; k 3 PUT c", ""},
	{"a single delete without a value", RunOptions{Snapshots: seqs(9)},
		"k 5 SDEL", "k 5 SDEL"},
	{"a single delete at the bottom", RunOptions{Snapshots: seqs(9), Elide: always},
		"k 5 SDEL", ""},
	{"a single delete at the bottom, not of all snapshots", RunOptions{Snapshots: seqs(3, 9), Elide: always},
		"k 5 SDEL; k 3 PUT c", "k 5 SDEL; k 3 PUT c"},
	{"a single delete not published", RunOptions{Snapshots: seqs(4)},
		"k 6 SDEL; k 5 PUT c", "k 6 SDEL; k 5 PUT c"},
	{"two pairs", RunOptions{Snapshots: seqs(9)},
		"k 5 SDEL; k 4 PUT d; k 3 SDEL; k 1 PUT a", ""},
	{"two single deletes", RunOptions{Snapshots: seqs(9)},
		"k 5 SDEL; k 4 SDEL; k 1 PUT a", ""},
	{"a single delete under a value", RunOptions{Snapshots: seqs(9)},
		"k 5 PUT e; k 4 SDEL", "k 5 PUT e; k 4 SDEL"},
	{"a pair under a value", RunOptions{Snapshots: seqs(9)},
		"k 5 PUT e; k 4 SDEL; k 3 PUT c", "k 5 PUT e"},
	{"a single delete under a tombstone", RunOptions{Snapshots: seqs(9)},
		"k 5 DEL; k 4 SDEL; k 3 PUT c", "k 5 DEL"},
	{"a single delete over a tombstone", RunOptions{Snapshots: seqs(9)},
		"k 5 SDEL; k 4 DEL; k 3 PUT c", "k 5 DEL"},
	{"a single delete over a tombstone, not of all snapshots", RunOptions{Snapshots: seqs(3, 9), Elide: always},
		"k 5 SDEL; k 4 DEL; k 3 PUT c", "k 5 DEL; k 3 PUT c"},
	{"a single delete over a tombstone, at the bottom", RunOptions{Snapshots: seqs(9), Elide: always},
		"k 5 SDEL; k 4 DEL; k 3 PUT c", ""},
	{"a pair over a tombstone", RunOptions{Snapshots: seqs(9)},
		"k 5 SDEL; k 4 PUT d; k 3 DEL; k 2 PUT b", "k 3 DEL"},
	{"a pair over a range tombstone of another stripe", RunOptions{Snapshots: seqs(2, 9), Ranges: over(3)},
		"k 5 SDEL; k 4 PUT d; k 2 PUT b", "k 5 SDEL; k 2 PUT b"},
	{"a pair, not of all snapshots", RunOptions{Snapshots: seqs(2, 9), Elide: always},
		"k 5 SDEL; k 4 PUT d", "k 5 SDEL"},
	{"a pair under a value, not of all snapshots", RunOptions{Snapshots: seqs(2, 9), Elide: always},
		"k 6 PUT e; k 5 SDEL; k 4 PUT d", "k 6 PUT e"},
	{"what is left of a pair, over an older one", RunOptions{Snapshots: seqs(9)},
		"k 5 SDEL; k 3 SDEL; k 2 PUT b", ""},
	{"a single delete under a range tombstone", RunOptions{Snapshots: seqs(9), Ranges: over(6)},
		"k 5 SDEL; k 4 PUT d", ""},

	{"what expired is a tombstone", RunOptions{Snapshots: seqs(9), ExpireAt: 10},
		"k 5 TTL 10@e; k 4 PUT d", "k 5 DEL"},
	{"what expired at the bottom", RunOptions{Snapshots: seqs(9), ExpireAt: 10, Elide: always},
		"k 5 TTL 10@e; k 4 PUT d", ""},
	{"what expired, seen by one snapshot", RunOptions{Snapshots: seqs(4, 9), ExpireAt: 10, Elide: always},
		"k 5 TTL 10@e; k 4 PUT d", "k 5 DEL; k 4 PUT d"},
	{"expired for some reader", RunOptions{Snapshots: seqs(9), ExpireAt: 9},
		"k 5 TTL 10@e; k 4 PUT d", "k 5 TTL 10@e"},

	{"under a range tombstone", RunOptions{Snapshots: seqs(9), Ranges: over(5)},
		"j 4 PUT d; k 6 PUT f; k 4 PUT d; l 5 PUT e; l 4 PUT d", "j 4 PUT d; k 6 PUT f; l 5 PUT e"},
	{"under a range tombstone of another stripe", RunOptions{Snapshots: seqs(4, 9), Ranges: over(5)},
		"k 4 PUT d; k 3 PUT c", "k 4 PUT d"},
	{"under a range tombstone not published", RunOptions{Snapshots: seqs(4), Ranges: over(6)},
		"k 5 PUT d; k 3 PUT c", "k 5 PUT d; k 3 PUT c"},
	{"over a range tombstone that stays", RunOptions{Snapshots: seqs(9), Ranges: over(5), Elide: always, ZeroSeq: true},
		"j 6 PUT f; k 6 PUT f; k 4 PUT d", "j 0 PUT f; k 6 PUT f"},
	{"over a range tombstone that goes", RunOptions{Snapshots: seqs(9), Ranges: over(5), Elide: always, ElideRange: alwaysRange, ZeroSeq: true},
		"j 6 PUT f; k 6 PUT f; k 4 PUT d", "j 0 PUT f; k 0 PUT f"},
}

func TestRunByKind(t *testing.T) {
	for _, c := range runsByKind {
		t.Run(c.name, func(t *testing.T) {
			for _, threshold := range []int{0, 1} {
				c.o.Values.Threshold = threshold
				if got, res := newShop(t).try(c.o, c.in); got != c.want || res.Stats.SingleDeleteMisuse > 0 {
					t.Errorf("threshold %d: %s\nbecame %s\nwant   %s\n%+v", threshold, c.in, got, c.want, res.Stats)
				}
			}
		})
	}
}

// TestRunSingleDeleteMisuse: more values than one under a single delete come to
// light neither now nor later, and are counted.
func TestRunSingleDeleteMisuse(t *testing.T) {
	for in, want := range map[string]string{
		"k 8 SDEL; k 7 PUT g; k 6 PUT f":             "k 8 DEL",
		"k 8 SDEL; k 7 PUT g; k 6 TTL 99@f":          "k 8 DEL",
		"k 8 SDEL; k 7 PUT g; k 6 MERGE f":           "k 8 DEL",
		"k 8 SDEL; k 7 MERGE g":                      "k 8 DEL",
		"k 8 SDEL; k 7 PUT g; k 3 PUT c":             "k 8 DEL; k 3 PUT c",
		"k 8 SDEL; k 7 PUT g; k 3 MERGE c":           "k 8 DEL; k 3 MERGE c",
		"j 1 PUT a; k 8 SDEL; k 7 MERGE g; l 1 PUT":  "j 1 PUT a; k 8 DEL; l 1 PUT",
		"k 9 PUT i; k 8 SDEL; k 7 PUT g; k 6 PUT f":  "k 9 PUT i",
		"k 9 MERGE i; k 8 SDEL; k 7 PUT; k 6 PUT f":  "k 9 PUT i",
		"k 8 SDEL; k 7 SDEL; k 6 PUT f; k 5 MERGE e": "k 8 DEL",
	} {
		got, res := newShop(t).try(RunOptions{Snapshots: []base.SeqNum{4, 9}, Merger: joiner{}}, in)
		if got != want || res.Stats.SingleDeleteMisuse != 1 {
			t.Errorf("%s\nbecame %s\nwant   %s, misuse %d", in, got, want, res.Stats.SingleDeleteMisuse)
		}
	}
}

// TestRunResurrectsNothing: a key that is put and single deleted again and again
// stays gone, in whatever order its versions are compacted.
func TestRunResurrectsNothing(t *testing.T) {
	o := RunOptions{Snapshots: []base.SeqNum{9}}
	s := newShop(t)
	middle, _ := s.try(o, "k 3 PUT c; k 2 SDEL")
	if above, _ := s.try(o, "k 4 SDEL; "+middle); above != "k 2 SDEL" {
		t.Fatalf("over the first value lies %q", above)
	} else if left, _ := s.try(o, above+"; k 1 PUT a"); left != "" {
		t.Fatalf("left is %q", left)
	}
}

// TestRunFilter: which values the filter sees, and what its verdicts do.
func TestRunFilter(t *testing.T) {
	for _, c := range []struct{ name, in, saw, want string }{
		{"plain values", "a 3 PUT 1; b 3 TTL 99@2; c 3 DEL; d 3 MERGE 4; e 3 TTL 10@5", "a=1 b=2", "a 3 PUT 1; b 3 TTL 99@2; c 3 DEL; d 3 MERGE 4; e 3 DEL"},
		{"not what a newer version hides", "a 6 PUT 1; a 3 PUT 2; b 6 DEL; b 3 PUT 2; c 6 MERGE 1; c 3 PUT 2", "", "a 6 PUT 1; a 3 PUT 2; b 6 DEL; b 3 PUT 2; c 6 MERGE 1; c 3 PUT 2"},
		{"not what some snapshot does not see", "a 6 PUT 1; b 5 PUT 2", "", "a 6 PUT 1; b 5 PUT 2"},
		{"not what is not published", "a 11 PUT 1; b 11 PUT 2; b 3 PUT 1", "", "a 11 PUT 1; b 11 PUT 2; b 3 PUT 1"},
		{"not what a range tombstone hides", "x 3 PUT 1; y 3 PUT 1", "x=1", "x 3 PUT 1; y 3 PUT 1"},
		{"what operands made", "a 3 MERGE 2; a 2 PUT 1; b 6 MERGE 1; b 3 MERGE 2; b 2 PUT 1", "a=12", "a 3 PUT 12; b 6 MERGE 1; b 3 PUT 12"},
		{"remove", "a 3 PUT remove; b 3 TTL 99@remove; c 3 MERGE e; c 2 PUT remov", "a=remove b=remove c=remove", "a 3 DEL; b 3 DEL; c 3 DEL"},
		{"change", "a 3 PUT change; a 2 PUT 1; b 3 TTL 99@change", "a=change b=change", "a 3 PUT changed; b 3 TTL 99@changed"},
	} {
		for _, threshold := range []int{0, 1, 7} {
			var saw []string
			o := RunOptions{Snapshots: []base.SeqNum{4, 9}, Merger: joiner{}, ExpireAt: 10, Values: ValueOptions{Threshold: threshold},
				Ranges: list(rangedel.Tombstone{Lo: []byte("y"), Seq: 6}),
				Filter: func(key, value []byte) (FilterVerdict, []byte, error) {
					saw = append(saw, string(key)+"="+string(value))
					switch string(value) {
					case "remove":
						return FilterRemove, nil, nil
					case "change":
						return FilterChange, []byte("changed"), nil
					}
					return FilterKeep, nil, nil
				}}
			// A round before, to have some values in value files.
			s := newShop(t)
			first, _ := s.try(RunOptions{Snapshots: o.Snapshots[:0], Values: o.Values}, c.in)
			got, res := s.try(o, first)
			if got != c.want || strings.Join(saw, " ") != c.saw {
				t.Errorf("%s, threshold %d: saw %q, left %q", c.name, threshold, saw, got)
			}
			if verdicts := strings.Count(c.want, "changed") + strings.Count(c.saw, "remove"); res.Stats.Filtered != uint64(verdicts) {
				t.Errorf("%s: %d filtered", c.name, res.Stats.Filtered)
			}
		}
	}
	if got, _ := newShop(t).try(RunOptions{Snapshots: []base.SeqNum{9}, Elide: always,
		Filter: func(_, _ []byte) (FilterVerdict, []byte, error) { return FilterRemove, nil, nil }}, "a 3 PUT 1; a 2 PUT 2"); got != "" {
		t.Errorf("removed at the bottom, left is %q", got)
	}
}

// TestRunFilterFails: an error of the filter fails the job, and nothing is left.
func TestRunFilterFails(t *testing.T) {
	boom := errors.New("boom")
	filterFails(t, boom, FilterRemove, nil, boom)
	if bits.UintSize == 64 { // it is never touched, but needs addresses
		filterFails(t, base.ErrValueTooLarge, FilterChange, make([]byte, base.MaxValueSize+1), nil)
	}
}

func filterFails(t *testing.T, want error, verdict FilterVerdict, value []byte, err error) {
	t.Helper()
	s := newShop(t)
	_, got := Run(context.Background(), RunOptions{Input: &sliceIter{entries: parseEntries(t, "a 1 PUT x; b 1 PUT y")}, Snapshots: []base.SeqNum{9},
		MaxTableSize: 1, NewTable: s.newTable, Filter: func(key, _ []byte) (FilterVerdict, []byte, error) {
			if string(key) == "b" {
				return verdict, value, err
			}
			return FilterKeep, nil, nil
		}})
	if !errors.Is(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for num, o := range s.tables {
		if !o.aborted {
			t.Errorf("table %d is left", num)
		}
	}
}
