package cost

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

var (
	budgetKeys = flag.Int("budget.keys", 0, "rows in TestMemoryOfTheProcess, with a budget of 64 MiB and default options (0: a short run)")
	budgetDir  = flag.String("budget.dir", "", "directory of that database, which stays there; what is there already is not loaded again")
)

func init() { dbtest.ChildJobs["budget"] = useBudget }

// budgetRun is what the child does, in its environment.
type budgetRun struct {
	keys    int
	iters   int            // left open
	options seerdb.Options // the budget, and what makes a small database a large one
	group   string         // control group to enter first
}

func (r budgetRun) env() []string {
	return []string{
		fmt.Sprintf("KEYS=%d", r.keys), fmt.Sprintf("ITERATORS=%d", r.iters), fmt.Sprintf("BUDGET=%d", r.options.MemoryBudget),
		fmt.Sprintf("FILTER_BITS=%d", int(r.options.FilterBits)), fmt.Sprintf("TABLE_SIZE=%d", r.options.TableSize), "GROUP=" + r.group,
	}
}

// useBudget loads a database, reads it at random, and writes to it beside
// iterators that stay open, a hundred or so. It says how much memory the process took.
func useBudget(dir string) error {
	number := func(name string) int { n, _ := strconv.Atoi(os.Getenv(name)); return n }
	if group := os.Getenv("GROUP"); group != "" {
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0o600); err != nil {
			return err
		}
	}
	keys := number("KEYS")
	o := seerdb.Options{
		MemoryBudget: int64(number("BUDGET")), FilterBits: float64(number("FILTER_BITS")), TableSize: int64(number("TABLE_SIZE")),
		Durability: seerdb.NoWAL,
	}
	w := watchMemory()
	besides, beside := besideBudget(&o)
	db, err := seerdb.Open(dir, &o)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Get(budgetKey(0)); errors.Is(err, seerdb.ErrNotFound) {
		if err := loadBudget(db, keys); err != nil {
			return err
		}
		if err := w.phase("load", besides, db); err != nil {
			return err
		}
	}
	begin, reads := time.Now(), max(keys/500, 10_000)
	for i := range reads {
		n := rand.IntN(2 * keys)
		switch _, err := db.Get(budgetKey(n)); {
		case n%2 == 0 && err != nil, n%2 == 1 && !errors.Is(err, seerdb.ErrNotFound):
			return fmt.Errorf("read %d, key %d: %w", i, n, err)
		}
	}
	fmt.Printf("%d reads, half of them of keys that are not there, %v each\n", reads, time.Since(begin)/time.Duration(reads))
	if err := w.phase("reads", besides, db); err != nil {
		return err
	}
	var open []*seerdb.Iter
	value := make([]byte, 1000)
	rows := max(40, int(db.Metrics().Memory.Budget/100/1000)) // of the whole budget for all iterators
	for i := range number("ITERATORS") {
		for j := range rows {
			if err := db.Put(budgetKey(rand.IntN(keys)*2), value); err != nil {
				return fmt.Errorf("row %d beside %d iterators: %w", j, i, err)
			}
		}
		it, err := db.NewIter(nil)
		if err != nil {
			return err
		}
		if !it.SeekGE(budgetKey(rand.IntN(keys))) {
			return it.Err()
		}
		open = append(open, it)
	}
	if err := w.phase("iterators", beside, db); err != nil {
		return err
	}
	for _, it := range open {
		if err := it.Close(); err != nil {
			return err
		}
	}
	return nil
}

// budgetKey is the key of row n, if n is even.
func budgetKey(n int) []byte { return fmt.Appendf(nil, "%016x", int64(n)*0x1234567) }

func loadBudget(db *seerdb.DB, keys int) error {
	_, err := db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
		for i := range keys {
			k := budgetKey(2 * i)
			if !yield(k, k[:12]) {
				return
			}
		}
	}, nil)
	return err
}

// What the process takes besides the budget and 15 % of it. With a budget of 64 MiB
// and more that is what a test has that a program has not: tables of other packages,
// and as much garbage. With less it is the Go runtime, buffers of jobs that
// write small tables, and garbage; and what jobs take that write tables of the
// default size, or many beside a hundred iterators.
const (
	testBytes    = 4 << 20
	runtimeBytes = 12 << 20
	jobBytes     = 16 << 20
)

// besideBudget is what a process with these options may take besides while it loads
// and reads, and beside iterators.
func besideBudget(o *seerdb.Options) (besides, beside int64) {
	switch {
	case o.MemoryBudget >= 64<<20:
		return testBytes, testBytes
	case o.TableSize == 0:
		return runtimeBytes + jobBytes, runtimeBytes + jobBytes
	}
	return runtimeBytes, runtimeBytes + jobBytes
}

// memoryWatch samples the memory of the process that is not of files.
type memoryWatch struct {
	base int64        // before the database was opened
	most atomic.Int64 // since the phase began
}

func watchMemory() *memoryWatch {
	w := &memoryWatch{base: residentMemory("RssAnon")}
	go func() {
		for {
			if n := residentMemory("RssAnon"); n > w.most.Load() {
				w.most.Store(n)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return w
}

// phase says what a phase took at most, and whether that is within the budget, 15 %
// of it, and so much besides.
func (w *memoryWatch) phase(name string, besides int64, db *seerdb.DB) error {
	time.Sleep(5 * time.Millisecond)
	m := db.Metrics().Memory
	took := w.most.Load() - w.base
	fmt.Printf("%s: %.1f MiB beside the %.1f MiB before Open, budget %.1f MiB; highest RSS with files %.1f MiB; used %d: memtables %d (pinned %d), tables %d (filters %d, %d left out with %d), pages %d, iterators %d\n",
		name, mib(took), mib(w.base), mib(m.Budget), mib(residentMemory("VmHWM")), m.Used, m.Memtables, m.Pinned, m.Tables, m.Filters, m.FiltersLeftOut, m.FilterBytesLeftOut, m.Pages, m.Iterators)
	if took > m.Budget*115/100+besides {
		return fmt.Errorf("%s: %d bytes were taken with a budget of %d", name, took, m.Budget)
	}
	// The garbage of this phase, which may be more than the next one is allowed, is
	// not the next one's.
	debug.FreeOSMemory()
	w.most.Store(0)
	return nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// residentMemory is a line of /proc/self/status, in bytes.
func residentMemory(name string) int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(status, []byte(name+":"))
	line, _, _ := bytes.Cut(rest, []byte("kB"))
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	return n << 10
}

// TestMemoryOfTheProcess: the process takes little more memory than the budget,
// while a database is loaded whose filters are three times as large as that, is
// read at random, and is written to beside a hundred open iterators.
func TestMemoryOfTheProcess(t *testing.T) {
	if dbtest.RaceEnabled {
		t.Skip("with the race detector all memory is several times as large")
	}
	r := budgetRun{keys: 3_000_000, iters: 100, options: seerdb.Options{MemoryBudget: 8 << 20, FilterBits: 64, TableSize: 1 << 20}}
	if testing.Short() {
		r.keys, r.iters = 1_500_000, 10
		r.options.MemoryBudget = 4 << 20
	}
	dir := t.TempDir()
	if *budgetKeys > 0 {
		r = budgetRun{keys: *budgetKeys, iters: 100, options: seerdb.Options{MemoryBudget: 64 << 20}}
		if *budgetDir != "" {
			dir = *budgetDir
		}
	}
	out, err := dbtest.Child(t, "budget", dir, r.env()...).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// TestMemoryOfASmallGroup: with default options a process in a control group of
// 96 MiB is not killed, and takes little more than its budget.
func TestMemoryOfASmallGroup(t *testing.T) {
	if dbtest.RaceEnabled {
		t.Skip("with the race detector all memory is several times as large")
	}
	group := smallGroup(t, 96<<20)
	r := budgetRun{keys: 1_000_000, iters: 100, options: seerdb.Options{FilterBits: 64}, group: group}
	if testing.Short() {
		r.keys, r.iters = 200_000, 10
	}
	out, err := dbtest.Child(t, "budget", t.TempDir(), r.env()...).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(out), "budget 24.0 MiB") {
		t.Error("the budget is not a quarter of the group's limit")
	}
}

// smallGroup makes a memory control group below that of the test.
func smallGroup(t *testing.T, limit int64) string {
	t.Helper()
	self, err := os.ReadFile("/proc/self/cgroup")
	dbtest.Must(t, err)
	for line := range strings.Lines(string(self)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		top, file := "/sys/fs/cgroup", "memory.max"
		if parts[0] != "0" {
			if parts[1] != "memory" {
				continue
			}
			top, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		dir := filepath.Join(top, parts[2], fmt.Sprintf("seerdb-test-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o700); err != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(dir) })
		if err := os.WriteFile(filepath.Join(dir, file), fmt.Append(nil, limit), 0o600); err == nil {
			return dir
		}
	}
	t.Skip("no memory control group can be made here")
	return ""
}
