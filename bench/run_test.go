package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func smallFlags(t *testing.T) *flags {
	return &flags{
		engines: "goleveldb,bbolt", base: "goleveldb", workloads: "*", class: string(Relaxed),
		rounds: 1, goroutines: []int{1, 2}, keys: minKeys, valueSize: 64, cache: "8MiB", memtable: "1MiB",
		seed: 5, versions: 200, maxTime: time.Second, syncTime: 10 * time.Millisecond,
		dir: t.TempDir(), quiet: true,
	}
}

// A whole run with worker processes: every workload has a line for every
// engine and count, nothing stays on disk, and the three outputs hold it all.
func TestRun(t *testing.T) {
	f := smallFlags(t)
	f.json, f.profile = filepath.Join(t.TempDir(), "out.json"), t.TempDir()
	var table bytes.Buffer
	if err := f.run(t.Context(), &table); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(f.dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	b, err := os.ReadFile(f.json)
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	want := 0
	for i := range stages {
		for j := range stages[i].Steps {
			if stages[i].Steps[j].Unit == "" {
				continue
			}
			for _, engine := range []string{"goleveldb", "bbolt"} {
				if d, err := findDriver(engine); err != nil {
					t.Fatal(err)
				} else if !d.offers(&stages[i]) {
					continue
				}
				want++
				if stages[i].PerCount {
					want++
				}
			}
		}
	}
	if len(r.Lines) != want {
		t.Errorf("%d lines, want %d", len(r.Lines), want)
	}
	if p, err := os.Stat(filepath.Join(f.profile, "bbolt-seek-2.pprof")); err != nil || p.Size() == 0 {
		t.Errorf("profile: %v", err)
	}
	checkReport(t, f, &r, table.String())
}

func checkReport(t *testing.T, f *flags, r *Report, table string) {
	t.Helper()
	for _, l := range r.Lines {
		if len(l.Rounds) != f.rounds || l.Engine == "goleveldb" && l.Median.Value > 0 && l.Ratio != 1 {
			t.Errorf("%s %s: %d rounds, ratio %v", l.Workload, l.Engine, len(l.Rounds), l.Ratio)
		}
		if strings.HasPrefix(l.Workload, "txn") && l.Engine != "bbolt" {
			t.Errorf("%s: %s has no transactions", l.Workload, l.Engine)
		}
		if !strings.Contains(table, l.Workload) {
			t.Errorf("%s is not in the table", l.Workload)
		}
	}
	var md bytes.Buffer
	r.Config = &Config{Engines: splitList(f.engines), Base: f.base, Rounds: 1, Goroutines: f.goroutines}
	if err := r.writeMarkdown(&md); err != nil {
		t.Fatal(err)
	}
	checkMarkdown(t, md.String())
}

// checkMarkdown: within a table all rows have as many cells as its head.
func checkMarkdown(t *testing.T, md string) {
	t.Helper()
	cells, rows := 0, 0
	for line := range strings.Lines(md) {
		n := strings.Count(line, "|")
		switch {
		case n == 0:
			cells = 0
		case cells == 0:
			cells = n
		case n != cells:
			t.Errorf("%d cells in a table of %d: %s", n, cells, line)
		}
		rows += min(n, 1)
	}
	if rows < 100 {
		t.Errorf("only %d rows", rows)
	}
}

// A wrong answer in a worker fails the whole run, and leaves nothing behind.
func TestRunStopsAtAWrongAnswer(t *testing.T) {
	t.Setenv("FAKE_FAULT", string(skipRow))
	f := smallFlags(t)
	f.engines, f.rounds, f.workloads = "goleveldb,fake", 1, "scan*"
	if err := f.run(t.Context(), io.Discard); !errors.Is(err, errWrong) || !strings.Contains(err.Error(), "fake") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(f.dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestConfigRefuses(t *testing.T) {
	for name, change := range map[string]func(*flags){
		"engine":     func(f *flags) { f.engines = "nosuch" },
		"rocksdb":    func(f *flags) { f.engines = "rocks" },
		"workload":   func(f *flags) { f.workloads = "nosuch" },
		"pattern":    func(f *flags) { f.workloads = "[" },
		"a check":    func(f *flags) { f.workloads = "check1" },
		"class":      func(f *flags) { f.class = "some" },
		"cache":      func(f *flags) { f.cache = "much" },
		"memtable":   func(f *flags) { f.memtable = "" },
		"keys":       func(f *flags) { f.keys = 10 },
		"value":      func(f *flags) { f.valueSize = 3 },
		"rounds":     func(f *flags) { f.rounds = 0 },
		"goroutines": func(f *flags) { f.goroutines = []int{0} },
		"none":       func(f *flags) { f.goroutines = nil },
		"versions":   func(f *flags) { f.versions = 0 },
	} {
		f := smallFlags(t)
		change(f)
		if _, err := f.config(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What a choice of workloads needs is run, and only the choice is shown.
func TestChosen(t *testing.T) {
	names := func(steps []*Step) (s []string) {
		for _, st := range steps {
			s = append(s, st.Name)
		}
		return s
	}
	for _, tc := range []struct{ want, run, shown string }{
		{"fillrandom", "fillrandom check3", "fillrandom"},
		{"seek", "fillrandom settle check1 seek check3", "seek"},
		{"ycsbe", "fillrandom resettle check2 ycsba ycsbe check3", "ycsbe"},
		{"scan*,disk", "fillrandom settle disk check1 scanforward scanbackward check3", "disk scanbackward scanforward"},
		{"fillbatch", "", ""},
	} {
		steps, shown := stages[0].chosen(splitList(tc.want))
		if got := strings.Join(names(steps), " "); got != tc.run {
			t.Errorf("%s runs %s, want %s", tc.want, got, tc.run)
		}
		if got := sortedKeys(shown); got != tc.shown {
			t.Errorf("%s shows %s, want %s", tc.want, got, tc.shown)
		}
	}
}

func TestSummarise(t *testing.T) {
	c := &Config{Engines: []string{"a", "b"}, Base: "a", Goroutines: []int{1}, Rounds: 3}
	var base, other []Sample
	// The machine is twice as slow in round 2: the ratios do not see it.
	for _, v := range []float64{100, 50, 100} {
		base = append(base, Sample{Value: v})
		other = append(other, Sample{Value: 3 * v})
	}
	other[2].Value = 500
	lines := summarise(c, results{
		{"seek", "a", 1}: base,
		{"seek", "b", 1}: other,
	})
	if len(lines) != 2 || lines[1].Ratio != 3 || lines[1].RatioMin != 3 || lines[1].RatioMax != 5 ||
		lines[1].Median.Value != 300 || lines[0].Ratio != 1 {
		t.Errorf("got %+v", lines)
	}
	// By merge against read-modify-write in the base engine, where that was run.
	count, other := []Sample{{Value: 10}}, []Sample{{Value: 40}}
	for _, against := range []results{
		{{"counters1", "a", 1}: count, {"merge1", "a", 1}: {{Value: 20}}, {"merge1", "b", 1}: other},
		{{"merge1", "a", 1}: count, {"merge1", "b", 1}: other},
	} {
		lines = summarise(c, against)
		if l := lines[len(lines)-1]; l.Engine != "b" || l.Ratio != 4 {
			t.Errorf("got %+v", l)
		}
	}
	if m := median([]float64{4, 1, 3, 2}); m != 2.5 {
		t.Errorf("median %v, want 2.5", m)
	}
}

func TestFigures(t *testing.T) {
	for _, tc := range []struct {
		unit string
		v    float64
		want string
	}{
		{"ops/s", 1_234_567, "1,235"}, {"ops/s", 18_540, "18.5"}, {"ops/s", 2_412, "2.41"}, {"ops/s", 99_960, "100"},
		{"ops/s", 9_996, "10.0"}, {"MB", 121.4, "121"}, {"s", 0.0149, "0.01"}, {"s", 0, "0"}, {"rows/s", 26_600_000, "26,600"},
	} {
		if got := figure(tc.unit, tc.v); got != tc.want {
			t.Errorf("figure(%s, %v) = %s, want %s", tc.unit, tc.v, got, tc.want)
		}
	}
}

func sortedKeys(m map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), " ")
}
