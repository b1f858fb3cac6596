package compaction

import (
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// herd makes versions of many keyspaces.
type herd struct {
	edit manifest.Edit
	num  base.FileNum
}

// table adds a table of a keyspace; pack 0 is a file of its own.
func (h *herd) table(keyspace uint32, level int, run uint64, size uint64, pack base.FileNum, offset, packSize uint64) *manifest.FileMeta {
	h.num++
	f := &manifest.FileMeta{
		Num: h.num, Keyspace: keyspace, Run: run, Size: size, Entries: 10, Format: base.FormatNewest,
		Smallest: []byte("a"), Largest: []byte("z"), SmallestSeq: base.SeqNum(run), LargestSeq: base.SeqNum(run),
		Pack: pack, Offset: offset, PackSize: packSize,
	}
	h.edit.Add = append(h.edit.Add, manifest.NewFile{Level: level, Meta: f})
	return f
}

func (h *herd) version(t testing.TB) *manifest.Version {
	t.Helper()
	v, err := (&manifest.Version{}).Apply(&h.edit)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestPacksBusyEverywhere: while jobs are busy in all packs with garbage nothing
// is picked because of it, least of all tables that are in no pack.
func TestPacksBusyEverywhere(t *testing.T) {
	for _, also := range []bool{false, true} {
		var h herd
		busyIn := h.table(1, lastLevel, 1, 1<<10, 1_000_001, 0, 32<<20)
		for ks := range uint32(20) {
			h.table(10+ks, lastLevel, 1, 8<<20, 0, 0, 0)
		}
		if also { // a pack that is as full as packs can be
			h.table(2, lastLevel, 1, 1<<10, 1_000_002, 0, 1<<10+76)
		}
		if jobs := Pick(h.version(t), Busy{busyIn.Num: &Job{Keyspace: 1, OutputLevel: lastLevel, Inputs: []Input{{lastLevel, 1, []*manifest.FileMeta{busyIn}}}}}, Workload{}, DefaultConfig()); len(jobs) > 0 {
			t.Errorf("%d jobs, the first: %v", len(jobs), &jobs[0])
		}
	}
}

// TestPackJobsAreBounded: what is picked to be packed is not more than a job may be.
func TestPackJobsAreBounded(t *testing.T) {
	var h herd
	for ks := range uint32(1000) {
		h.table(1+ks, lastLevel, 1, 60<<10, 0, 0, 0)
	}
	jobs := Pick(h.version(t), nil, Workload{}, DefaultConfig())
	var size uint64
	for i := range jobs {
		size += jobs[i].Size()
	}
	if len(jobs) < looseTables || size > maxTogetherBytes+DefaultConfig().PackedMax {
		t.Errorf("%d jobs of %d bytes together; at most %d are wanted", len(jobs), size, maxTogetherBytes)
	}
}

// TestPickAsksEachKeyspaceOnce: what a pick costs grows with the keyspaces that
// are due, and not with those times the tables of a job that runs for thousands of
// others, nor times all value files. It is compared with a plain pick.
func TestPickAsksEachKeyspaceOnce(t *testing.T) {
	const n = 4000
	version := func(values bool) *manifest.Version {
		var h herd
		for ks := range uint32(n) {
			for run := range uint64(4) {
				f := h.table(1+ks, 0, run+1, 400, 0, 0, 0)
				if values && run == 0 {
					m := manifest.ValueMeta{Num: base.FileNum(1_000_000 + ks), Size: 60_000, Bytes: 50_000, Count: 10}
					f.ValueRefs = []manifest.ValueRef{{File: m.Num, Bytes: m.Bytes, Count: m.Count}}
					h.edit.AddValues = append(h.edit.AddValues, m)
				}
			}
		}
		return h.version(t)
	}
	fastest := func(v *manifest.Version, busy Busy) (best time.Duration) {
		for range 3 {
			begin := time.Now()
			if jobs := Pick(v, busy, Workload{}, DefaultConfig()); len(jobs) < 1000 {
				t.Fatalf("%d jobs", len(jobs))
			}
			if d := time.Since(begin); best == 0 || d < best {
				best = d
			}
		}
		return best
	}
	plain := version(false)
	busy := Busy{}
	jobs := Pick(plain, nil, Workload{}, DefaultConfig())
	for i := range jobs {
		jobs[i].Keyspace += n // of others
		jobs[i].Files(func(_ int, f *manifest.FileMeta) { busy[1_000_000+f.Num] = &jobs[i] })
	}
	alone := fastest(plain, nil)
	for what, d := range map[string]time.Duration{"beside a job of many": fastest(plain, busy), "with value files": fastest(version(true), nil)} {
		if d > 5*alone {
			t.Errorf("%s: %v; %v without", what, d, alone)
		}
	}
}

// TestRunningJobsWithoutTables: a load that takes its place is a running job
// although no version has its tables yet; nothing is written where it will be.
func TestRunningJobsWithoutTables(t *testing.T) {
	var h herd
	for ks := range uint32(300) {
		h.table(1+ks, lastLevel, 1, 1<<10, 0, 0, 0)
	}
	v := h.version(t)
	load := h.table(7, lastLevel, 1, 1<<10, 0, 0, 0)
	busy := Busy{load.Num: &Job{Keyspace: 7, OutputLevel: lastLevel, OutputRun: 1, Inputs: []Input{{lastLevel, 1, []*manifest.FileMeta{load}}}}}
	jobs := Pick(v, busy, Workload{}, DefaultConfig())
	if len(jobs) != 299 {
		t.Errorf("%d jobs, of 300 keyspaces with one that is loaded", len(jobs))
	}
	for i := range jobs {
		if jobs[i].Keyspace == 7 {
			t.Error("the keyspace that is loaded is among them")
		}
	}
}

// TestDamagedPacksDoNotKeepOthers: when the tables of the worst pack can never be
// read, others with garbage are written again all the same.
func TestDamagedPacksDoNotKeepOthers(t *testing.T) {
	var h herd
	damaged := base.FileNum(1_000_000)
	for i := range 40 {
		h.table(uint32(1+i), lastLevel, 1, 300<<10+uint64(i), damaged+base.FileNum(i), 0, 2<<20)
	}
	jobs := Pick(h.version(t), nil, Workload{}, DefaultConfig())
	var live uint64
	for i := range jobs {
		live += jobs[i].Size()
	}
	if len(jobs) < 2 || live > maxTogetherBytes {
		t.Errorf("%d jobs of %d bytes", len(jobs), live)
	}
}

// TestPackingComesToAnEnd: where so few tables can be packed that their job would
// make no pack none is picked; it would be picked for ever.
func TestPackingComesToAnEnd(t *testing.T) {
	cfg := DefaultConfig()
	cfg.PackFrom, cfg.PackedMax = 100, 1<<20
	var h herd
	for ks := range uint32(100 * looseTables) {
		h.table(1+ks, lastLevel, 1, 1<<20, 0, 0, 0)
	}
	if jobs := Pick(h.version(t), nil, Workload{}, cfg); len(jobs) > 0 {
		t.Errorf("%d jobs, and packs are made from %d on", len(jobs), cfg.PackFrom)
	}
}
