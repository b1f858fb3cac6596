package hazards

// Tables, keys and tombstones that were missed: bugs that the authors of the original
// found and wrote down, where no other test tells their story already.

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// A wrong binary search found 23 % of the keys.
func TestEveryKeyIsFound(t *testing.T) {
	n := dbtest.Some(8000)
	for _, index := range []sstable.IndexMode{sstable.IndexAuto, sstable.IndexFences, sstable.IndexLearned} {
		r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, to *dbtest.TestOptions) {
			o.MemtableSize, o.TableSize, o.Durability, to.Index = 1<<20, 64<<10, seerdb.NoWAL, index
		})
		rng := rand.New(rand.NewPCG(1, 1))
		keys := make([]uint64, n)
		for i := range keys {
			keys[i] = rng.Uint64N(uint64(n) * 10)
			dbtest.Must(t, r.DB.Put(fmt.Appendf(nil, "%d", keys[i]), fmt.Appendf(nil, "v%d", keys[i])))
		}
		check := func(string) {
			for _, k := range keys {
				if v, err := r.DB.Get(fmt.Appendf(nil, "%d", k)); err != nil || string(v) != fmt.Sprint("v", k) {
					t.Fatalf("get %d: %q, %v", k, v, err)
				}
			}
		}
		r.Places(check)
	}
}

// The learned index looked at the first eight bytes: of a thousand keys that
// share them 328 were found.
func TestKeysThatShareALongPrefix(t *testing.T) {
	for _, prefix := range []string{"user/000", "https://example.org/a/b/c/", strings.Repeat("\x00", 16), strings.Repeat("\xff", 9)} {
		r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, to *dbtest.TestOptions) {
			o.PageSize, o.TableSize, to.Index, o.MemtableSize = 128, 1<<20, sstable.IndexLearned, 1<<20
		})
		all := dbtest.Rows(prefix, 1000, "v")
		r.Put(all...)
		r.Put("=", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff=") // not all of the table shares it
		r.Places(func(place string) {
			for _, row := range all {
				if v, err := r.DB.Get([]byte(dbtest.KeyOf(row))); err != nil || string(v) != "v" {
					t.Fatalf("%s: get %q: %q, %v", place, dbtest.KeyOf(row), v, err)
				}
			}
			n := 0
			rows := r.DB.Prefix([]byte(prefix + "0"))
			for range rows.All() {
				n++
			}
			if n != 1000 || rows.Err() != nil {
				t.Fatalf("%s: %d rows, %v", place, n, rows.Err())
			}
		})
	}
}

// Compaction of the upper levels dropped tombstones that still hid something
// below, or dropped live keys with them.
func TestTombstonesStayWhileTheyHideSomething(t *testing.T) {
	const keys = 2000
	r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.TableSize, o.ValueThreshold, o.Durability, to.BaseLevel, to.L0Trigger = 2<<10, -1, seerdb.NoWAL, 1<<10, 2
	})
	rng := rand.New(rand.NewPCG(2, 2))
	value := make([]byte, 60)
	for i := range keys {
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		dbtest.Must(t, r.DB.Put(fmt.Appendf(nil, "k%05d", i), value))
	}
	r.Compact()
	dead := map[int]bool{}
	upper := int64(0)
	for range dbtest.Some(30) {
		for range 10 {
			i := rng.IntN(keys)
			dead[i] = true
			r.Delete(fmt.Sprintf("k%05d", i))
		}
		dbtest.Must(t, r.Flush())
		for i := range keys {
			v, err := r.DB.Get(fmt.Appendf(nil, "k%05d", i))
			if dead[i] != errors.Is(err, seerdb.ErrNotFound) || !dead[i] && len(v) != 60 {
				t.Fatalf("key %d, deleted: %v; get: %q, %v", i, dead[i], v, err)
			}
		}
	}
	for _, l := range r.DB.Metrics().Levels[:6] {
		upper += l.Compactions
	}
	if upper == 0 {
		t.Fatal("nothing was compacted above the last level")
	}
}

// Two threads loaded the list of tables, changed their copies and stored them:
// one change was lost.
func TestConcurrentFlushesAndCompactionsLoseNoTable(t *testing.T) {
	r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.Durability, o.TableSize, o.MemtableSize, o.MaxCompactions = seerdb.NoWAL, 2<<10, 4<<10, 4
		to.BaseLevel = 8 << 10
	})
	rounds := dbtest.Some(60)
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := range rounds {
				for j := range 10 {
					if err := r.DB.Put(fmt.Appendf(nil, "w%d/%03d", w, j*rounds+i), make([]byte, 50)); err != nil {
						t.Error(err)
					}
				}
				if err := r.Flush(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.Compact()
	if n := len(dbtest.Contents(t, r.DB)); n != 3*10*rounds {
		t.Fatalf("%d keys of %d", n, 3*10*rounds)
	}
	r.Clean()
	r.TidyDir()
	r.Crash(0).Clean().Want(dbtest.Contents(t, r.DB)...)
}

// A table was removed between the look at the list and the opening of the
// file, and a page was evicted between being found and being pinned.
func TestReadsAmongCompactionsNeverFail(t *testing.T) {
	for _, name := range []string{"no cache", "small cache"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
				o.TableSize, o.MemtableSize, o.MemoryBudget, o.Durability = 2<<10, 4<<10, 64<<10, seerdb.Relaxed
				to.NoCache, to.BaseLevel = name == "no cache", 8<<10
			})
			all := dbtest.Rows("k", 200, strings.Repeat("v", 100))
			r.Put(all...)
			var stop atomic.Bool
			var wg sync.WaitGroup
			for g := range 3 {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(g), 1))
					for !stop.Load() && !t.Failed() {
						k := fmt.Appendf(nil, "k%05d", rng.IntN(200))
						if v, err := r.DB.Get(k); err != nil || len(v) != 100 {
							t.Errorf("get %s: %q, %v", k, v, err)
						}
						n := 0
						rows := r.DB.Range(nil, nil)
						for range rows.All() {
							n++
						}
						if n != 200 || rows.Err() != nil {
							t.Errorf("a scan showed %d rows, %v", n, rows.Err())
						}
					}
				})
			}
			rounds := dbtest.Some(30)
			for range rounds {
				r.Put(all...)
				r.Compact()
			}
			stop.Store(true)
			wg.Wait()
			r.Want(all...)
		})
	}
}

// Level 0 was searched from the oldest table, and the filter was asked with
// another key than it had been given for tombstones.
func TestNewestTableOfLevel0IsAskedFirst(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	for i := range 8 {
		r.Put(fmt.Sprintf("k=%d", i))
		dbtest.Must(t, r.Flush())
		r.Want(fmt.Sprintf("k=%d", i))
	}
	r.Delete("k")
	dbtest.Must(t, r.Flush())
	r.Gone("k")
	r.Crash(0).Gone("k")
}

// The memtables were switched under a running scan: keys came twice or not at
// all.
func TestIteratorSeesOneMomentThroughSwitches(t *testing.T) {
	r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) { o.MemtableSize, to.Partitions = 4<<10, 16 })
	all := dbtest.Rows("k", 100, "before")
	r.Put(all...)
	for _, backward := range []bool{false, true} {
		it, err := r.DB.NewIter(nil)
		dbtest.Must(t, err)
		want, got := dbtest.Contents(t, r.DB), []string(nil)
		start, step := it.First, it.Next
		if backward {
			start, step = it.Last, it.Prev
			slices.Reverse(want)
		}
		i := 0
		for ok := start(); ok; ok = step() {
			got = append(got, string(it.Key())+"="+string(it.Value()))
			r.Put(fmt.Sprintf("k%05d=after%v", i*37%150, backward))
			if i++; i%10 == 0 {
				dbtest.Must(t, r.Flush())
			}
		}
		dbtest.Must(t, it.Close())
		if !slices.Equal(got, want) {
			t.Fatalf("backward %v: the scan showed\n%q, want\n%q", backward, got, want)
		}
	}
}

// Prefix scans skipped tables whose filter of prefixes had not been filled.
func TestPrefixScanSeesEveryTable(t *testing.T) {
	for _, threshold := range []int{-1, 1} {
		r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.ValueThreshold = threshold })
		for i := range 10 {
			r.Put(fmt.Sprintf("ab%d=1", i), fmt.Sprintf("abc%d=2", i), fmt.Sprintf("b%d=3", i))
			if i%3 == 0 {
				dbtest.Must(t, r.Flush())
			}
		}
		r.Places(func(place string) {
			for prefix, want := range map[string]int{"ab": 20, "abc": 10, "b": 10, "ab3": 1, "x": 0} {
				n := 0
				rows := r.DB.Prefix([]byte(prefix))
				for range rows.All() {
					n++
				}
				if n != want || rows.Err() != nil {
					t.Fatalf("%s: %d rows begin with %s, want %d (%v)", place, n, prefix, want, rows.Err())
				}
			}
		})
	}
}
