package compaction

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// dropSim is a tree of real tables in memory, which Pick and Run look after
// while values expire, ranges are deleted, snapshots come and go, and jobs
// finish in any order.
type dropSim struct {
	t       *testing.T
	seed    int
	rnd     *rand.Rand
	shop    *shop
	cfg     Config
	v       *manifest.Version
	tables  map[base.FileNum]*kindRun
	busy    Busy
	running []*dropJob
	all     world // everything that was ever written
	seq     base.SeqNum
	visible base.SeqNum
	run     uint64
	now     uint64
	snaps   []reader // ascending
	idle    bool
	seen    map[string]int // how often something happened
}

// dropJob is a job that has run and is not installed yet.
type dropJob struct {
	Job
	edit *manifest.Edit
}

const dropKeys = 40

func newDropSim(t *testing.T, seed int, seen map[string]int) *dropSim {
	rnd := rand.New(rand.NewPCG(uint64(seed), 11))
	cfg := DefaultConfig()
	cfg.Style = Style(rnd.IntN(2))
	cfg.L0Trigger = 1 + rnd.IntN(5)
	cfg.BaseLevelBytes = 256 << rnd.IntN(5)
	cfg.MaxRuns = 2 + rnd.IntN(4)
	cfg.SpaceTarget = 1.05 + rnd.Float64()
	cfg.ValueSpaceTarget = 1.05 + rnd.Float64()
	cfg.TableSize = 256 << rnd.IntN(4)
	cfg.TombstoneDensity = 0.1 + 0.8*rnd.Float64()
	return &dropSim{t: t, seed: seed, rnd: rnd, shop: newShop(t), cfg: cfg, now: 1000, seen: seen, busy: Busy{},
		v: &manifest.Version{Values: map[base.FileNum]*manifest.ValueFile{}}, tables: map[base.FileNum]*kindRun{}}
}

func dropKey(n int) string { return fmt.Sprintf("k%02d", n) }

func (s *dropSim) write(fresh *world) {
	s.seq++
	key := dropKey(s.rnd.IntN(dropKeys))
	put := func(k base.Kind, v []byte) {
		fresh.entries = append(fresh.entries, entry{key, base.MakeTrailer(s.seq, k), v})
	}
	text := append(fmt.Appendf(nil, "%d.", s.seq), bytes.Repeat([]byte{'x'}, s.rnd.IntN(60))...)
	switch r := s.rnd.IntN(30); {
	case r == 0:
		lo, n := s.rnd.IntN(dropKeys), 1+s.rnd.IntN(dropKeys)
		if s.rnd.IntN(2) == 0 {
			lo = 0
		}
		f := rangedel.Fragment{Lo: []byte(dropKey(lo)), Hi: []byte(dropKey(lo + n)), Seqs: []base.SeqNum{s.seq}}
		if lo+n > dropKeys {
			f.Hi = nil
		}
		fresh.ranges = append(fresh.ranges, f)
	case r < 4:
		put(base.KindDelete, nil)
	case r < 24:
		put(base.KindPutTTL, append(binary.LittleEndian.AppendUint64(nil, s.now+uint64(s.rnd.IntN(60))), text...))
	default:
		put(base.KindPut, text)
	}
}

// stripes and horizon are as the engine's.
func (s *dropSim) stripes() (out []base.SeqNum) {
	for _, r := range s.snaps {
		out = append(out, r.seq)
	}
	return slices.Compact(append(out, s.visible))
}

func (s *dropSim) horizon() uint64 {
	if len(s.snaps) > 0 {
		return s.snaps[0].now
	}
	return s.now
}

func (s *dropSim) options() *RunOptions {
	o := s.shop.randomOptions(s.rnd, 100)
	o.Guards, o.Elide, o.MaxTableSize = nil, nil, s.cfg.TableSize
	o.Snapshots, o.ExpireAt = s.stripes(), s.horizon()
	return o
}

// make runs over entries and range tombstones, and remembers the tables.
func (s *dropSim) make(stored []entry, ranges *rangedel.List, o *RunOptions) Result {
	slices.SortFunc(stored, compareEntries)
	o.Input, o.Ranges = &sliceIter{entries: stored}, ranges
	res, err := Run(context.Background(), *o)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range res.Tables {
		r := &kindRun{stored: s.shop.read(m.Num)}
		r.plain.ranges = s.shop.ranges(m.Num)
		for _, e := range r.stored {
			r.plain.entries = append(r.plain.entries, s.shop.follow(e))
		}
		s.tables[m.Num] = r
	}
	return res
}

func (s *dropSim) flush(fresh world) {
	s.all.add(fresh)
	s.all.sort()
	fresh.sort()
	s.visible = max(s.visible, s.seq-min(s.seq, base.SeqNum(s.rnd.IntN(3))))
	o := s.options()
	o.ZeroSeq = false
	lists := make([]*rangedel.List, 0, len(fresh.ranges))
	for _, f := range fresh.ranges {
		l := rangedel.FromFragments([]rangedel.Fragment{f})
		lists = append(lists, &l)
	}
	ranges := rangedel.Merge(lists...)
	res := s.make(fresh.entries, &ranges, o)
	s.run++
	j := Job{OutputRun: s.run}
	s.install(&j, j.Edit(res.Tables, res.Values))
}

func (s *dropSim) install(j *Job, e *manifest.Edit) {
	v, err := s.v.Apply(e)
	if err == nil {
		err = v.Check()
	}
	if err != nil {
		s.t.Fatalf("seed %d: %v cannot be installed: %v\n%v", s.seed, j, err, s.v)
	}
	s.v = v
}

func (s *dropSim) list(f *manifest.FileMeta) *rangedel.List {
	l := rangedel.FromFragments(s.tables[f.Num].plain.ranges)
	return &l
}

// start picks a job, and does all of it but installing it.
func (s *dropSim) start() bool {
	w := Workload{Idle: s.idle, OldestSnapshot: s.stripes()[0], ExpireAt: s.horizon()}
	if s.idle || s.rnd.IntN(3) > 0 { // else as for a job that a caller asked for
		w.RangeDeleted = RangeDeletedTables(s.v, s.stripes(), s.list)
	}
	j, ok := pickOne(s.v, s.busy, w, s.cfg)
	if !ok {
		return false
	}
	d := &dropJob{Job: j}
	j.Files(func(_ int, f *manifest.FileMeta) {
		if s.busy[f.Num] != nil {
			s.t.Fatalf("seed %d: %v takes the busy table %d", s.seed, &j, f.Num)
		}
		s.busy[f.Num] = &d.Job
		if w.RangeDeleted[f.Num] == RangeDeletedOwn && j.Drop {
			s.seen["own"]++
		}
	})
	s.running = append(s.running, d)
	verb := "compact "
	if j.Drop {
		verb = "drop "
	}
	s.seen[verb+j.Reason.String()]++
	if j.Move || j.Drop {
		d.edit = j.Edit(nil, nil)
		return true
	}
	var stored []entry
	var lists []*rangedel.List
	j.Files(func(_ int, f *manifest.FileMeta) { lists = append(lists, s.list(f)) })
	ranges := rangedel.Merge(lists...)
	unread := j.Unread(&ranges, s.stripes())
	j.Files(func(_ int, f *manifest.FileMeta) {
		if unread[f.Num] {
			s.seen["unread"]++
		} else {
			stored = append(stored, s.tables[f.Num].stored...)
		}
	})
	o := s.options()
	elider := j.Elider(s.v)
	o.Elide, o.ElideRange, o.ZeroSeq, o.Guards = elider.Elidable, elider.ElidableRange, j.OutputLevel > 0, j.Guards
	o.Values.Rewrite = func(n base.FileNum) bool { return j.RewriteValues[n] }
	res := s.make(stored, &ranges, o)
	d.edit = j.Edit(res.Tables, res.Values)
	return true
}

// finish installs one of the running jobs.
func (s *dropSim) finish() {
	i := s.rnd.IntN(len(s.running))
	j := s.running[i]
	s.running = slices.Delete(s.running, i, i+1)
	j.Files(func(_ int, f *manifest.FileMeta) { delete(s.busy, f.Num) })
	s.install(&j.Job, j.edit)
}

// rest works until nothing is due, which must come.
func (s *dropSim) rest() {
	for n := 0; ; n++ {
		if n > 300 {
			s.t.Fatalf("seed %d: no end of jobs, %v is running on\n%v", s.seed, s.running, s.v)
		}
		for len(s.running) < 3 && s.start() {
		}
		if len(s.running) == 0 {
			return
		}
		s.finish()
		s.check()
	}
}

// check reads everything at every snapshot, and as it will be read later.
func (s *dropSim) check() {
	var is world
	s.v.All(func(_ int, f *manifest.FileMeta) bool {
		is.add(s.tables[f.Num].plain)
		return true
	})
	is.sort()
	readers := slices.Clone(s.snaps)
	for _, later := range []uint64{0, 5, 100} {
		for at := s.visible; at <= s.seq; at++ {
			readers = append(readers, reader{at, s.now + later})
		}
	}
	for n := range dropKeys {
		key := dropKey(n)
		for _, r := range readers {
			if got, want := is.read(key, r.seq, r.now), s.all.read(key, r.seq, r.now); got != want {
				s.t.Fatalf("seed %d: %s at %d, time %d: %s, want %s\n%v", s.seed, key, r.seq, r.now, got, want, s.v)
			}
			if (is.newestOf(key) > r.seq) != (s.all.newestOf(key) > r.seq) {
				s.t.Fatalf("seed %d: whether %s changed after %d is lost", s.seed, key, r.seq)
			}
		}
	}
}

func (s *dropSim) step() {
	switch r := s.rnd.IntN(12); {
	case r < 4:
		var fresh world
		for range 1 + s.rnd.IntN(30) {
			s.write(&fresh)
		}
		s.flush(fresh)
	case r < 5 && len(s.snaps) < 3:
		s.snaps = append(s.snaps, reader{s.visible, s.now})
	case r < 6 && len(s.snaps) > 0:
		i := s.rnd.IntN(len(s.snaps))
		s.snaps = slices.Delete(s.snaps, i, i+1)
	case r < 8:
		s.now += uint64(s.rnd.IntN(40))
	case r < 9:
		s.rest()
	case r < 11 && len(s.running) > 0:
		s.finish()
	default:
		if s.visible > 0 && len(s.running) < 3 {
			s.start()
		}
	}
	s.check()
}

// TestDrop lives through random lives, in which no read may ever see that
// something went, and at the end of which nothing is left.
func TestDrop(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 25
	}
	seen := map[string]int{}
	for seed := range rounds {
		s := newDropSim(t, seed, seen)
		for range 60 {
			s.step()
		}
		s.snaps, s.visible, s.idle = nil, s.seq, true
		s.rest()
		if seed%2 == 0 {
			s.seq++
			s.flush(world{ranges: []rangedel.Fragment{{Seqs: []base.SeqNum{s.seq}}}})
		} else {
			s.all.sort()
			for n := range dropKeys {
				s.seq++
				s.flush(world{entries: []entry{{dropKey(n), base.MakeTrailer(s.seq, base.KindPutTTL), binary.LittleEndian.AppendUint64(nil, s.now+20)}}})
			}
			s.now += 100
		}
		s.visible = s.seq
		s.rest()
		if s.v.Tables() > 0 || len(s.v.Values) > 0 {
			t.Fatalf("seed %d: left of nothing:\n%v", seed, s.v)
		}
	}
	t.Log(seen)
	for _, what := range []string{"drop expired", "drop ranges", "compact expired", "compact tombstones", "own", "unread"} {
		if seen[what] == 0 {
			t.Errorf("%s never happened", what)
		}
	}
}
