package model

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// wideConfig is a set of options of the engine, and what is done to it.
type wideConfig struct {
	config
	root   *testkit.Merger // of the default keyspace
	spaces int             // most keyspaces beside it
	barred bool            // no keyspace has a merge operator
	filter bool            // all have a filter
	more   map[string]int  // weights of steps that differ from the usual ones
	draw   func(*testkit.Gen)
}

// flavour changes what is done to a database.
type flavour struct {
	name string
	f    func(*wideConfig)
}

// only draws nothing but these kinds.
func only(w testkit.Weights) func(*testkit.Gen) { return func(g *testkit.Gen) { g.Weights = w } }

var flavours = []flavour{
	{"ranges", func(c *wideConfig) {
		c.draw = only(testkit.Weights{testkit.Put: 60, testkit.DeleteRange: 40})
	}},
	{"expiry", func(c *wideConfig) {
		c.draw = only(testkit.Weights{testkit.PutTTL: 90, testkit.Delete: 10})
		c.more = map[string]int{"tick": 150}
	}},
	{"queue", func(c *wideConfig) {
		c.draw = func(g *testkit.Gen) {
			g.Queue, g.Weights = 1, testkit.Weights{testkit.Put: 75, testkit.DeleteRange: 25}
		}
	}},
	{"singles", func(c *wideConfig) {
		c.draw = only(testkit.Weights{testkit.Put: 50, testkit.SingleDelete: 40, testkit.Delete: 5, testkit.DeleteRange: 5})
	}},
	{"operands", func(c *wideConfig) {
		c.draw = func(g *testkit.Gen) {
			g.MaxOperands, g.Weights = 2000, testkit.Weights{testkit.Merge: 95, testkit.Put: 3, testkit.Delete: 2}
		}
		c.root = testkit.Counter
	}},
	{"merges-on-expiry", func(c *wideConfig) {
		c.draw = only(testkit.Weights{testkit.Merge: 45, testkit.PutTTL: 45, testkit.Delete: 5, testkit.DeleteRange: 5})
		c.more = map[string]int{"tick": 100}
	}},
	{"errors", func(c *wideConfig) {
		c.draw = func(g *testkit.Gen) { g.Odd = 6 }
		c.root = testkit.Union
	}},
	{"snapshots", func(c *wideConfig) { c.more = map[string]int{"snapshot": 80, "unsnapshot": 80} }},
	{"crashes", func(c *wideConfig) { c.more = map[string]int{"crash": 40, "reopen": 20} }},
	{"keyspaces", func(c *wideConfig) {
		c.spaces = 14
		c.more = map[string]int{"create": 60, "drop": 40, "txnspaces": 40, "reopen": 10}
	}},
	{"no-mergers", func(c *wideConfig) {
		c.draw = func(g *testkit.Gen) { g.Weights[testkit.Merge] = 0 }
		c.barred, c.root = true, nil
	}},
	{"filter", func(c *wideConfig) {
		c.filter = true
		c.more = map[string]int{"compact": 15}
	}},
	{"alone", func(c *wideConfig) { c.spaces = 0 }},
}

// wideConfigs are those of TestModel with everything that can be done, each
// with one flavour as well, and each flavour where everything is small.
func wideConfigs() []wideConfig {
	mergers := []*testkit.Merger{testkit.Counter, testkit.Union, testkit.Max, testkit.Min, testkit.AppendComma, testkit.AppendBare}
	var out []wideConfig
	add := func(c config, i int, f flavour) {
		w := wideConfig{config: c, spaces: 4, root: mergers[i%len(mergers)], draw: func(*testkit.Gen) {}}
		w.name += "+" + f.name
		f.f(&w)
		out = append(out, w)
	}
	all := configs()
	for i, c := range all {
		add(c, i, flavour{"all", func(*wideConfig) {}})
		add(c, i+1, flavours[i%len(flavours)])
	}
	for i, f := range flavours {
		c := all[len(all)-1]
		if i%2 == 0 { // as small, but all pages of the other kind
			c.t.Index = sstable.IndexLearned
		}
		add(c, i+2, flavour{"small+" + f.name, f.f})
	}
	return out
}

// TestWideModel drives the engine with every operation of the data model,
// crashes included, and compares every answer with the model.
func TestWideModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	ops := *modelOps
	if ops == 0 {
		ops = 800
		if testing.Short() {
			ops = 200
		}
	}
	var total, single atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d option sets, %d steps with %d operations, seed %d", len(wideConfigs()), total.Load(), single.Load(), seed)
	})
	for i, c := range wideConfigs() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if t.Failed() {
					t.Logf("reproduce with: go test ./test/model -run 'TestWideModel/%s$' -model.seed %d -model.ops %d", quoteName(c.name), seed, ops)
				}
			}()
			r := newWideRun(t, c, testkit.NewGen(seed+uint64(i), 200, 120))
			r.run(ops)
			total.Add(int64(ops))
			single.Add(int64(r.operations))
			t.Logf("%v", r.summary())
		})
	}
}

// quoteName makes the name of a test a pattern that matches it.
func quoteName(name string) string {
	var out []byte
	for _, b := range []byte(name) {
		if b == '+' {
			out = append(out, '\\')
		}
		out = append(out, b)
	}
	return string(out)
}

// wideRun is one run under one set of options.
type wideRun struct {
	dbtest.ModelDB
	t       testing.TB
	c       wideConfig
	g       *testkit.Gen
	fs      *memfs.FS
	clock   *dbtest.Clock
	weights []int // of wideSteps
	snaps   []wideSnapshot
	iters   []*dbtest.ModelIter
	gone    *seerdb.Keyspace // one that was dropped
	side    *filtered
	sideDB  *seerdb.Keyspace
	expires bool  // something with an expiry was committed since it was opened
	fresh   []int // keyspaces made since it was opened, which a power cut may take back as long as nothing was written to them
	bare    int   // the newest commit that has no counter; all such are durable
	durable int   // every commit up to here must survive a power cut
	step    int

	operations int
	done       map[string]int // steps, by name
}

func newWideRun(t testing.TB, c wideConfig, g *testkit.Gen) *wideRun {
	m := testkit.NewModel()
	m.UseMerger(testkit.Default, c.root)
	g.MaxKeyspaces = c.spaces
	c.draw(g)
	r := &wideRun{ModelDB: dbtest.ModelDB{Model: m}, t: t, c: c, g: g, fs: memfs.New(), clock: dbtest.NewClock(), done: map[string]int{}}
	if c.filter {
		r.Watch, r.side = dbtest.NewFilterWatch(), newFiltered(g.Uint64())
	}
	for _, s := range wideSteps {
		weight := s.weight
		if more, ok := c.more[s.name]; ok {
			weight = more
		}
		r.weights = append(r.weights, weight)
	}
	r.openDB()
	return r
}

func (r *wideRun) run(steps int) {
	for r.step = range steps {
		r.once()
		if r.t.Failed() {
			break
		}
	}
	r.end()
}

// end compares everything and closes.
func (r *wideRun) end() {
	r.checkAll()
	r.letGo()
	r.must("close", r.DB.Close())
	if r.Watch != nil {
		r.must("filter", r.Watch.Violation())
	}
}

func (r *wideRun) summary() string {
	s := fmt.Sprintf("%d operations, steps: %v", r.operations, r.done)
	if r.Watch != nil {
		s += fmt.Sprintf("; filter asked %d times, removed %d, changed %d", r.Watch.Asked, r.side.gone, r.side.changed)
	}
	return s
}

// fail reports a difference. What the engine was busy with is in the step.
func (r *wideRun) fail(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("step %d, commit %d, time %d: %s", r.step, r.Model.Commits(), r.Model.Now(), fmt.Sprintf(format, args...))
}

func (r *wideRun) must(what string, err error) {
	if err != nil {
		r.t.Helper()
		r.fail("%s: %v", what, err)
	}
}

// wideStep is one thing that a run may do next.
type wideStep struct {
	name   string
	weight int
	f      func(*wideRun)
}

var wideSteps []wideStep

func init() { // not a literal: the steps ask for their weights
	wideSteps = []wideStep{
		{"commit", 520, (*wideRun).commit},
		{"bulk", 6, (*wideRun).bulk},
		{"get", 180, (*wideRun).get},
		{"walk", 110, (*wideRun).walk},
		{"rows", 20, (*wideRun).rows},
		{"tick", 40, (*wideRun).tick},
		{"snapshot", 20, (*wideRun).takeSnapshot},
		{"unsnapshot", 20, (*wideRun).dropSnapshot},
		{"flush", 15, (*wideRun).flush},
		{"compact", 5, (*wideRun).compact},
		{"sync", 10, (*wideRun).sync},
		{"create", 10, (*wideRun).create},
		{"drop", 4, (*wideRun).drop},
		{"txnspaces", 5, (*wideRun).spacesInTxn},
		{"adopt", 2, (*wideRun).adopt},
		{"refused", 5, (*wideRun).refused},
		{"reopen", 4, (*wideRun).reopen},
		{"crash", 6, (*wideRun).crash},
		{"check", 3, (*wideRun).checkAll},
		{"verify", 3, (*wideRun).verify},
	}
}

// once does one random step.
func (r *wideRun) once() {
	total := 0
	for _, w := range r.weights {
		total += w
	}
	n := r.g.IntN(total)
	for i, w := range r.weights {
		if n -= w; n < 0 {
			r.done[wideSteps[i].name]++
			wideSteps[i].f(r)
			break
		}
	}
	if r.Watch != nil {
		r.must("filter", r.Watch.Violation())
	}
}
