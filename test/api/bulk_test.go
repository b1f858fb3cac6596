package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestBulkLoadEmpty loads into an empty database: everything is in the last
// level, and nothing is left to compact.
func TestBulkLoadEmpty(t *testing.T) {
	for _, unsorted := range []bool{false, true} {
		t.Run(fmt.Sprint("unsorted=", unsorted), func(t *testing.T) {
			fs := memfs.New()
			db := dbtest.BulkSmall(t, fs)
			keys := dbtest.BulkKeys(0, 3000, 1)
			want := dbtest.BulkMap(keys, dbtest.BulkValue("a"))
			rows := dbtest.BulkRows(keys, dbtest.BulkValue("a"))
			if unsorted {
				p := rand.New(rand.NewPCG(1, 2)).Perm(len(keys))
				shuffled := make([]string, len(keys))
				for i, j := range p {
					shuffled[i] = keys[j]
				}
				rows = dbtest.BulkRows(shuffled, func(i int) string { return want[shuffled[i]] })
			}
			var progress []seerdb.BulkProgress
			st, err := db.BulkLoad(context.Background(), rows, &seerdb.BulkOptions{
				Unsorted: unsorted,
				Progress: func(p seerdb.BulkProgress) { progress = append(progress, p) },
			})
			dbtest.Must(t, err)
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
			dbtest.BulkCheck(t, "loaded", db, want)
			dbtest.BulkVerify(t, db)
			if m := db.Metrics(); m.Compactions.Count != 0 {
				t.Fatalf("%d compactions", m.Compactions.Count)
			}
			dbtest.Must(t, db.Close())
			db = dbtest.BulkSmall(t, fs)
			dbtest.BulkCheck(t, "reopened", db, want)
			if db.VisibleSeq() < st.Seq {
				t.Fatalf("sequence %d after reopening, the load had %d", db.VisibleSeq(), st.Seq)
			}
			dbtest.Must(t, db.Compact(context.Background(), nil, nil))
			dbtest.BulkCheck(t, "compacted", db, want)
			dbtest.BulkVerify(t, db)
			dbtest.BulkNoLeftovers(t, fs)
		})
	}
}

// TestBulkLoadOver loads over existing keys, again and again, in order and not,
// between commits of every kind, and compares with a map; snapshots and
// iterators keep what they saw.
func TestBulkLoadOver(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			fs := memfs.New()
			db := dbtest.BulkSmall(t, fs)
			r := rand.New(rand.NewPCG(seed, 5))
			want := map[string]string{}
			levels := map[int]int{}
			for round := range 25 {
				before := maps.Clone(want)
				snap := db.NewSnapshot()
				it, err := db.NewIter(nil)
				dbtest.Must(t, err)
				bulkCommits(t, db, r, want, fmt.Sprint("c", round, "-"))
				if r.IntN(3) == 0 {
					dbtest.Must(t, db.Flush(context.Background()))
				}
				middle, beforeLoad := db.NewSnapshot(), maps.Clone(want)
				keys := dbtest.BulkKeys(r.IntN(4000), 1+r.IntN(600), 1+r.IntN(4))
				o := &seerdb.BulkOptions{Unsorted: r.IntN(2) == 0}
				if o.Unsorted {
					r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
					keys = append(keys, keys[:len(keys)/3]...) // the last one wins
				}
				value := dbtest.BulkValue(fmt.Sprint("b", round, "-"))
				st, err := db.BulkLoad(context.Background(), dbtest.BulkRows(keys, value), o)
				dbtest.Must(t, err)
				levels[st.Level]++
				loaded := dbtest.BulkMap(keys, value)
				if int(st.Rows) != len(loaded) || int(st.Rows+st.Duplicates) != len(keys) {
					t.Fatalf("%+v of %d rows, %d keys", st, len(keys), len(loaded))
				}
				maps.Copy(want, loaded)
				dbtest.BulkCheck(t, "after the load", db, want)
				dbtest.BulkCheck(t, "snapshot before the load", middle, beforeLoad)
				bulkCommits(t, db, r, want, fmt.Sprint("d", round, "-"))
				dbtest.BulkCheck(t, "commits after the load", db, want)
				dbtest.BulkCheck(t, "snapshot before it all", snap, before)
				if n := bulkCount(it); n != len(before) {
					t.Fatalf("the iterator shows %d rows of %d", n, len(before))
				}
				dbtest.Must(t, errors.Join(it.Close(), snap.Close(), middle.Close()))
				switch r.IntN(6) {
				case 0:
					dbtest.Must(t, db.Compact(context.Background(), nil, nil))
				case 1:
					dbtest.Must(t, db.Close())
					db = dbtest.BulkSmall(t, fs)
				}
				dbtest.BulkVerify(t, db)
			}
			dbtest.BulkCheck(t, "in the end", db, want)
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
			dbtest.Must(t, db.DeleteRange([]byte(k), []byte(hi)))
			maps.DeleteFunc(want, func(x, _ string) bool { return x >= k && x < hi })
		case 1, 2:
			dbtest.Must(t, db.Delete([]byte(k)))
			delete(want, k)
		default:
			want[k] = dbtest.BulkValue(tag)(i)
			dbtest.Must(t, db.Put([]byte(k), []byte(want[k])))
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
	db := dbtest.BulkSmall(t, memfs.New())
	want := map[string]string{}
	for _, part := range [][2]int{{0, 100}, {2000, 100}, {1000, 500}, {100, 10}, {99, 1}} {
		keys := dbtest.BulkKeys(part[0], part[1], 1)
		value := dbtest.BulkValue(fmt.Sprint(part))
		st, err := db.BulkLoad(context.Background(), dbtest.BulkRows(keys, value), nil)
		dbtest.Must(t, err)
		maps.Copy(want, dbtest.BulkMap(keys, value))
		if last := part[1] != 1; last != (st.Level == 6) {
			t.Fatalf("%v went to level %d", part, st.Level)
		}
		dbtest.BulkCheck(t, fmt.Sprint(part), db, want)
	}
	dbtest.BulkVerify(t, db)
}

// TestBulkLoadRefusals: the error says what is wrong with the rows, and no file is left.
func TestBulkLoadRefusals(t *testing.T) {
	fs := memfs.New()
	db := dbtest.BulkSmall(t, fs)
	dbtest.Must(t, db.Put([]byte("a"), []byte("1")))
	dbtest.Must(t, db.Flush(context.Background()))
	names := dbtest.LiveFiles(t, db, fs)
	big := strings.Repeat("k", seerdb.MaxKeySize+1)
	value := dbtest.BulkValue("x")
	for _, c := range []struct {
		name     string
		keys     []string
		unsorted bool
		err      error
		says     []string
	}{
		{"order", append(dbtest.BulkKeys(0, 500, 1), "key000077"), false, seerdb.ErrKeyOrder, []string{`"key000077"`, `"key000499"`}},
		{"duplicate", append(dbtest.BulkKeys(0, 500, 1), "key000499"), false, seerdb.ErrKeyOrder, []string{`"key000499"`, "twice", "Unsorted"}},
		{"large", append(dbtest.BulkKeys(0, 500, 1), big), false, seerdb.ErrKeyTooLarge, nil},
		{"large-unsorted", append(dbtest.BulkKeys(0, 500, 1), big), true, seerdb.ErrKeyTooLarge, nil},
	} {
		st, err := db.BulkLoad(context.Background(), dbtest.BulkRows(c.keys, value), &seerdb.BulkOptions{Unsorted: c.unsorted})
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
		_, _ = db.BulkLoad(context.Background(), dbtest.BulkRows(dbtest.BulkKeys(0, 400, 1), func(i int) string {
			if i == 399 {
				panic("rows")
			}
			return value(i)
		}), nil)
	}()
	if after := dbtest.LiveFiles(t, db, fs); !slices.Equal(names, after) {
		t.Fatalf("files before %v, after %v", names, after)
	}
	dbtest.BulkCheck(t, "after refusals", db, map[string]string{"a": "1"})

	st, err := db.BulkLoad(context.Background(), dbtest.BulkRows(nil, value), nil)
	if err != nil || st != (seerdb.BulkStats{}) {
		t.Fatalf("no rows: %v, %+v", err, st)
	}
	dbtest.Must(t, db.Close())
	for _, unsorted := range []bool{false, true} {
		if _, err := db.BulkLoad(context.Background(), dbtest.BulkRows(nil, value), &seerdb.BulkOptions{Unsorted: unsorted}); !errors.Is(err, seerdb.ErrClosed) {
			t.Fatalf("closed: %v", err)
		}
	}
	o, to := dbtest.Tiny()
	o.ReadOnly, to.FS = true, fs
	db, err = seerdb.Open("db", dbtest.With(o, to))
	dbtest.Must(t, err)
	if _, err := db.BulkLoad(context.Background(), dbtest.BulkRows([]string{"b"}, value), nil); !errors.Is(err, seerdb.ErrReadOnly) {
		t.Fatalf("read-only: %v", err)
	}
	dbtest.Must(t, db.Close())
}

// TestBulkLoadCancel cancels at every row.
func TestBulkLoadCancel(t *testing.T) {
	fs := memfs.New()
	db := dbtest.BulkSmall(t, fs)
	dbtest.Must(t, db.Put([]byte("a"), []byte("1")))
	dbtest.Must(t, db.Flush(context.Background()))
	names := dbtest.LiveFiles(t, db, fs)
	keys := dbtest.BulkKeys(0, 200, 1)
	why := errors.New("the source ended early")
	for _, unsorted := range []bool{false, true} {
		for at := range keys {
			ctx, cancel := context.WithCancelCause(context.Background())
			_, err := db.BulkLoad(ctx, dbtest.BulkRows(keys, func(i int) string {
				if i == at {
					cancel(why)
				}
				return dbtest.BulkValue("x")(i)
			}), &seerdb.BulkOptions{Unsorted: unsorted})
			if !errors.Is(err, why) {
				t.Fatalf("cancelled at row %d: %v", at, err)
			}
			if after := dbtest.LiveFiles(t, db, fs); !slices.Equal(names, after) {
				t.Fatalf("cancelled at row %d: files before %v, after %v", at, names, after)
			}
		}
	}
	dbtest.BulkCheck(t, "after cancellations", db, map[string]string{"a": "1"})
}

// TestBulkLoadKeyspaces: a load stays in its keyspace, with its options, and
// ends when that is dropped.
func TestBulkLoadKeyspaces(t *testing.T) {
	fs := memfs.New()
	db := dbtest.BulkSmall(t, fs)
	k, err := db.Keyspace("k", &seerdb.KeyspaceOptions{ValueThreshold: -1})
	dbtest.Must(t, err)
	keys := dbtest.BulkKeys(0, 500, 1)
	dbtest.Must(t, db.Put([]byte(keys[3]), []byte("root")))
	dbtest.Must(t, k.Put([]byte(keys[4]), []byte("old")))
	st, err := k.BulkLoad(context.Background(), dbtest.BulkRows(keys, dbtest.BulkValue("k")), nil)
	dbtest.Must(t, err)
	if st.ValueFiles != 0 {
		t.Fatalf("%d value files, the keyspace has none", st.ValueFiles)
	}
	dbtest.BulkCheck(t, "keyspace", k, dbtest.BulkMap(keys, dbtest.BulkValue("k")))
	dbtest.BulkCheck(t, "default keyspace", db, map[string]string{keys[3]: "root"})
	names := dbtest.LiveFiles(t, db, fs)
	_, err = k.BulkLoad(context.Background(), dbtest.BulkRows(keys, func(i int) string {
		if i == 400 {
			dbtest.Must(t, db.DropKeyspace("k"))
		}
		return "late"
	}), nil)
	if !errors.Is(err, seerdb.ErrNoKeyspace) {
		t.Fatalf("into a keyspace that was dropped: %v", err)
	}
	// A job that runs may hold what the drop removes, until it ends.
	dbtest.Eventually(t, 10*time.Second, fmt.Sprintf("no more files than %v", names), func() bool {
		after, err := fs.List("db")
		return err == nil && len(after) <= len(names)
	})
	dbtest.BulkVerify(t, db)
}
