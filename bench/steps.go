package main

import (
	"fmt"
	"path"
	"slices"
)

// Steps and stages. A stage begins with an empty store and runs its steps in
// order; each step finds what the one before left. All engines run a step, in
// turn, before any runs the next.

// Step is one workload, or something to be done between two workloads.
type Step struct {
	Name  string
	Doc   string
	Unit  string // "ops/s", "rows/s", "s", "MB"; "" for a step without a figure
	Less  bool   // less is better
	Needs string // steps it needs besides the first of its stage, comma-separated
	// Against names the step whose figures of the base engine the ratios refer
	// to, if that is not the same step. It must run as often.
	Against string
	still   bool // nothing is written, not even in the background
	run     func(*worker) (Sample, error)
}

// Stage is a sequence of steps on one store.
type Stage struct {
	Name  string
	Class Class // if not the run's
	// PerCount is set if the stage runs once for each of --goroutines.
	PerCount bool
	// Feature is what an engine needs for the stage; others skip it.
	Feature Feature
	Steps   []Step
}

// stages are the stages in order.
var stages = []Stage{
	{Name: "main", PerCount: true, Steps: []Step{
		{Name: "fillrandom", Unit: "ops/s", Doc: "load of all keys in random order, one key a commit", run: fillRandom},
		{Name: "readunsettled", Unit: "ops/s", Doc: "read random keys right after the load", run: readUnsettled},
		{Name: "settle", Unit: "s", Less: true, Doc: "flush, compact all, wait", run: settle},
		{Name: "disk", Unit: "MB", Less: true, Doc: "disk occupied once settled", Needs: "settle", still: true, run: disk},
		{Name: "check1", Needs: "settle", still: true, run: check},
		{Name: "readrandom", Unit: "ops/s", Doc: "read random keys, settled, cached", Needs: "settle", still: true, run: readRandom},
		{Name: "readmissing", Unit: "ops/s", Doc: "read keys that do not exist", Needs: "settle", still: true, run: readMissing},
		{Name: "seek", Unit: "ops/s", Doc: "seek to a random key on an open iterator", Needs: "settle", still: true, run: seek},
		{Name: "iter10", Unit: "ops/s", Doc: "new iterator, seek, 10 rows, close", Needs: "settle", still: true, run: newIter(10)},
		{Name: "iter100", Unit: "ops/s", Doc: "new iterator, seek, 100 rows, close", Needs: "settle", still: true, run: newIter(100)},
		{Name: "scanforward", Unit: "rows/s", Doc: "read all rows forward", Needs: "settle", still: true, run: fullScan(false)},
		{Name: "scanbackward", Unit: "rows/s", Doc: "read all rows backward", Needs: "settle", still: true, run: fullScan(true)},
		{Name: "residentread", Unit: "MB", Less: true, Doc: "resident memory after the reads", Needs: "settle,readrandom", still: true, run: resident},
		{Name: "readbeside", Unit: "ops/s", Doc: "read random keys beside one writer at full speed", Needs: "settle", run: readBeside},
		{Name: "overwrite", Unit: "ops/s", Doc: "write random existing keys, one a commit", run: overwrite},
		{Name: "resettle", run: settle},
		{Name: "check2", Needs: "resettle", still: true, run: check},
		{Name: "ycsba", Unit: "ops/s", Doc: "YCSB A: half reads, half updates, Zipf", Needs: "resettle", run: ycsb(ycsbA)},
		{Name: "ycsbe", Unit: "ops/s", Doc: "YCSB E right after A: scans of 1 to 100 rows, 5 % inserts", Needs: "resettle,ycsba", run: ycsb(ycsbE)},
		{Name: "ycsbb", Unit: "ops/s", Doc: "YCSB B: 95 % reads, 5 % updates, Zipf", Needs: "resettle", run: ycsb(ycsbB)},
		{Name: "ycsbc", Unit: "ops/s", Doc: "YCSB C: reads, Zipf", Needs: "resettle", run: ycsb(ycsbC)},
		{Name: "ycsbd", Unit: "ops/s", Doc: "YCSB D: reads of the latest, 5 % inserts", Needs: "resettle", run: ycsb(ycsbD)},
		{Name: "ycsbf", Unit: "ops/s", Doc: "YCSB F: half reads, half read-modify-writes, Zipf", Needs: "resettle", run: ycsb(ycsbF)},
		{Name: "resident", Unit: "MB", Less: true, Doc: "resident memory after the run", Needs: "settle,readrandom,resettle,ycsba,ycsbf", still: true, run: resident},
		{Name: "check3", still: true, run: check},
	}},
	{Name: "batch", PerCount: true, Steps: []Step{
		{Name: "fillbatch", Unit: "keys/s", Doc: "load of all keys in random order, batches of 100", run: fillBatch},
		{Name: "check4", still: true, run: check},
	}},
	{Name: "sync", Class: Sync, Steps: []Step{
		{Name: "fillsync1", Unit: "ops/s", Doc: "synced commits of one key, 1 goroutine", run: fillSync(1)},
		{Name: "fillsync16", Unit: "ops/s", Doc: "synced commits of one key, 16 goroutines", run: fillSync(16)},
		{Name: "fillsync64", Unit: "ops/s", Doc: "synced commits of one key, 64 goroutines", run: fillSync(64)},
		{Name: "check5", still: true, run: check},
	}},
	{Name: "hotkey", Steps: []Step{
		{Name: "hotload", run: hotLoad},
		{Name: "hotput", Unit: "ops/s", Doc: "overwrite one key again and again", run: hotPut},
		{Name: "hotget", Unit: "ops/s", Doc: "read that key", Needs: "hotput", still: true, run: hotGet},
		{Name: "hotscan", Unit: "ops/s", Doc: "new iterator, 100 rows across that key", Needs: "hotput", still: true, run: hotScan},
		{Name: "check6", still: true, run: check},
	}},
	{Name: "txn", Feature: Transactions, Steps: []Step{
		{Name: "txnload", run: txnLoad},
		{Name: "txn1", Unit: "txn/s", Doc: "transactions of 4 reads and 4 writes, 1 goroutine", run: transfer(1)},
		{Name: "txn4", Unit: "txn/s", Doc: "transactions of 4 reads and 4 writes, 4 goroutines", run: transfer(4)},
		{Name: "txn16", Unit: "txn/s", Doc: "transactions of 4 reads and 4 writes, 16 goroutines", run: transfer(16)},
		{Name: "check7", still: true, run: checkAccounts},
	}},
	{Name: "counters", Steps: []Step{
		{Name: "counterload", run: counterLoad},
		{Name: "counters1", Unit: "ops/s", Doc: "add to a counter, Zipf, by read-modify-write, 1 goroutine", run: count(1, false)},
		{Name: "counters4", Unit: "ops/s", Doc: "add to a counter, Zipf, by read-modify-write, 4 goroutines", run: count(4, false)},
		{Name: "countersread", Unit: "ops/s", Doc: "read random counters right after", Needs: "counters1,counters4", run: readCounters},
		{Name: "check8", still: true, run: checkCounters},
	}},
	{Name: "merge", Feature: MergeOperator, Steps: []Step{
		{Name: "mergeload", run: counterLoad},
		{Name: "merge1", Unit: "ops/s", Against: "counters1", Doc: "the same by a merge operator, 1 goroutine", run: count(1, true)},
		{Name: "merge4", Unit: "ops/s", Against: "counters4", Doc: "the same by a merge operator, 4 goroutines", run: count(4, true)},
		{Name: "mergeread", Unit: "ops/s", Against: "countersread", Doc: "read random counters right after", Needs: "merge1,merge4", run: readCounters},
		{Name: "check9", still: true, run: checkCounters},
	}},
	{Name: "queue", Steps: []Step{
		{Name: "queueload", run: queueLoad},
		{Name: "queue", Unit: "ops/s", Doc: "scan the front 10, delete them one by one, append 10", run: queue},
		{Name: "check10", still: true, run: checkQueue},
	}},
	{Name: "queuerange", Feature: RangeDeletes, Steps: []Step{
		{Name: "queueload2", run: queueLoad},
		{Name: "queuerange", Unit: "ops/s", Doc: "scan the front 10, append 10; each 100 times delete a range of 1000", run: queueRange},
		{Name: "check11", still: true, run: checkQueue},
	}},
	{Name: "deleted", Steps: []Step{
		{Name: "deleteload", run: deleteLoad},
		{Name: "deletepoints", Unit: "keys/s", Doc: "delete all but each 10,000th key, batches of 100", run: deletePoints},
		{Name: "scandeleted", Unit: "rows/s", Doc: "scan what is left, right after", Needs: "deletepoints", run: scanLeft},
		{Name: "deletesettle", run: settle},
		{Name: "scandeletedlater", Unit: "rows/s", Doc: "scan what is left, settled", Needs: "deletepoints,deletesettle", still: true, run: scanLeft},
		{Name: "check12", Needs: "deletepoints", still: true, run: checkLeft},
	}},
	{Name: "ranged", Feature: RangeDeletes, Steps: []Step{
		{Name: "deleteload2", run: deleteLoad},
		{Name: "deleteranges", Unit: "ranges/s", Doc: "the same by one range delete for each gap", run: deleteRanges},
		{Name: "scanranged", Unit: "rows/s", Doc: "scan what is left, right after", Needs: "deleteranges", run: scanLeft},
		{Name: "deletesettle2", run: settle},
		{Name: "scanrangedlater", Unit: "rows/s", Doc: "scan what is left, settled", Needs: "deleteranges,deletesettle2", still: true, run: scanLeft},
		{Name: "check13", Needs: "deleteranges", still: true, run: checkLeft},
	}},
}

func findStep(name string) (*Stage, *Step, error) {
	for i := range stages {
		for j := range stages[i].Steps {
			if stages[i].Steps[j].Name == name {
				return &stages[i], &stages[i].Steps[j], nil
			}
		}
	}
	return nil, nil, fmt.Errorf("unknown workload %q; bench list names them", name)
}

// chosen returns the steps of a stage that must run for the wanted ones (names
// or patterns of path.Match), or nil if none is wanted. The first step, and
// steps without a figure, run whenever any does; a step without a figure that
// is not needed would only cost time.
func (s *Stage) chosen(want []string) (steps []*Step, shown map[string]bool) {
	shown = map[string]bool{}
	needed := map[string]bool{}
	last := -1
	for i := range s.Steps {
		st := &s.Steps[i]
		if st.Unit == "" || !slices.ContainsFunc(want, func(p string) bool {
			ok, _ := path.Match(p, st.Name)
			return ok
		}) {
			continue
		}
		shown[st.Name], needed[st.Name] = true, true
		for _, n := range splitList(st.Needs) {
			needed[n] = true
		}
		last = i
	}
	if last < 0 {
		return nil, nil
	}
	for i := range s.Steps {
		st := &s.Steps[i]
		if i == 0 || needed[st.Name] || st.Unit == "" && s.useful(i, needed, last) {
			steps = append(steps, st)
		}
	}
	return steps, shown
}

// useful reports whether a step without a figure should run: it is a check, the
// steps that it checks run, and a wanted step or the end of the stage follows.
func (s *Stage) useful(i int, needed map[string]bool, last int) bool {
	st := &s.Steps[i]
	if len(st.Name) < 5 || st.Name[:5] != "check" {
		return false
	}
	for _, n := range splitList(st.Needs) {
		if !needed[n] {
			return false
		}
	}
	return i < last || i == len(s.Steps)-1
}
