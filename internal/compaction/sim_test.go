package compaction

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// The simulator drives Pick, retention and splitter over tables that exist only
// as lists, so that a tree can live through millions of writes in a second. It
// checks after the fact what Pick must guarantee, and counts what it costs.

// simEntry is one version in a simulated table.
type simEntry struct {
	key  uint32
	kind base.Kind
	seq  base.SeqNum
	file base.FileNum // of the value, when kind is KindPutPointer
}

// simConfig are the sizes of a simulation, in bytes.
type simConfig struct {
	Config
	memtable  int
	keySize   int
	valueSize int
	threshold int // as in ValueOptions
	valueFile int
	workers   int // jobs that may run at once; their order of finishing is random
	snapshots int // how many are held, each for a random while
	check     bool
}

const (
	simEntryOverhead  = 6  // what a table takes beside key and value
	simPointerSize    = 17 // an encoded pointer
	simRecordOverhead = 16 // what a value file takes beside key and value
)

// simJob is a job that was picked and not yet installed.
type simJob struct {
	Job
	elider    *Elider
	snapshots []base.SeqNum
}

type sim struct {
	t   testing.TB
	cfg simConfig
	rnd *rand.Rand

	v      *manifest.Version
	tables map[base.FileNum][]simEntry
	busy   Busy
	jobs   []*simJob
	live   []base.SeqNum // snapshots, ascending

	mem      map[uint32]simEntry
	model    map[uint32]simEntry // the newest version of every key
	liveKeys int                 // keys in model that are not deleted
	seq      base.SeqNum
	nextFile base.FileNum
	nextRun  uint64

	userBytes, tableBytes, valueBytes float64
	jobCount                          map[Reason]int
	moves                             int
	spaceSum, spaceMax, runsSum       float64
	samples                           int
	depthSum                          float64
	load                              Workload
}

func newSim(t testing.TB, cfg simConfig, seed uint64) *sim {
	return &sim{
		t: t, cfg: cfg, rnd: rand.New(rand.NewPCG(seed, 7)),
		v:      &manifest.Version{Values: map[base.FileNum]*manifest.ValueFile{}},
		tables: map[base.FileNum][]simEntry{}, busy: Busy{},
		mem: map[uint32]simEntry{}, model: map[uint32]simEntry{},
		nextFile: 1, jobCount: map[Reason]int{},
	}
}

func simKey(k uint32) []byte { return binary.BigEndian.AppendUint32(nil, k) }

func (s *sim) entrySize(e simEntry) uint64 {
	n := s.cfg.keySize + simEntryOverhead
	switch e.kind {
	case base.KindPut:
		n += s.cfg.valueSize
	case base.KindPutPointer:
		n += simPointerSize
	}
	return uint64(n)
}

func (s *sim) recordSize() uint64 {
	return uint64(s.cfg.keySize + s.cfg.valueSize + simRecordOverhead)
}

func (s *sim) put(k uint32) { s.write(k, base.KindPut, s.cfg.keySize+s.cfg.valueSize) }
func (s *sim) del(k uint32) { s.write(k, base.KindDelete, s.cfg.keySize) }

func (s *sim) write(k uint32, kind base.Kind, size int) {
	s.seq++
	old, had := s.model[k]
	if was := had && old.kind == base.KindPut; was != (kind == base.KindPut) {
		if was {
			s.liveKeys--
		} else {
			s.liveKeys++
		}
	}
	e := simEntry{key: k, kind: kind, seq: s.seq}
	s.mem[k], s.model[k] = e, e
	s.userBytes += float64(size)
	if s.cfg.snapshots > 0 && s.rnd.IntN(1000) == 0 {
		if len(s.live) >= s.cfg.snapshots {
			i := s.rnd.IntN(len(s.live))
			s.live = slices.Delete(s.live, i, i+1)
		}
		s.live = append(s.live, s.seq)
		s.flush() // the memtable of the simulator keeps only one version
	}
	if len(s.mem)*(s.cfg.keySize+s.cfg.valueSize+40) >= s.cfg.memtable {
		s.flush()
	}
}

// snapshotsNow is what RunOptions.Snapshots would be.
func (s *sim) snapshotsNow() []base.SeqNum {
	if n := len(s.live); n > 0 && s.live[n-1] == s.seq {
		return slices.Clone(s.live)
	}
	return append(slices.Clone(s.live), s.seq)
}

func (s *sim) flush() {
	if len(s.mem) == 0 {
		return
	}
	entries := make([]simEntry, 0, len(s.mem))
	for _, e := range s.mem {
		entries = append(entries, e)
	}
	clear(s.mem)
	slices.SortFunc(entries, compareSim)
	s.nextRun++
	j := &simJob{Job: Job{OutputRun: s.nextRun, Guards: FlushGuards(s.v, 0, s.cfg.BaseLevelBytes/uint64(s.cfg.L0Trigger), s.cfg.Config)}, snapshots: s.snapshotsNow()}
	s.install(j, entries)
	s.work()
	s.sample()
}

func compareSim(a, b simEntry) int {
	if c := cmp.Compare(a.key, b.key); c != 0 {
		return c
	}
	return cmp.Compare(b.seq, a.seq)
}

// work runs jobs until nothing is due.
func (s *sim) work() {
	for range 1_000_000 {
		for len(s.jobs) < s.cfg.workers && s.start() {
		}
		if len(s.jobs) == 0 {
			return
		}
		i := s.rnd.IntN(len(s.jobs))
		j := s.jobs[i]
		s.jobs = slices.Delete(s.jobs, i, i+1)
		s.finish(j)
		if s.cfg.workers > 1 && s.rnd.IntN(3) == 0 {
			return // let a flush come between
		}
	}
	s.t.Fatalf("no end of jobs:\n%v", s.v)
}

func (s *sim) start() bool {
	j, ok := pickOne(s.v, s.busy, s.workload(), s.cfg.Config)
	if !ok {
		return false
	}
	if len(j.Inputs) == 0 {
		s.t.Fatalf("job without inputs: %v", &j)
	}
	j.Files(func(_ int, f *manifest.FileMeta) {
		if s.busy[f.Num] != nil {
			s.t.Fatalf("%v takes the busy table %d", &j, f.Num)
		}
		s.busy[f.Num] = &j
	})
	s.jobs = append(s.jobs, &simJob{j, j.Elider(s.v), s.snapshotsNow()})
	return true
}

func (s *sim) workload() Workload {
	w := s.load
	w.OldestSnapshot = s.snapshotsNow()[0]
	return w
}

func (s *sim) finish(j *simJob) {
	s.jobCount[j.Reason]++
	var runs [][]simEntry
	for _, in := range j.Inputs {
		var run []simEntry
		for _, f := range in.Files {
			delete(s.busy, f.Num)
			if !j.Move {
				run = append(run, s.tables[f.Num]...)
				delete(s.tables, f.Num)
			}
		}
		runs = append(runs, run)
	}
	if j.Move {
		s.moves++
		s.apply(j, nil, nil)
		return
	}
	s.install(j, mergeSim(runs))
}

// mergeSim merges sorted runs.
func mergeSim(runs [][]simEntry) []simEntry {
	switch len(runs) {
	case 0:
		return nil
	case 1:
		return runs[0]
	}
	a, b := mergeSim(runs[:len(runs)/2]), mergeSim(runs[len(runs)/2:])
	out := make([]simEntry, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if compareSim(a[0], b[0]) < 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// simOutput is what install is writing.
type simOutput struct {
	tables []*manifest.FileMeta
	values []manifest.ValueMeta
	meta   *manifest.FileMeta
	list   []simEntry
	refs   refCounts
	value  *manifest.ValueMeta
}

// install does what Run does, and applies the edit.
func (s *sim) install(j *simJob, entries []simEntry) {
	var (
		o     simOutput
		keep  = retention{snapshots: j.snapshots}
		split = splitter{guards: j.Guards}
	)
	for i, e := range entries {
		key := simKey(e.key)
		if i == 0 || entries[i-1].key != e.key {
			keep.startKey()
			split.enter(key)
			if o.meta != nil && split.cut(o.meta.Size, s.cfg.TableSize, 0) {
				s.endTable(&o)
			}
		}
		elide := func() bool { return j.elider != nil && j.elider.Elidable(key) }
		if keep.judge(base.MakeTrailer(e.seq, e.kind), elide) != keepVersion {
			continue
		}
		if o.meta == nil {
			o.meta = &manifest.FileMeta{Num: s.nextFile, Format: base.FormatNewest, Smallest: key, SmallestSeq: e.seq}
			s.nextFile++
		}
		s.emit(&o, j, e, key)
	}
	if o.meta != nil {
		s.endTable(&o)
	}
	s.endValues(&o)
	s.apply(j, o.tables, o.values)
}

func (s *sim) emit(o *simOutput, j *simJob, e simEntry, key []byte) {
	separate := e.kind == base.KindPut && s.cfg.threshold > 0 && s.cfg.valueSize >= s.cfg.threshold ||
		e.kind == base.KindPutPointer && j.RewriteValues[e.file]
	if separate {
		if o.value != nil && o.value.Size+s.recordSize() > uint64(s.cfg.valueFile) {
			s.endValues(o)
		}
		if o.value == nil {
			o.value = &manifest.ValueMeta{Num: s.nextFile}
			s.nextFile++
		}
		e.kind, e.file = base.KindPutPointer, o.value.Num
		o.value.Size += s.recordSize()
		o.value.Bytes += s.recordSize()
		o.value.Count++
	}
	if e.kind == base.KindPutPointer {
		o.refs.addBytes(e.file, s.recordSize())
	}
	m := o.meta
	m.Largest = key
	m.SmallestSeq, m.LargestSeq = min(m.SmallestSeq, e.seq), max(m.LargestSeq, e.seq)
	m.Entries++
	if e.kind == base.KindDelete {
		m.Deletes++
	}
	m.Size += s.entrySize(e)
	o.list = append(o.list, e)
}

func (s *sim) endTable(o *simOutput) {
	o.meta.ValueRefs = o.refs.list()
	s.tables[o.meta.Num] = o.list
	s.tableBytes += float64(o.meta.Size)
	o.tables = append(o.tables, o.meta)
	o.meta, o.list, o.refs = nil, nil, refCounts{}
	if o.value != nil && o.value.Size >= uint64(s.cfg.valueFile)/2 {
		s.endValues(o)
	}
}

func (s *sim) endValues(o *simOutput) {
	if o.value != nil {
		s.valueBytes += float64(o.value.Size)
		o.values = append(o.values, *o.value)
		o.value = nil
	}
}

func (s *sim) apply(j *simJob, tables []*manifest.FileMeta, values []manifest.ValueMeta) {
	before := s.v
	v, err := s.v.Apply(j.Edit(tables, values))
	if err != nil {
		s.t.Fatalf("%v cannot be installed: %v\n%v", &j.Job, err, s.v)
	}
	s.v = v
	if len(j.Inputs) > 0 {
		s.load.Observe(&j.Job, tables)
	}
	if s.cfg.check {
		if err := s.checkTree(); err != nil {
			s.t.Fatalf("after %v: %v\nbefore:\n%v\nafter:\n%v", &j.Job, err, before, v)
		}
	}
}

// checkTree verifies I5 and the accounts (Version.Check), I6, and that every
// key reads as the model says.
func (s *sim) checkTree() error {
	if err := s.v.Check(); err != nil {
		return err
	}
	type seen struct{ newest, last simEntry }
	got := map[uint32]seen{}
	var err error
	s.v.All(func(level int, f *manifest.FileMeta) bool {
		for _, e := range s.tables[f.Num] {
			k, ok := got[e.key]
			if ok && e.seq >= k.last.seq {
				err = fmt.Errorf("key %d: sequence %d is in L%d, %d above it (I6)", e.key, e.seq, level, k.last.seq)
				return false
			}
			if !ok {
				k.newest = e
			}
			k.last = e
			got[e.key] = k
		}
		return true
	})
	if err != nil {
		return err
	}
	for key, want := range s.model {
		if _, ok := s.mem[key]; ok {
			continue
		}
		e, ok := got[key]
		if want.kind == base.KindDelete {
			if ok && e.newest.kind != base.KindDelete {
				return fmt.Errorf("key %d is back from the dead, with sequence %d", key, e.newest.seq)
			}
		} else if !ok || e.newest.seq != want.seq {
			return fmt.Errorf("key %d: sequence %d is the newest, want %d", key, e.newest.seq, want.seq)
		}
	}
	return nil
}

func (s *sim) diskBytes() float64 {
	var n uint64
	s.v.All(func(_ int, f *manifest.FileMeta) bool { n += f.Size; return true })
	for _, f := range s.v.Values {
		n += f.Size
	}
	return float64(n)
}

// liveBytes is what the live data would take at the least.
func (s *sim) liveBytes() float64 {
	e := simEntry{kind: base.KindPut}
	n := s.entrySize(e)
	if s.cfg.threshold > 0 && s.cfg.valueSize >= s.cfg.threshold {
		e.kind = base.KindPutPointer
		n = s.entrySize(e) + s.recordSize()
	}
	return float64(n) * float64(s.liveKeys)
}

func (s *sim) sample() {
	runs := 0
	for _, l := range s.v.Tree(0).Levels {
		runs += len(l)
	}
	sa := s.diskBytes() / max(s.liveBytes(), 1)
	s.samples++
	s.spaceSum += sa
	s.spaceMax = max(s.spaceMax, sa)
	s.runsSum += float64(runs)
	s.depthSum += s.depth()
}

// resetCounters begins another measurement.
func (s *sim) resetCounters() {
	s.userBytes, s.tableBytes, s.valueBytes = 0, 0, 0
	s.spaceSum, s.spaceMax, s.runsSum, s.depthSum, s.samples = 0, 0, 0, 0, 0
	s.moves = 0
	clear(s.jobCount)
}

// amplification is bytes written to tables and value files for each of the
// user's.
func (s *sim) amplification() float64 { return (s.tableBytes + s.valueBytes) / s.userBytes }

// report is one line of figures since resetCounters.
func (s *sim) report() string {
	n := float64(max(s.samples, 1))
	var jobs []string
	for r := ReasonL0; r <= ReasonJoin; r++ {
		if s.jobCount[r] > 0 {
			jobs = append(jobs, fmt.Sprintf("%v %d", r, s.jobCount[r]))
		}
	}
	return fmt.Sprintf("WA %5.2f (tables %5.2f values %5.2f)  SA mean %.2f max %.2f  runs %.1f depth %.1f  levels %s  jobs %s, %d moves",
		s.amplification(), s.tableBytes/s.userBytes, s.valueBytes/s.userBytes,
		s.spaceSum/n, s.spaceMax, s.runsSum/n, s.depthSum/n, s.levels(), strings.Join(jobs, " "), s.moves)
}

// depth is in how many tables a key can be, on average over the tables' ends.
func (s *sim) depth() float64 {
	n, sum := 0, 0
	s.v.All(func(_ int, f *manifest.FileMeta) bool {
		if n++; n%7 != 0 && n > 20 {
			return true
		}
		for _, l := range s.v.Tree(0).Levels {
			for i := range l {
				if l[i].Find(f.Smallest) != nil {
					sum++
				}
			}
		}
		return true
	})
	return float64(sum) / float64(max(min(n, 20)+max(n-20, 0)/7, 1))
}

func (s *sim) levels() string {
	var parts []string
	for l, rs := range s.v.Tree(0).Levels {
		if len(rs) > 0 {
			parts = append(parts, fmt.Sprintf("L%d:%dr%.1fM", l, len(rs), float64(s.v.LevelSize(l))/1e6))
		}
	}
	return strings.Join(parts, " ")
}
