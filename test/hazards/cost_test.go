package hazards

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// A flush copied the memtable into one list, and sorted that.
func TestS14FlushStreams(t *testing.T) {
	if dbtest.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	const size = 32 << 20
	db := dbtest.Open(t, t.TempDir(), &seerdb.Options{MemtableSize: 2 * size, Durability: seerdb.NoWAL, ValueThreshold: -1})
	value := make([]byte, 400)
	for i := range size / (len(value) + 16) {
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%013d", i*7919%1000003), value))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	dbtest.Must(t, db.Flush(context.Background()))
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > size/2 { // 10 MiB: buffers, and 12 % for the filter of all these keys
		t.Fatalf("a flush of %d MiB allocated %d KiB", size>>20, n>>10)
	}
}

// One flush made one table, however large.
func TestS15FlushSplitsItsOutput(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.MemtableSize, o.TableSize = 1<<20, 8<<10 })
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		v := make([]byte, 60)
		for j := range v {
			v[j] = byte(rng.Uint32())
		}
		dbtest.Must(t, r.DB.Put(fmt.Appendf(nil, "k%05d", i), v))
	}
	dbtest.Must(t, r.Flush())
	l0 := r.DB.Metrics().Levels[0]
	if l0.Runs != 1 || l0.Files < 10 {
		t.Fatalf("%d runs, %d tables", l0.Runs, l0.Files)
	}
	for _, n := range r.Files(".sst") {
		if size := len(r.Read("db/" + n)); size > 16<<10 {
			t.Errorf("%s has %d bytes", n, size)
		}
	}
}

// The log of values was locked for as long as a table was built.
func TestS16ValuesAreReadDuringAFlush(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.ValueThreshold = 1 })
	old := dbtest.Rows("old", 10, "a value")
	r.Put(old...)
	dbtest.Must(t, r.Flush())
	fresh := dbtest.Rows("new", 10, "a value")
	r.Put(fresh...)
	for _, s := range flushSteps[2:7] {
		held := r.Hold(s.op, s.pattern)
		flushed := dbtest.Async(r.Flush)
		held.Wait()
		dbtest.Must(t, r.Finish(dbtest.Async(func() error { r.Want(append(slices.Clone(old), fresh...)...); return nil })))
		held.Release()
		dbtest.Must(t, r.Finish(flushed))
		r.Put(fresh...)
	}
}

// Bytes were counted where the engine thought that it wrote them: values and
// batches were forgotten.
func TestS21BytesAreCountedAtTheFiles(t *testing.T) {
	r := dbtest.NewRig(t)
	user := int64(0)
	for i := range 400 {
		b := r.DB.NewBatch()
		for j := range 1 + i%4 {
			k, v := fmt.Appendf(nil, "key%04d", (i*7+j)%300), make([]byte, i)
			user += int64(len(k) + len(v))
			dbtest.Must(t, b.Put(k, v))
		}
		dbtest.Must(t, r.DB.Apply(b, seerdb.DefaultDurability))
	}
	r.Compact()
	dbtest.Contents(t, r.DB)
	dbtest.Eventually(t, 10*time.Second, "nothing runs", func() bool { return r.DB.Metrics().Compactions.Running == 0 })
	m := r.DB.Metrics()
	if m.UserBytes != user {
		t.Errorf("%d user bytes, counted %d", user, m.UserBytes)
	}
	for ext, io := range map[string]struct{ written, read int64 }{
		".wal": {m.IO.Log.BytesWritten, m.IO.Log.BytesRead},
		".sst": {m.IO.Tables.BytesWritten, m.IO.Tables.BytesRead},
		".val": {m.IO.Values.BytesWritten, m.IO.Values.BytesRead},
	} {
		written, read := r.Ops.Bytes(ext)
		if io.written != written || io.read != read || written == 0 {
			t.Errorf("%s: counted %d written and %d read; the files saw %d and %d", ext, io.written, io.read, written, read)
		}
	}
	tables, _ := r.Ops.Bytes(".sst")
	values, _ := r.Ops.Bytes(".val")
	if want := float64(tables+values) / float64(user); m.IO.WriteAmplification < 0.99*want || m.IO.WriteAmplification > 1.01*want {
		t.Errorf("write amplification %.3f; the files say %.3f", m.IO.WriteAmplification, want)
	}
}

// An encoder that failed left raw bytes under the tag of its codec. What does
// not shrink is stored as it is, and tagged so.
func TestH20EveryCodecReadsWhatItWrote(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, c := range []seerdb.Compression{seerdb.NoCompression, seerdb.LZ4, seerdb.S2, seerdb.Zstd} {
		r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) {
			o.Compression, o.ValueThreshold, o.MemtableSize = c, 200, 1<<20
		})
		var all []string
		for i := range 200 {
			v := make([]byte, rng.IntN(400))
			for j := range v {
				if v[j] = 'x'; i%2 > 0 {
					v[j] = byte(rng.Uint32())
				}
			}
			all = append(all, fmt.Sprintf("k%03d=%s", i, v))
		}
		r.Put(all...)
		dbtest.Must(t, r.Flush())
		r.Want(all...)
		r.Options.Compression = seerdb.S2 // what is there stays readable
		r = r.Reopen()
		r.Compact()
		r.Want(all...).Clean()
	}
}

// Files were deleted five seconds after a compaction; a longer scan failed.
func TestH23FilesLiveAsLongAsTheirReaders(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(_ *seerdb.Options, to *dbtest.TestOptions) { to.NoCache = true })
	all := dbtest.Rows("k", 300, strings.Repeat("v", 250))
	r.Put(all...)
	dbtest.Must(t, r.Flush())
	old := append(r.Files(".sst"), r.Files(".val")...)
	it, err := r.DB.NewIter(nil)
	dbtest.Must(t, err)
	if !it.First() {
		t.Fatal(it.Err())
	}
	for i := range 300 {
		r.Delete(fmt.Sprintf("k%05d", i))
	}
	r.Compact()
	dbtest.Must(t, r.Flush())
	still := append(r.Files(".sst"), r.Files(".val")...)
	for _, n := range old {
		if !slices.Contains(still, n) {
			t.Fatalf("%s was removed under an iterator", n)
		}
	}
	var got []string
	for ok := true; ok; ok = it.Next() {
		got = append(got, string(it.Key())+"="+string(it.Value()))
	}
	dbtest.Must(t, it.Close())
	if !slices.Equal(got, all) {
		t.Fatalf("the iterator showed %d rows of %d", len(got), len(all))
	}
	r.TidyDir()
	if n := r.Files(".sst"); len(n) != 0 {
		t.Fatalf("%v is left of nothing", n)
	}
}

// Caches were counted in blocks, by thousands for each table, and the budget
// with constants.
func TestH24MemoryStaysInItsBudget(t *testing.T) {
	const budget = 4 << 20
	r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.MemoryBudget, o.MemtableSize, o.TableSize, o.PageSize = budget, 256<<10, 64<<10, 4<<10
		o.Durability, o.ValueThreshold, o.Compression = seerdb.NoWAL, -1, seerdb.NoCompression
		to.L0Trigger, to.BaseLevel = 4, 1<<20
	})
	value := make([]byte, 1000)
	for i := range 12000 { // 12 MB
		dbtest.Must(t, r.DB.Put(fmt.Appendf(nil, "k%06d", i*7919%12000), value))
	}
	dbtest.Must(t, r.Flush())
	dbtest.Contents(t, r.DB)
	for i := range 12000 {
		if _, err := r.DB.Get(fmt.Appendf(nil, "k%06d", i)); err != nil {
			t.Fatal(err)
		}
	}
	m := r.DB.Metrics().Memory
	if m.Used > budget || m.Pages == 0 || m.Tables == 0 || m.Memtables == 0 {
		t.Fatalf("memory, with a budget of %d: %+v", budget, m)
	}
}

// Opening read every byte of every table, and so did each new handle.
func TestH27OpenAndReadCostWhatTheyNeed(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.MemtableSize, o.TableSize, o.PageSize, to.NoCache = 1<<20, 64<<10, 1<<10, true
		o.ValueThreshold, o.Compression = 500, seerdb.NoCompression
	})
	for i := range 4000 {
		r.Put(fmt.Sprintf("k%05d=%s", i, strings.Repeat("v", 100+i%2*500)))
	}
	r.Compact()
	size := r.DB.Metrics().IO.Tables.Bytes
	r = r.Reopen()
	read := func() int64 {
		_, tables := r.Ops.Bytes(".sst")
		_, values := r.Ops.Bytes(".val")
		return tables + values
	}
	if n := read(); n > size/100 {
		t.Errorf("opening read %d bytes of tables and values, of %d", n, size)
	}
	get := func() int64 {
		before := read()
		if _, err := r.DB.Get([]byte("k00100")); err != nil {
			t.Fatal(err)
		}
		return read() - before
	}
	get()
	if n := get(); n > 1500 { // a page of 1 KiB
		t.Errorf("a read of an open table read %d bytes", n)
	}
}

// The filter was made for 10,000 keys whatever the table held.
func TestFilterIsMadeForTheKeysOfItsTable(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) {
		o.MemtableSize, o.TableSize, o.MemoryBudget, o.PageSize, o.Durability = 16<<20, 64<<20, 64<<20, 4<<10, seerdb.NoWAL
	})
	for i := range 50_000 {
		dbtest.Must(t, r.DB.Put(fmt.Appendf(nil, "k%06d", 2*i), nil))
	}
	dbtest.Must(t, r.Flush())
	for i := range 20_000 {
		r.Gone(fmt.Sprintf("k%06d", 2*i+1))
	}
	l := r.DB.Metrics().Levels[0]
	if l.Files != 1 || l.Reads != 20_000 || l.FilterFalsePositives > 400 || l.FilterNegatives+l.FilterFalsePositives != l.Reads {
		t.Fatalf("%d tables, %d reads, %d stopped by the filter, %d false positives", l.Files, l.Reads, l.FilterNegatives, l.FilterFalsePositives)
	}
}

// Memtables were never given back after their flush.
func TestFlushedMemtablesAreGivenBack(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	size := r.DB.Metrics().Memory.Memtables
	it, err := r.DB.NewIter(nil)
	dbtest.Must(t, err)
	for i := range 10 {
		r.Put(dbtest.Rows(fmt.Sprint(i, "/"), 20, "v")...)
		dbtest.Must(t, r.Flush())
	}
	dbtest.Must(t, it.Close())
	dbtest.Eventually(t, 10*time.Second, "one memtable is left", func() bool { return r.DB.Metrics().Memory.Memtables == size })
	if m := r.DB.Metrics(); m.Memtable.Entries != 0 || m.Log.Segments != 1 {
		t.Fatalf("memtable: %+v, log: %+v", m.Memtable, m.Log)
	}
}

// A write amplification that a reader of the directory can check: what was
// removed is really gone from the disk.
func TestSpaceComesBack(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	for range 5 {
		r.Put(dbtest.Rows("k", 100, strings.Repeat("v", 300))...)
		dbtest.Must(t, r.Flush())
	}
	full := r.Mem.Used()
	for i := range 100 {
		r.Delete(fmt.Sprintf("k%05d", i))
	}
	r.Compact()
	r.TidyDir()
	if left := r.Mem.Used(); left > full/10 {
		names, err := r.Mem.List("db")
		t.Fatalf("%d bytes of %d are left of nothing: %v, %v", left, full, names, err)
	}
}
