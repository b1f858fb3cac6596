package seerdb_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// bulkRows yields rows in the order given. Like a careful caller it reuses its
// buffers: what BulkLoad keeps without copying is overwritten.
func bulkRows(keys []string, value func(i int) string) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		var kb, vb []byte
		for i, k := range keys {
			kb, vb = append(kb[:0], k...), append(vb[:0], value(i)...)
			if !yield(kb, vb) {
				return
			}
			for j := range kb {
				kb[j] = 0xee
			}
			for j := range vb {
				vb[j] = 0xee
			}
		}
	}
}

// bulkKeys are n keys, ascending, from the first on, step apart.
func bulkKeys(first, n, step int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("key%06d", first+i*step)
	}
	return out
}

// bulkValue is small for most rows, and goes to a value file for the others.
func bulkValue(tag string) func(i int) string {
	return func(i int) string {
		if i%5 == 0 {
			return tag + strings.Repeat("v", 250+i%90)
		}
		return fmt.Sprint(tag, i)
	}
}

func bulkMap(keys []string, value func(i int) string) map[string]string {
	m := map[string]string{}
	for i, k := range keys {
		m[k] = value(i)
	}
	return m
}

// bulkSmall opens a database with tiny tables, some of them in memory.
func bulkSmall(t testing.TB, fs vfs.FS) *seerdb.DB {
	t.Helper()
	o, to := tiny()
	to.FS = fs
	db, err := seerdb.Open("db", o.With(to))
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// bulkCheck compares what a reader has, by iteration both ways and by point
// reads.
func bulkCheck(t testing.TB, when string, r bulkReader, want map[string]string) {
	t.Helper()
	it, err := r.NewIter(nil)
	must(t, err)
	keys := slices.Sorted(maps.Keys(want))
	i := 0
	for ok := it.First(); ok; ok = it.Next() {
		if i >= len(keys) || string(it.Key()) != keys[i] || string(it.Value()) != want[keys[i]] {
			t.Fatalf("%s: row %d of %d is %q = %.40q", when, i, len(keys), it.Key(), it.Value())
		}
		i++
	}
	if i != len(keys) || it.Err() != nil {
		t.Fatalf("%s: %d rows of %d (%v)", when, i, len(keys), it.Err())
	}
	for ok := it.Last(); ok; ok = it.Prev() {
		if i--; i < 0 || string(it.Key()) != keys[i] || string(it.Value()) != want[keys[i]] {
			t.Fatalf("%s: going back, row %d is %q", when, i, it.Key())
		}
	}
	must(t, it.Close())
	for i, k := range keys {
		if v, err := r.Get([]byte(k)); err != nil || string(v) != want[k] {
			t.Fatalf("%s: Get(%q) is %.40q, %v; wanted %.40q", when, k, v, err, want[k])
		}
		if _, err := r.Get([]byte(k + "-")); !errors.Is(err, seerdb.ErrNotFound) {
			t.Fatalf("%s: Get of a missing key beside %q: %v", when, k, err)
		}
		if i%7 == 0 {
			if ok, err := r.Has([]byte(k)); !ok || err != nil {
				t.Fatalf("%s: Has(%q): %v, %v", when, k, ok, err)
			}
		}
	}
}

type bulkReader interface {
	NewIter(*seerdb.IterOptions) (*seerdb.Iter, error)
	Get(key []byte) ([]byte, error)
	Has(key []byte) (bool, error)
}

func bulkVerify(t testing.TB, db *seerdb.DB) {
	t.Helper()
	report, err := db.Verify(context.Background())
	must(t, err)
	if !report.Clean() {
		t.Fatalf("verify: %v", report.Damage)
	}
}

// TestBulkLoadEmpty loads into an empty database: everything is in the last
// level, and nothing is left to compact.
func TestBulkLoadEmpty(t *testing.T) {
	for _, unsorted := range []bool{false, true} {
		t.Run(fmt.Sprint("unsorted=", unsorted), func(t *testing.T) {
			fs := memfs.New()
			db := bulkSmall(t, fs)
			keys := bulkKeys(0, 3000, 1)
			want := bulkMap(keys, bulkValue("a"))
			rows := bulkRows(keys, bulkValue("a"))
			if unsorted {
				p := rand.New(rand.NewPCG(1, 2)).Perm(len(keys))
				shuffled := make([]string, len(keys))
				for i, j := range p {
					shuffled[i] = keys[j]
				}
				rows = bulkRows(shuffled, func(i int) string { return want[shuffled[i]] })
			}
			var progress []seerdb.BulkProgress
			st, err := db.BulkLoad(context.Background(), rows, &seerdb.BulkOptions{
				Unsorted: unsorted,
				Progress: func(p seerdb.BulkProgress) { progress = append(progress, p) },
			})
			must(t, err)
			if st.Rows != 3000 || st.Level != 6 || st.Tables < 5 || st.ValueFiles < 2 || st.Seq != db.VisibleSeq() || st.Seq != db.DurableSeq() {
				t.Fatalf("%+v, visible %d, durable %d", st, db.VisibleSeq(), db.DurableSeq())
			}
			if (st.SpilledBytes > 0) != unsorted {
				t.Fatalf("%d bytes were spilled", st.SpilledBytes)
			}
			last := progress[len(progress)-1]
			if last.Sorting || last.Rows != 3000 || last.Bytes != st.Bytes || progress[0].Sorting != unsorted {
				t.Fatalf("progress %+v", progress)
			}
			bulkCheck(t, "loaded", db, want)
			bulkVerify(t, db)
			if m := db.Metrics(); m.Compactions.Count != 0 {
				t.Fatalf("%d compactions", m.Compactions.Count)
			}
			must(t, db.Close())
			db = bulkSmall(t, fs)
			bulkCheck(t, "reopened", db, want)
			if db.VisibleSeq() < st.Seq {
				t.Fatalf("sequence %d after reopening, the load had %d", db.VisibleSeq(), st.Seq)
			}
			must(t, db.Compact(context.Background(), nil, nil))
			bulkCheck(t, "compacted", db, want)
			bulkVerify(t, db)
			bulkNoLeftovers(t, fs)
		})
	}
}

// bulkNoLeftovers looks for temporary files.
func bulkNoLeftovers(t testing.TB, fs vfs.FS) {
	t.Helper()
	names, err := fs.List("db")
	must(t, err)
	for _, n := range names {
		if strings.HasSuffix(n, ".tmp") {
			t.Fatalf("%s is left", n)
		}
	}
}

// TestBulkLoadOver loads over existing keys, again and again, in order and not,
// between commits of every kind, and compares with a map; snapshots and
// iterators keep what they saw.
func TestBulkLoadOver(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			fs := memfs.New()
			db := bulkSmall(t, fs)
			r := rand.New(rand.NewPCG(seed, 5))
			want := map[string]string{}
			levels := map[int]int{}
			for round := range 25 {
				before := maps.Clone(want)
				snap := db.NewSnapshot()
				it, err := db.NewIter(nil)
				must(t, err)
				bulkCommits(t, db, r, want, fmt.Sprint("c", round, "-"))
				if r.IntN(3) == 0 {
					must(t, db.Flush(context.Background()))
				}
				middle, beforeLoad := db.NewSnapshot(), maps.Clone(want)
				keys := bulkKeys(r.IntN(4000), 1+r.IntN(600), 1+r.IntN(4))
				o := &seerdb.BulkOptions{Unsorted: r.IntN(2) == 0}
				if o.Unsorted {
					r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
					keys = append(keys, keys[:len(keys)/3]...) // the last one wins
				}
				value := bulkValue(fmt.Sprint("b", round, "-"))
				st, err := db.BulkLoad(context.Background(), bulkRows(keys, value), o)
				must(t, err)
				levels[st.Level]++
				loaded := bulkMap(keys, value)
				if int(st.Rows) != len(loaded) || int(st.Rows+st.Duplicates) != len(keys) {
					t.Fatalf("%+v of %d rows, %d keys", st, len(keys), len(loaded))
				}
				maps.Copy(want, loaded)
				bulkCheck(t, "after the load", db, want)
				bulkCheck(t, "snapshot before the load", middle, beforeLoad)
				bulkCommits(t, db, r, want, fmt.Sprint("d", round, "-"))
				bulkCheck(t, "commits after the load", db, want)
				bulkCheck(t, "snapshot before it all", snap, before)
				if n := bulkCount(it); n != len(before) {
					t.Fatalf("the iterator shows %d rows of %d", n, len(before))
				}
				must(t, errors.Join(it.Close(), snap.Close(), middle.Close()))
				switch r.IntN(6) {
				case 0:
					must(t, db.Compact(context.Background(), nil, nil))
				case 1:
					must(t, db.Close())
					db = bulkSmall(t, fs)
				}
				bulkVerify(t, db)
			}
			bulkCheck(t, "in the end", db, want)
			if levels[0] == 0 {
				t.Errorf("no load went to level 0: %v", levels)
			}
		})
	}
}

// bulkCommits puts, deletes and deletes ranges.
func bulkCommits(t testing.TB, db *seerdb.DB, r *rand.Rand, want map[string]string, tag string) {
	t.Helper()
	for i := range r.IntN(60) {
		k := fmt.Sprintf("key%06d", r.IntN(6000))
		switch r.IntN(10) {
		case 0:
			hi := fmt.Sprintf("key%06d", r.IntN(6000))
			must(t, db.DeleteRange([]byte(k), []byte(hi)))
			maps.DeleteFunc(want, func(x, _ string) bool { return x >= k && x < hi })
		case 1, 2:
			must(t, db.Delete([]byte(k)))
			delete(want, k)
		default:
			want[k] = bulkValue(tag)(i)
			must(t, db.Put([]byte(k), []byte(want[k])))
		}
	}
}

func bulkCount(it *seerdb.Iter) (n int) {
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n
}

// TestBulkLoadBetween loads a range between those that are there: nothing
// overlaps, so it goes to the last level, next to them.
func TestBulkLoadBetween(t *testing.T) {
	db := bulkSmall(t, memfs.New())
	want := map[string]string{}
	for _, part := range [][2]int{{0, 100}, {2000, 100}, {1000, 500}, {100, 10}, {99, 1}} {
		keys := bulkKeys(part[0], part[1], 1)
		value := bulkValue(fmt.Sprint(part))
		st, err := db.BulkLoad(context.Background(), bulkRows(keys, value), nil)
		must(t, err)
		maps.Copy(want, bulkMap(keys, value))
		if last := part[1] != 1; last != (st.Level == 6) {
			t.Fatalf("%v went to level %d", part, st.Level)
		}
		bulkCheck(t, fmt.Sprint(part), db, want)
	}
	bulkVerify(t, db)
}

// TestBulkLoadRefusals: what is wrong with rows is said, and nothing is left.
func TestBulkLoadRefusals(t *testing.T) {
	fs := memfs.New()
	db := bulkSmall(t, fs)
	must(t, db.Put([]byte("a"), []byte("1")))
	must(t, db.Flush(context.Background()))
	names := liveFiles(t, db, fs)
	big := strings.Repeat("k", seerdb.MaxKeySize+1)
	value := bulkValue("x")
	for _, c := range []struct {
		name     string
		keys     []string
		unsorted bool
		err      error
		says     []string
	}{
		{"order", append(bulkKeys(0, 500, 1), "key000077"), false, seerdb.ErrKeyOrder, []string{`"key000077"`, `"key000499"`}},
		{"duplicate", append(bulkKeys(0, 500, 1), "key000499"), false, seerdb.ErrKeyOrder, []string{`"key000499"`, "twice", "Unsorted"}},
		{"large", append(bulkKeys(0, 500, 1), big), false, seerdb.ErrKeyTooLarge, nil},
		{"large-unsorted", append(bulkKeys(0, 500, 1), big), true, seerdb.ErrKeyTooLarge, nil},
	} {
		st, err := db.BulkLoad(context.Background(), bulkRows(c.keys, value), &seerdb.BulkOptions{Unsorted: c.unsorted})
		if !errors.Is(err, c.err) || st != (seerdb.BulkStats{}) {
			t.Fatalf("%s: %v, %+v", c.name, err, st)
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Fatalf("%s: %q does not say %s", c.name, err, s)
			}
		}
	}
	func() {
		defer func() {
			if recover() != "rows" {
				t.Fatal("no panic")
			}
		}()
		_, _ = db.BulkLoad(context.Background(), bulkRows(bulkKeys(0, 400, 1), func(i int) string {
			if i == 399 {
				panic("rows")
			}
			return value(i)
		}), nil)
	}()
	if after := liveFiles(t, db, fs); !slices.Equal(names, after) {
		t.Fatalf("files before %v, after %v", names, after)
	}
	bulkCheck(t, "after refusals", db, map[string]string{"a": "1"})

	st, err := db.BulkLoad(context.Background(), bulkRows(nil, value), nil)
	if err != nil || st != (seerdb.BulkStats{}) {
		t.Fatalf("no rows: %v, %+v", err, st)
	}
	must(t, db.Close())
	for _, unsorted := range []bool{false, true} {
		if _, err := db.BulkLoad(context.Background(), bulkRows(nil, value), &seerdb.BulkOptions{Unsorted: unsorted}); !errors.Is(err, seerdb.ErrClosed) {
			t.Fatalf("closed: %v", err)
		}
	}
	o, to := tiny()
	o.ReadOnly, to.FS = true, fs
	db, err = seerdb.Open("db", o.With(to))
	must(t, err)
	if _, err := db.BulkLoad(context.Background(), bulkRows([]string{"b"}, value), nil); !errors.Is(err, seerdb.ErrReadOnly) {
		t.Fatalf("read-only: %v", err)
	}
	must(t, db.Close())
}

// TestBulkLoadCancel cancels at every row.
func TestBulkLoadCancel(t *testing.T) {
	fs := memfs.New()
	db := bulkSmall(t, fs)
	must(t, db.Put([]byte("a"), []byte("1")))
	must(t, db.Flush(context.Background()))
	names := liveFiles(t, db, fs)
	keys := bulkKeys(0, 200, 1)
	why := errors.New("the source ended early")
	for _, unsorted := range []bool{false, true} {
		for at := range keys {
			ctx, cancel := context.WithCancelCause(context.Background())
			_, err := db.BulkLoad(ctx, bulkRows(keys, func(i int) string {
				if i == at {
					cancel(why)
				}
				return bulkValue("x")(i)
			}), &seerdb.BulkOptions{Unsorted: unsorted})
			if !errors.Is(err, why) {
				t.Fatalf("cancelled at row %d: %v", at, err)
			}
			if after := liveFiles(t, db, fs); !slices.Equal(names, after) {
				t.Fatalf("cancelled at row %d: files before %v, after %v", at, names, after)
			}
		}
	}
	bulkCheck(t, "after cancellations", db, map[string]string{"a": "1"})
}

// TestBulkLoadKeyspaces: a load stays in its keyspace, with its options, and
// ends when that is dropped.
func TestBulkLoadKeyspaces(t *testing.T) {
	fs := memfs.New()
	db := bulkSmall(t, fs)
	k, err := db.Keyspace("k", &seerdb.KeyspaceOptions{ValueThreshold: -1})
	must(t, err)
	keys := bulkKeys(0, 500, 1)
	must(t, db.Put([]byte(keys[3]), []byte("root")))
	must(t, k.Put([]byte(keys[4]), []byte("old")))
	st, err := k.BulkLoad(context.Background(), bulkRows(keys, bulkValue("k")), nil)
	must(t, err)
	if st.ValueFiles != 0 {
		t.Fatalf("%d value files, the keyspace has none", st.ValueFiles)
	}
	bulkCheck(t, "keyspace", k, bulkMap(keys, bulkValue("k")))
	bulkCheck(t, "default keyspace", db, map[string]string{keys[3]: "root"})
	names := liveFiles(t, db, fs)
	_, err = k.BulkLoad(context.Background(), bulkRows(keys, func(i int) string {
		if i == 400 {
			must(t, db.DropKeyspace("k"))
		}
		return "late"
	}), nil)
	if !errors.Is(err, seerdb.ErrNoKeyspace) {
		t.Fatalf("into a keyspace that was dropped: %v", err)
	}
	// A job that runs may hold what the drop removes, until it ends.
	eventually(t, 10*time.Second, fmt.Sprintf("no more files than %v", names), func() bool {
		after, err := fs.List("db")
		return err == nil && len(after) <= len(names)
	})
	bulkVerify(t, db)
}
