package compaction

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// TestPick plays the scripts of testdata. A script is paragraphs: a command,
// its lines, "----" and the answer. "#" begins a comment. Commands:
//
//	tree [keep] key=value ... the settings, then the tree, line by line; with
//	                          keep, jobs go on running
//	    L0 5                      level and run
//	    12 a-c 100                table, keys ("a-c)" ends before c, and "a-c*"
//	                              nowhere, by a range tombstone), bytes; then,
//	                              optionally:
//	       n=50 d=10 r=2 seq=3-9 ks=1 v=7:1000   entries, deletes, ranges,
//	                              sequences, keyspace, bytes it refers to in file 7
//	       e=30:5-90              30 entries expire, from 5 to 90
//	    values 7 2000             value file, bytes
//	pick [idle] [oldest=n] [hiding=f] [at=t] [all=n] [own=n] [part=n] [run]
//	                              at: the time by which entries have expired for
//	                              all; all, own, part: how table n is covered;
//	                              run: the job stays busy
//	end n                     the n-th running job is not busy any more
//	manual lo hi              hi may be "-"; those with numbers below 1000 are joined
//	elide key ...             of the job picked last; "a-c" is a range, "a-" has
//	                          no end
//	guards level bytes
func TestPick(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) { playScript(t, name) })
	}
}

func playScript(t *testing.T, name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{t: t}
	var out []string
	for _, par := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		var comments []string
		rest := par
		for strings.HasPrefix(rest, "#") {
			line, after, _ := strings.Cut(rest, "\n")
			comments, rest = append(comments, line), after
		}
		if rest == "" {
			out = append(out, par)
			continue
		}
		cmd, want, _ := strings.Cut(rest, "\n----")
		got := p.play(cmd)
		if !*update && got != strings.TrimPrefix(want, "\n") {
			t.Errorf("%s\ngot:\n%s\nwant:\n%s", cmd, got, strings.TrimPrefix(want, "\n"))
		}
		out = append(out, strings.Join(append(comments, cmd+"\n----\n"+got), "\n"))
	}
	if *update {
		if err := os.WriteFile(name, []byte(strings.Join(out, "\n\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// player is the state of a script.
type player struct {
	t       *testing.T
	cfg     Config
	v       *manifest.Version
	running []*Job
	last    *Job
}

func (p *player) play(cmd string) string {
	lines := strings.Split(cmd, "\n")
	args := strings.Fields(lines[0])
	switch args[0] {
	case "tree":
		return p.tree(args[1:], lines[1:])
	case "pick":
		return p.pick(args[1:])
	case "end":
		i := p.number(args[1]) - 1
		p.running = slices.Delete(p.running, int(i), int(i)+1)
		return "ok"
	case "manual":
		hi := []byte(args[2])
		if args[2] == "-" {
			hi = nil
		}
		j, ok := PickManual(p.v, p.busy(), 0, func(f *manifest.FileMeta) bool {
			return !f.EndsBefore([]byte(args[1])) && (hi == nil || !f.StartsAfter(hi))
		}, p.cfg)
		if !ok {
			j, ok = PickTidy(p.v, p.busy(), 0, []byte(args[1]), hi, 1000, p.cfg)
		}
		if !ok {
			return "nothing"
		}
		p.last = &j
		return j.String()
	case "elide":
		e := p.last.Elider(p.v)
		var out []string
		for _, k := range args[1:] {
			if lo, hi, ok := strings.Cut(k, "-"); ok {
				out = append(out, fmt.Sprintf("%s:%v", k, e.ElidableRange([]byte(lo), []byte(hi))))
				continue
			}
			out = append(out, fmt.Sprintf("%s:%v", k, e.Elidable([]byte(k))))
		}
		return strings.Join(out, " ")
	case "guards":
		t := newTree(p.v.Tree(0), nil, Workload{}, p.cfg)
		return fmt.Sprintf("%q", t.guards(int(p.number(args[1])), p.number(args[2])))
	}
	p.t.Fatalf("unknown command %q", cmd)
	return ""
}

func (p *player) busy() Busy {
	b := Busy{}
	for _, j := range p.running {
		j.Files(func(_ int, f *manifest.FileMeta) { b[f.Num] = j })
	}
	return b
}

func (p *player) pick(args []string) string {
	w := Workload{OldestSnapshot: base.SeqNumMax}
	run := false
	for _, a := range args {
		switch k, v, _ := strings.Cut(a, "="); k {
		case "idle":
			w.Idle = true
		case "run":
			run = true
		case "oldest":
			w.OldestSnapshot = base.SeqNum(p.number(v))
		case "at":
			w.ExpireAt = p.number(v)
		case "all", "own", "part":
			if w.RangeDeleted == nil {
				w.RangeDeleted = map[base.FileNum]RangeDeleted{}
			}
			w.RangeDeleted[base.FileNum(p.number(v))] = map[string]RangeDeleted{"all": RangeDeletedAll, "own": RangeDeletedOwn, "part": RangeDeletedPart}[k]
		case "hiding":
			w.arrived, w.fresh = 1, 1-p.float(v)
		default:
			p.t.Fatalf("pick: unknown %q", a)
		}
	}
	j, ok := pickOne(p.v, p.busy(), w, p.cfg)
	if !ok {
		return "nothing"
	}
	p.last = &j
	if run {
		p.running = append(p.running, &j)
	}
	out := j.String()
	if j.Keyspace != 0 {
		out += fmt.Sprintf(" keyspace %d", j.Keyspace)
	}
	if len(j.Guards) > 0 {
		out += fmt.Sprintf(" guards %q", j.Guards)
	}
	return out
}

func (p *player) number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func (p *player) float(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

// tree sets the configuration and builds a version.
func (p *player) tree(settings, lines []string) string {
	p.cfg = Config{Style: LazyLeveled, L0Trigger: 4, BaseLevelBytes: 400, MaxRuns: 3, SizeRatio: 4, SpaceTarget: 1.25, TableSize: 100, TombstoneDensity: 0.5, ValueSpaceTarget: 1.25}
	if !slices.Contains(settings, "keep") {
		p.running, p.last = nil, nil
	}
	for _, s := range settings {
		switch k, v, _ := strings.Cut(s, "="); k {
		case "keep":
		case "style":
			p.cfg.Style = map[string]Style{"lazy": LazyLeveled, "leveled": Leveled}[v]
		case "l0":
			p.cfg.L0Trigger = int(p.number(v))
		case "base":
			p.cfg.BaseLevelBytes = p.number(v)
		case "runs":
			p.cfg.MaxRuns = int(p.number(v))
		case "space":
			p.cfg.SpaceTarget = p.float(v)
		case "table":
			p.cfg.TableSize = p.number(v)
		case "valuefile":
			p.cfg.ValueFileSize = p.number(v)
		default:
			p.t.Fatalf("tree: unknown setting %q", s)
		}
	}
	e := &manifest.Edit{}
	level, run := 0, uint64(0)
	for _, line := range lines {
		args := strings.Fields(line)
		switch {
		case strings.HasPrefix(args[0], "L"):
			level, run = int(p.number(args[0][1:])), p.number(args[1])
		case args[0] == "values":
			n := p.number(args[2])
			e.AddValues = append(e.AddValues, manifest.ValueMeta{Num: base.FileNum(p.number(args[1])), Size: n, Bytes: n, Count: n})
		default:
			f := p.table(args)
			f.Run = run
			e.Add = append(e.Add, manifest.NewFile{Level: level, Meta: f})
		}
	}
	v, err := (&manifest.Version{}).Apply(e)
	if err == nil {
		err = v.Check()
	}
	if err != nil {
		p.t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	p.v = v
	var out []string
	for _, mt := range v.Trees() {
		t := newTree(mt, nil, Workload{}, p.cfg)
		out = append(out, fmt.Sprintf("base L%d, room %.0f", t.base, t.room))
	}
	return strings.Join(out, "\n")
}

func (p *player) table(args []string) *manifest.FileMeta {
	lo, hi, _ := strings.Cut(args[1], "-")
	num := base.FileNum(p.number(args[0]))
	f := &manifest.FileMeta{Num: num, Smallest: []byte(lo), Largest: []byte(hi), Size: p.number(args[2]), Entries: 100,
		Format: base.FormatNewest, SmallestSeq: base.SeqNum(num), LargestSeq: base.SeqNum(num)}
	for suffix, b := range map[string]base.Bound{")": base.BoundExclusive, "*": base.BoundNone} {
		if key, ok := strings.CutSuffix(hi, suffix); ok {
			f.Largest, f.LargestBound, f.Ranges = []byte(key), b, 1
		}
	}
	refs := map[base.FileNum]uint64{}
	for _, a := range args[3:] {
		switch k, v, _ := strings.Cut(a, "="); k {
		case "n":
			f.Entries = p.number(v)
		case "d":
			f.Deletes = p.number(v)
		case "r":
			f.Ranges = p.number(v)
		case "e":
			n, times, _ := strings.Cut(v, ":")
			from, to, _ := strings.Cut(times, "-")
			f.Expiring, f.MinExpiry, f.MaxExpiry = p.number(n), p.number(from), p.number(to)
		case "ks":
			f.Keyspace = uint32(p.number(v))
		case "seq":
			from, to, _ := strings.Cut(v, "-")
			f.SmallestSeq, f.LargestSeq = base.SeqNum(p.number(from)), base.SeqNum(p.number(to))
		case "v":
			file, n, _ := strings.Cut(v, ":")
			refs[base.FileNum(p.number(file))] = p.number(n)
		default:
			p.t.Fatalf("table: unknown %q", a)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(refs)) {
		f.ValueRefs = append(f.ValueRefs, manifest.ValueRef{File: file, Bytes: refs[file], Count: refs[file]})
	}
	return f
}

// pickOne is the first job of Pick, for tests that run one at a time.
func pickOne(v *manifest.Version, busy Busy, w Workload, cfg Config) (Job, bool) {
	jobs := Pick(v, busy, w, cfg)
	if len(jobs) == 0 {
		return Job{}, false
	}
	return jobs[0], true
}
