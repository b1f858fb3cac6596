package hazards

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// A read at a snapshot fell through a tombstone to an older value, took an
// empty value for a deleted one, and swallowed the errors of tables.
func TestH06SnapshotReadsTombstonesEmptyValuesAndErrors(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(_ *seerdb.Options, to *dbtest.TestOptions) { to.NoCache = true })
	r.Put("deleted=old", "just=old", "emptied=old", "kept=old", "again=old")
	r.Compact()
	r.Delete("deleted", "again")
	dbtest.Must(t, r.Flush())
	r.Delete("just")
	r.Put("emptied=", "again=new")
	snap := r.DB.NewSnapshot()
	defer snap.Close()
	r.Put("deleted=newer", "emptied=newer", "kept=newer")
	r.Delete("again")
	r.Places(func(place string) {
		for k, want := range map[string]string{"emptied": "", "kept": "old", "again": "new"} {
			if v, err := snap.Get([]byte(k)); err != nil || v == nil || string(v) != want {
				t.Errorf("%s: get %s: %q, %v; want %q", place, k, v, err, want)
			}
		}
		for _, k := range []string{"deleted", "just"} {
			if v, err := snap.Get([]byte(k)); !errors.Is(err, seerdb.ErrNotFound) {
				t.Errorf("%s: %s came back: %q, %v", place, k, v, err)
			}
		}
		if has, err := snap.Has([]byte("emptied")); !has || err != nil {
			t.Errorf("%s: has emptied: %v, %v", place, has, err)
		}
	})
	fired := r.Inject(faultfs.OpRead, "*.sst", dbtest.ErrDisk)
	if v, err := snap.Get([]byte("kept")); !errors.Is(err, dbtest.ErrDisk) {
		t.Errorf("a table that cannot be read gave %q, %v", v, err)
	}
	fired.Remove()
	if v, err := snap.Get([]byte("kept")); string(v) != "old" || err != nil {
		t.Errorf("and then %q, %v", v, err)
	}
}

// A scan of a snapshot ignored its sequence, and read the oldest table first.
func TestH07SnapshotScansDoNotMove(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put(dbtest.Rows("k", 30, "first")...)
	dbtest.Must(t, r.Flush())
	r.Put(dbtest.Rows("k", 20, "second")...)
	r.Delete("k00003", "k00025")
	before := dbtest.Contents(t, r.DB)
	snap := r.DB.NewSnapshot()
	defer snap.Close()
	r.Put(dbtest.Rows("k", 40, "third")...)
	r.Put(dbtest.Rows("k1", 5, "fourth")...)
	r.Delete("k00010", "k00029")
	r.Places(func(place string) {
		var fwd, back []string
		all := snap.Range(nil, nil)
		for k, v := range all.All() {
			fwd = append(fwd, string(k)+"="+string(v))
		}
		for k, v := range all.Backward() {
			back = append(back, string(k)+"="+string(v))
		}
		slices.Reverse(back)
		if d := cmp.Diff(before, fwd); d != "" || !slices.Equal(fwd, back) {
			t.Fatalf("%s: the snapshot moved:\n%s\n(backward equals forward: %v)", place, d, slices.Equal(fwd, back))
		}
	})
}

// Two snapshots at one sequence were one: closing the first unregistered both.
func TestH11SnapshotsAtOneSequenceAreTwo(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	r.Put("k=old")
	a, b := r.DB.NewSnapshot(), r.DB.NewSnapshot()
	if a.Seq() != b.Seq() {
		t.Fatal("the test needs two snapshots at one sequence")
	}
	dbtest.Must(t, a.Close())
	dbtest.Must(t, a.Close())
	r.Put("k=new")
	r.Places(func(place string) {
		if v, err := b.Get([]byte("k")); err != nil || string(v) != "old" {
			t.Errorf("%s: the other snapshot reads %q, %v", place, v, err)
		}
	})
	dbtest.Must(t, b.Close())
	r.Put("k=newest")
	r.Compact()
	if n := r.Entries(); n != 1 {
		t.Errorf("%d entries are kept for no snapshot", n)
	}
}

// Compaction pushed a newer table below an older one, and reads stopped at the
// stale version.
func TestH12NewestVersionWinsThroughCompactions(t *testing.T) {
	for _, shape := range []seerdb.CompactionStyle{seerdb.Leveled, seerdb.LazyLeveled} {
		t.Run(fmt.Sprint(shape), func(t *testing.T) {
			t.Parallel()
			r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
				o.CompactionStyle, o.TableSize, to.BaseLevel, to.Partitions = shape, 2<<10, 4<<10, 4
			})
			rng := rand.New(rand.NewPCG(1, uint64(shape)))
			want := map[string]string{}
			rounds := dbtest.Some(120)
			for i := range rounds {
				lo := rng.IntN(90)
				for j := lo; j < lo+1+rng.IntN(10); j++ {
					k := fmt.Sprintf("k%02d", j)
					if rng.IntN(5) == 0 {
						delete(want, k)
						r.Delete(k)
					} else {
						want[k] = fmt.Sprintf("%d%s", i, strings.Repeat(".", rng.IntN(100)))
						r.Put(k + "=" + want[k])
					}
				}
				dbtest.Must(t, r.Flush())
				for j := range 100 {
					k := fmt.Sprintf("k%02d", j)
					v, err := r.DB.Get([]byte(k))
					if w, ok := want[k]; ok != (err == nil) || string(v) != w {
						t.Fatalf("round %d: %s is %q, %v; want %q", i, k, v, err, w)
					}
				}
			}
			if m := r.DB.Metrics(); m.Compactions.Count < int64(rounds/20) {
				t.Fatalf("only %d compactions: nothing was tested", m.Compactions.Count)
			}
			r.Clean().Want(lines(want)...)
		})
	}
}

// Keys and sequences were compared as one string of bytes, so a key that is
// the prefix of another came out in the wrong place.
func TestH14KeysThatArePrefixesOfOthers(t *testing.T) {
	for _, index := range []sstable.IndexMode{sstable.IndexFences, sstable.IndexLearned} {
		r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, to *dbtest.TestOptions) { o.PageSize, to.Index = 80, index })
		var snaps []*seerdb.Snapshot
		for version := range 5 {
			for _, k := range dbtest.Awkward {
				dbtest.Must(t, r.DB.Put([]byte(k), fmt.Appendf(nil, "%x/%d", k, version)))
			}
			snaps = append(snaps, r.DB.NewSnapshot())
		}
		sorted := slices.Sorted(slices.Values(dbtest.Awkward))
		r.Places(func(place string) {
			for version, s := range snaps {
				i := 0
				all := s.Range(nil, nil)
				for k, v := range all.All() {
					if want := fmt.Sprintf("%x/%d", sorted[i], version); string(k) != sorted[i] || string(v) != want {
						t.Fatalf("%s: row %d of version %d is %q=%q, want %q=%q", place, i, version, k, v, sorted[i], want)
					}
					i++
				}
				dbtest.Must(t, all.Err())
				for _, k := range dbtest.Awkward {
					if v, err := s.Get([]byte(k)); err != nil || string(v) != fmt.Sprintf("%x/%d", k, version) {
						t.Fatalf("%s: get %q of version %d: %q, %v", place, k, version, v, err)
					}
				}
				if i != len(sorted) {
					t.Fatalf("%s: %d rows of %d", place, i, len(sorted))
				}
			}
		})
		for _, s := range snaps {
			dbtest.Must(t, s.Close())
		}
	}
}

// Bounds were compared with encoded keys; a prefix that ends in 0xFF, or an
// empty one, got a wrong upper bound.
func TestH15BoundsAndPrefixes(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.PageSize = 80 })
	for _, k := range dbtest.Awkward {
		dbtest.Must(t, r.DB.Put([]byte(k), []byte(k)))
	}
	sorted := slices.Sorted(slices.Values(dbtest.Awkward))
	pick := func(keep func(string) bool) (out []string) {
		for _, k := range sorted {
			if keep(k) {
				out = append(out, k)
			}
		}
		return out
	}
	show := func(rows *seerdb.Rows) (out []string) {
		for k := range rows.All() {
			out = append(out, string(k))
		}
		dbtest.Must(t, rows.Err())
		var back []string
		for k := range rows.Backward() {
			back = append(back, string(k))
		}
		slices.Reverse(back)
		if !slices.Equal(out, back) {
			t.Fatalf("forward %q, backward %q", out, back)
		}
		return out
	}
	r.Places(func(place string) {
		for _, lo := range append(dbtest.Awkward, "nil") {
			for _, hi := range append(dbtest.Awkward, "nil") {
				var l, h []byte
				if lo != "nil" {
					l = []byte(lo)
				}
				if hi != "nil" {
					h = []byte(hi)
				}
				want := pick(func(k string) bool { return (l == nil || k >= lo) && (h == nil || k < hi) })
				if got := show(r.DB.Range(l, h)); !slices.Equal(got, want) {
					t.Fatalf("%s: range [%q, %q): %q, want %q", place, lo, hi, got, want)
				}
			}
		}
		for _, p := range dbtest.Awkward {
			want := pick(func(k string) bool { return strings.HasPrefix(k, p) })
			if got := show(r.DB.Prefix([]byte(p))); !slices.Equal(got, want) {
				t.Fatalf("%s: prefix %q: %q, want %q", place, p, got, want)
			}
		}
	})
}

// Each kind of scan was a piece of code of its own: those of keys only showed
// deleted keys, those backward showed encoded keys and tombstones.
func TestH16EveryKindOfScanShowsTheSame(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet)
	want := map[string]string{}
	for i := range 60 {
		k := fmt.Sprintf("k%02d", i)
		want[k] = strings.Repeat(fmt.Sprint(i), 1+i*8) // inline and apart
		r.Put(k + "=old")
	}
	dbtest.Must(t, r.Flush())
	for k, v := range want {
		r.Put(k + "=" + v)
	}
	for i := 0; i < 60; i += 3 {
		k := fmt.Sprintf("k%02d", i)
		delete(want, k)
		r.Delete(k)
	}
	keys := slices.Sorted(func(yield func(string) bool) {
		for k := range want {
			if !yield(k) {
				return
			}
		}
	})
	snap := r.DB.NewSnapshot()
	defer snap.Close()
	r.Places(func(place string) {
		for i := range 16 {
			o := &seerdb.IterOptions{KeysOnly: i&1 != 0, Bulk: i&2 != 0}
			src := dbtest.Reader(r.DB)
			if i&4 != 0 {
				src = snap
			}
			it, err := src.NewIter(o)
			dbtest.Must(t, err)
			start, step := it.First, it.Next
			if i&8 != 0 {
				start, step = it.Last, it.Prev
			}
			var got []string
			for ok := start(); ok; ok = step() {
				got = append(got, string(it.Key()))
				if v := it.Value(); o.KeysOnly && v != nil || !o.KeysOnly && string(v) != want[string(it.Key())] {
					t.Fatalf("%s, scan %d: %q has the value %q", place, i, it.Key(), v)
				}
			}
			dbtest.Must(t, it.Close())
			if i&8 != 0 {
				slices.Reverse(got)
			}
			if !slices.Equal(got, keys) {
				t.Fatalf("%s, scan %d: %v, want %v", place, i, got, keys)
			}
		}
	})
}

// A scan put a table into the shared cache that could not read values; one
// failed open was remembered for ever.
func TestH17HandlesAreNotPoisoned(t *testing.T) {
	r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, _ *dbtest.TestOptions) { o.ValueThreshold = 1 })
	all := dbtest.Rows("k", 40, "value that lies apart")
	r.Put(all...)
	dbtest.Must(t, r.Flush())
	r = r.Reopen()
	for _, pattern := range []string{"*.sst", "*.val"} {
		fired := r.Fault.Inject(faultfs.Rule{Op: faultfs.OpOpen, Path: pattern, Count: 1, Err: dbtest.ErrDisk})
		if v, err := r.DB.Get([]byte("k00007")); !errors.Is(err, dbtest.ErrDisk) || fired.Count() != 1 {
			t.Fatalf("with %s that does not open: %q, %v", pattern, v, err)
		}
		fired = r.Fault.Inject(faultfs.Rule{Op: faultfs.OpRead, Path: pattern, Count: 1, Flip: true})
		if v, err := r.DB.Get([]byte("k00007")); !errors.Is(err, seerdb.ErrCorruption) || fired.Count() != 1 {
			t.Fatalf("with a flipped bit in %s: %q, %v", pattern, v, err)
		}
		n := 0
		it, err := r.DB.NewIter(&seerdb.IterOptions{KeysOnly: true, Bulk: true})
		dbtest.Must(t, err)
		for ok := it.First(); ok; ok = it.Next() {
			n++
		}
		dbtest.Must(t, it.Close())
		if n != len(all) {
			t.Fatalf("%d keys", n)
		}
	}
	r.Want(all...)
}

// The version for a snapshot was searched in one block, and missed when newer
// versions of the key filled it.
func TestH32VersionsOfOneKeyOverManyPages(t *testing.T) {
	for _, index := range []sstable.IndexMode{sstable.IndexFences, sstable.IndexLearned} {
		r := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, to *dbtest.TestOptions) {
			o.PageSize, o.TableSize, o.MemtableSize, to.Index = 80, 2<<10, 1<<20, index
		})
		r.Put("a=first", "z=last")
		snaps := map[int]*seerdb.Snapshot{}
		for i := range 200 {
			r.Put(fmt.Sprintf("hot=version %d", i))
			if i%7 == 3 {
				snaps[i] = r.DB.NewSnapshot()
			}
		}
		r.Places(func(place string) {
			for i, s := range snaps {
				want := fmt.Appendf(nil, "version %d", i)
				if v, err := s.Get([]byte("hot")); err != nil || !bytes.Equal(v, want) {
					t.Fatalf("%s: snapshot %d reads %q, %v", place, i, v, err)
				}
				it, err := s.NewIter(nil)
				dbtest.Must(t, err)
				ok := it.SeekGE([]byte("hot"))
				forward := string(it.Value())
				ok = it.Next() && string(it.Key()) == "z" && it.Prev() && ok
				backward := string(it.Value())
				ok = it.Prev() && string(it.Key()) == "a" && !it.Prev() && ok
				if !ok || forward != string(want) || backward != string(want) {
					t.Fatalf("%s: an iterator at snapshot %d shows %q, and backward %q", place, i, forward, backward)
				}
				dbtest.Must(t, it.Close())
			}
		})
		r.Clean()
		for _, s := range snaps {
			dbtest.Must(t, s.Close())
		}
	}
}
