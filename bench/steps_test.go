package main

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func smallConfig(t *testing.T, engine, stage string) WorkerConfig {
	return WorkerConfig{
		Engine: engine, Stage: stage, Dir: t.TempDir(), Class: Relaxed,
		Keys: minKeys, Ops: 2 * minKeys, ValueSize: 100, Cache: 8 << 20, Memtable: 1 << 20,
		Seed: 1, Goroutines: 1, MaxTime: time.Second, SyncTime: 20 * time.Millisecond,
		HotVersions: 300,
	}
}

// runSteps runs all steps of a stage; it returns the first step that failed.
func runSteps(t *testing.T, w *worker, st *Stage) (string, error) {
	t.Helper()
	for i := range st.Steps {
		s, err := w.run(st.Steps[i].Name)
		if err != nil {
			return st.Steps[i].Name, err
		}
		if st.Steps[i].Unit != "" && s.Value <= 0 && !mayBeNothing(st.Steps[i].Name) {
			t.Errorf("%s %s: figure %v", w.cfg.Engine, st.Steps[i].Name, s.Value)
		}
	}
	return "", nil
}

// mayBeNothing says which figures may be 0 in a small run, or of the fake.
func mayBeNothing(step string) bool {
	return step == "residentread" || step == "resident" || step == "disk"
}

// Every engine gives the right answer in every workload, alone and with three
// goroutines.
func TestEnginesInAllWorkloads(t *testing.T) {
	for _, d := range drivers {
		for i := range stages {
			st := &stages[i]
			for _, g := range []int{1, 3} {
				if g > 1 && (!st.PerCount || testing.Short()) || !d.offers(st) {
					continue
				}
				t.Run(d.Name+"/"+st.Name, func(t *testing.T) {
					cfg := smallConfig(t, d.Name, st.Name)
					cfg.Goroutines, cfg.Latency = g, g > 1
					if st.Class != "" {
						cfg.Class = st.Class
					}
					w, err := openWorker(cfg)
					if err != nil {
						t.Fatal(err)
					}
					if step, err := runSteps(t, w, st); err != nil {
						t.Errorf("%s: %v", step, err)
					}
					if err := w.store.Close(); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// Every engine opens in every class that it says it has, and keeps its data
// over a close.
func TestEnginesInAllClasses(t *testing.T) {
	for _, d := range drivers {
		if d.Name == "fake" {
			continue
		}
		for class := range d.Ack {
			o := StoreOptions{Dir: t.TempDir(), Class: class, Cache: 8 << 20, Memtable: 1 << 20, Syncers: 1}
			for _, want := range []bool{false, true} {
				s, err := d.Open(o)
				if err != nil {
					t.Fatalf("%s, %s: %v", d.Name, class, err)
				}
				v, found, err := s.Get(nil, []byte("key"))
				if err != nil || found != want || found && string(v) != "value" {
					t.Errorf("%s, %s: got %q %v %v, want found %v", d.Name, class, v, found, err, want)
				}
				if err := s.Put([]byte("key"), []byte("value")); err != nil {
					t.Errorf("%s, %s: %v", d.Name, class, err)
				}
				if err := s.Close(); err != nil {
					t.Errorf("%s, %s: %v", d.Name, class, err)
				}
			}
		}
	}
}

// A store that lies fails the run, and in the first step that could notice.
func TestLiesAreNoticed(t *testing.T) {
	for lie, want := range map[fault][]string{
		honest:       {""},
		flipGet:      {"readunsettled"},
		loseGet:      {"readunsettled"},
		inventGet:    {"readmissing"},
		staleGet:     {"readbeside", "check2"}, // nothing is stale before
		dropPut:      {"readbeside", "check2"},
		seekPast:     {"seek"},
		skipRow:      {"check1"},
		skipBackward: {"scanbackward"},
		repeatRow:    {"check1"},
		staleRow:     {"check2"},
		endEarly:     {"check1"},
	} {
		w, err := openWorker(smallConfig(t, "fake", "main"))
		if err != nil {
			t.Fatal(err)
		}
		w.store = newFake(lie)
		step, err := runSteps(t, w, &stages[0])
		if !slices.Contains(want, step) || (lie != honest) != errors.Is(err, errWrong) {
			t.Errorf("%s: step %q fails with %v; want %q", lie, step, err, want)
		}
	}
}

// The workloads of the wider data model notice what goes wrong with it, each
// lie in every stage where it can be told.
func TestLiesOfTheDataModel(t *testing.T) {
	for _, tc := range []struct {
		lie   fault
		stage string
		want  []string // steps; none: nothing can be noticed
	}{
		{dropTxn, "txn", []string{"check7"}},
		{halfTxn, "txn", []string{"check7"}},
		{doubleTxn, "txn", []string{"check7"}},
		{dirtyTxn, "txn", []string{"check7"}},
		{flipGet, "txn", []string{"txn1"}},
		{loseGet, "txn", []string{"txn1"}},
		{dropPut, "txn", []string{"check7"}},
		{staleRow, "txn", []string{"check7"}},
		{skipRow, "txn", []string{"check7"}},
		{repeatRow, "txn", []string{"check7"}},
		{dropTxn, "counters", []string{"countersread"}},
		{doubleTxn, "counters", []string{"countersread"}},
		{dirtyTxn, "counters", []string{"countersread"}},
		{staleGet, "counters", []string{"countersread"}},
		{staleRow, "counters", []string{"check8"}},
		{dropAdd, "merge", []string{"mergeread"}},
		{doubleAdd, "merge", []string{"mergeread"}},
		{loseGet, "merge", []string{"mergeread"}},
		{endEarly, "merge", []string{"check9"}},
		{dropDelete, "queue", []string{"queue"}},
		{skipRow, "queue", []string{"queue"}},
		{repeatRow, "queue", []string{"queue"}},
		{endEarly, "queue", []string{"queue"}},
		{inventGet, "queue", []string{"check10"}},
		{shortRange, "queuerange", []string{"queuerange"}},
		{wideRange, "queuerange", []string{"queuerange"}},
		{dropDelete, "deleted", []string{"scandeleted"}},
		{skipRow, "deleted", []string{"scandeleted"}},
		{inventGet, "deleted", []string{"check12"}},
		{shortRange, "ranged", []string{"scanranged"}},
		{wideRange, "ranged", []string{"scanranged"}},
		{endEarly, "ranged", []string{"scanranged"}},
	} {
		st := findStage(t, tc.stage)
		w, err := openWorker(smallConfig(t, "fake", tc.stage))
		if err != nil {
			t.Fatal(err)
		}
		w.store = newFake(tc.lie)
		step, err := runSteps(t, w, st)
		if !slices.Contains(tc.want, step) || !errors.Is(err, errWrong) {
			t.Errorf("%s, %s: step %q fails with %v; want %q", tc.stage, tc.lie, step, err, tc.want)
		}
	}
}

func findStage(t *testing.T, name string) *Stage {
	t.Helper()
	for i := range stages {
		if stages[i].Name == name {
			return &stages[i]
		}
	}
	t.Fatalf("no stage %s", name)
	return nil
}

// A driver has a feature exactly if its store has the methods.
func TestFeatures(t *testing.T) {
	for _, d := range drivers {
		s, err := d.Open(StoreOptions{Dir: t.TempDir(), Class: Relaxed, Cache: 8 << 20, Memtable: 1 << 20, Syncers: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, txn := s.(Transactor)
		_, ranges := s.(RangeDeleter)
		_, merges := s.(Adder)
		for f, has := range map[Feature]bool{Transactions: txn, RangeDeletes: ranges, MergeOperator: merges} {
			if slices.Contains(d.Has, f) != has {
				t.Errorf("%s: %s: said %v, has %v", d.Name, f, !has, has)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The short scans notice by themselves, without the checks in between.
func TestLiesInShortScans(t *testing.T) {
	for _, lie := range []fault{seekPast, skipRow, repeatRow, endEarly, staleRow} {
		for _, name := range []string{"iter10", "iter100", "ycsbe", "hotscan"} {
			stage, step, err := findStep(name)
			if err != nil {
				t.Fatal(err)
			}
			w, err := openWorker(smallConfig(t, "fake", stage.Name))
			if err != nil {
				t.Fatal(err)
			}
			store := newFake(honest)
			w.store = store
			load := "fillrandom"
			if name == "hotscan" {
				load = "hotload"
			}
			for _, s := range []string{load, map[bool]string{true: "hotput", false: "overwrite"}[name == "hotscan"]} {
				if _, err := w.run(s); err != nil {
					t.Fatal(err)
				}
			}
			store.lie = lie
			_, err = step.run(w)
			if !errors.Is(err, errWrong) {
				t.Errorf("%s: %s: %v", name, lie, err)
			}
		}
	}
}
