package api

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// rowsUntil yields "key", "key 5s", "key -1ms" and so on: keys, each with the
// time that it has left. The function says until when the row is there at which
// the sequence is. Like dbtest.BulkRows it reuses its buffers.
func rowsUntil(now time.Time, rows ...string) (iter.Seq2[[]byte, []byte], func(k, v []byte) time.Time) {
	at := ""
	seq := func(yield func(k, v []byte) bool) {
		var kb, vb []byte
		for i, row := range rows {
			at = row
			key, _, _ := strings.Cut(row, " ")
			kb, vb = append(kb[:0], key...), append(vb[:0], dbtest.BulkValue(key)(i)...)
			if !yield(kb, vb) {
				return
			}
			clear(kb)
			clear(vb)
		}
	}
	return seq, func(k, v []byte) time.Time {
		key, left, expires := strings.Cut(at, " ")
		if key != string(k) || !strings.HasPrefix(string(v), key) {
			panic(fmt.Sprintf("asked about %q = %.40q while the sequence is at %q", k, v, at))
		}
		if !expires {
			return time.Time{}
		}
		d, err := time.ParseDuration(left)
		if err != nil {
			panic(err)
		}
		return now.Add(d)
	}
}

// toldBoth compares what told returns in both directions, and Expiry of each key.
func toldBoth(t *testing.T, what string, src dbtest.Reader, now time.Time) string {
	t.Helper()
	rows := told(t, src, now, nil, false)
	for _, keys := range []bool{false, true} {
		if back := told(t, src, now, &seerdb.IterOptions{KeysOnly: keys}, true); !slices.Equal(rows, back) {
			t.Fatalf("%s: forward %v, backward %v", what, rows, back)
		}
	}
	checkExpiries(t, what, src, now, rows)
	return strings.Join(rows, ", ")
}

// TestBulkLoadCopiesExpiries: a copy of a database made by a load has its
// expiries, in tables and value files, and they act there as they do in the
// database: over time, for snapshots, after reopening and in compactions.
func TestBulkLoadCopiesExpiries(t *testing.T) {
	for _, unsorted := range []bool{false, true} {
		t.Run(fmt.Sprint("unsorted=", unsorted), func(t *testing.T) {
			from, clock := expiryRig(t)
			to := dbtest.NewRig(t, dbtest.Quiet, func(o *seerdb.Options, to *dbtest.TestOptions) {
				o.ValueThreshold, o.MemoryBudget, to.Clock = 100, 128<<10, clock.Now
			})
			want := map[string]string{}
			for i, k := range dbtest.BulkKeys(0, 600, 1) {
				want[k] = dbtest.BulkValue("a")(i)
				if i%3 == 0 {
					dbtest.Must(t, from.DB.Put([]byte(k), []byte(want[k])))
				} else {
					dbtest.Must(t, from.DB.PutTTL([]byte(k), []byte(want[k]), time.Duration(1+i%2)*time.Minute))
				}
			}
			dbtest.Must(t, to.DB.Put([]byte("key000004"), []byte("replaced")))
			rows := from.DB.Prefix([]byte("key"))
			src := rows.All()
			if unsorted {
				src = rows.Backward()
			}
			st, err := to.DB.BulkLoad(context.Background(), src, &seerdb.BulkOptions{
				Unsorted: unsorted,
				Expires: func(_, _ []byte) time.Time {
					at, _ := rows.Expiry()
					return at
				},
			})
			dbtest.Must(t, errors.Join(err, rows.Err()))
			if bytes := bulkBytes(want); st.Rows != 600 || st.Bytes != bytes || st.ValueFiles == 0 || (st.SpilledBytes > 0) != unsorted {
				t.Fatalf("%+v of %d bytes", st, bytes)
			}
			snap := to.DB.NewSnapshot()
			same := func(what string, r *dbtest.Rig) {
				t.Helper()
				if a, b := toldBoth(t, what, from.DB, clock.Now()), toldBoth(t, what, r.DB, clock.Now()); a != b {
					t.Fatalf("%s: the copy tells\n%s; want\n%s", what, b, a)
				}
				dbtest.BulkCheck(t, what, r.DB, want)
				dbtest.BulkVerify(t, r.DB)
			}
			same("loaded", to)
			same("after a crash", to.Crash(0))
			clock.Add(time.Minute)
			all := maps.Clone(want)
			for i, k := range dbtest.BulkKeys(0, 600, 1) {
				if i%3 != 0 && i%2 == 0 {
					delete(want, k)
				}
			}
			same("after a minute", to)
			dbtest.BulkCheck(t, "a snapshot of the time before", snap, all)
			dbtest.Must(t, to.DB.Compact(context.Background(), nil, nil))
			same("compacted beside a snapshot", to)
			dbtest.BulkCheck(t, "the snapshot, after a compaction", snap, all)
			dbtest.Must(t, snap.Close())
			expired := to.DB.Metrics().Expired
			dbtest.Must(t, to.DB.Compact(context.Background(), nil, nil))
			same("compacted", to)
			if n := to.DB.Metrics().Expired - expired; n != 200 {
				t.Fatalf("%d rows were dropped, 200 have expired", n)
			}
			same("compacted, after a crash", to.Crash(0))
		})
	}
}

// bulkBytes is how many bytes keys and values have.
func bulkBytes(rows map[string]string) (n uint64) {
	for k, v := range rows {
		n += uint64(len(k) + len(v))
	}
	return n
}

// TestBulkLoadFirstExpiries: of a database in which nothing had an expiry
// before the load, reads see at once what has expired, and so they do after it is
// opened again, also of tables in level 0.
func TestBulkLoadFirstExpiries(t *testing.T) {
	for _, unsorted := range []bool{false, true} {
		clock := dbtest.NewClock()
		r := dbtest.NewRig(t, dbtest.Quiet, func(_ *seerdb.Options, to *dbtest.TestOptions) { to.Clock = clock.Now })
		dbtest.Must(t, r.DB.Put([]byte("b"), []byte("below")))
		before := r.DB.NewSnapshot()
		now := clock.Now()
		load := func(rows ...string) {
			t.Helper()
			seq, expires := rowsUntil(now, rows...)
			if unsorted {
				slices.Reverse(rows)
			}
			_, err := r.DB.BulkLoad(context.Background(), seq, &seerdb.BulkOptions{Unsorted: unsorted, Expires: expires})
			dbtest.Must(t, err)
		}
		load("a1 1s", "b 0s", "c -1ms", "d", "e 1ns", "f 1001us", "g -500000h")
		const want = "a1 1s, d, e 1ms, f 2ms"
		check := func(what string, r *dbtest.Rig, want string) {
			t.Helper()
			if got := toldBoth(t, what, r.DB, now); got != want {
				t.Fatalf("unsorted %v, %s: %s; want %s", unsorted, what, got, want)
			}
		}
		check("loaded", r, want)
		if got := strings.Join(told(t, before, now, nil, false), ","); got != "b" {
			t.Fatalf("a snapshot of before: %s", got)
		}
		dbtest.Must(t, before.Close())
		check("after a crash", r.Crash(0), want)
		load("d 1m", "e", "e2 2s", "f 1h")
		check("loaded upon it", r, "a1 1s, d 1m0s, e, e2 2s, f 1h0m0s")
		check("that after a crash", r.Crash(0), "a1 1s, d 1m0s, e, e2 2s, f 1h0m0s")
		clock.Add(time.Second)
		check("later", r, "d 1m0s, e, e2 2s, f 1h0m0s")
		dbtest.Must(t, r.DB.Close())
		dbtest.Must(t, r.TryOpen())
		check("opened again", r, "d 1m0s, e, e2 2s, f 1h0m0s")
		dbtest.Must(t, r.DB.Compact(context.Background(), nil, nil))
		check("compacted", r, "d 1m0s, e, e2 2s, f 1h0m0s")
	}
}

// TestBulkLoadDuplicatesExpire: the last one of rows with the same key wins with
// the expiry that it has, or has not; also across spilled files.
func TestBulkLoadDuplicatesExpire(t *testing.T) {
	r, clock := expiryRig(t)
	now := clock.Now()
	rows := []string{"a 1s", "b", "c 1s", "d 0s", "a 2s", "b 3s"}
	for i := range 2000 {
		rows = append(rows, fmt.Sprintf("x%04d 1m", i))
	}
	rows = append(rows, "c", "d 4s", "d 5s")
	seq, expires := rowsUntil(now, rows...)
	calls := 0
	st, err := r.DB.BulkLoad(context.Background(), seq, &seerdb.BulkOptions{Unsorted: true, Expires: func(k, v []byte) time.Time {
		calls++
		return expires(k, v)
	}})
	dbtest.Must(t, err)
	if calls != len(rows) || st.Duplicates != 5 || st.Rows != 2004 {
		t.Fatalf("%d calls for %d rows; %+v", calls, len(rows), st)
	}
	if got := strings.Join(told(t, r.DB, now, &seerdb.IterOptions{UpperBound: []byte("x")}, false), ", "); got != "a 2s, b 3s, c, d 5s" {
		t.Fatal(got)
	}
}

// TestBulkLoadTTL: rows expire with the TTL of their keyspace, all at one
// moment; where a function says when, it alone does.
func TestBulkLoadTTL(t *testing.T) {
	for _, unsorted := range []bool{false, true} {
		r, clock := expiryRig(t)
		k, err := r.DB.Keyspace("k", &seerdb.KeyspaceOptions{TTL: time.Minute})
		dbtest.Must(t, err)
		now := clock.Now()
		keys := dbtest.BulkKeys(0, 3, 1)
		slow := dbtest.BulkRows(keys, func(i int) string {
			clock.Add(time.Second)
			return fmt.Sprint(i)
		})
		for _, to := range []dbtest.Tree{k, r.DB} {
			_, err = to.(dbtest.FullTree).BulkLoad(context.Background(), slow, &seerdb.BulkOptions{Unsorted: unsorted})
			dbtest.Must(t, err)
		}
		if got := toldBoth(t, "TTL", k, now); got != "key000000 1m0s, key000001 1m0s, key000002 1m0s" {
			t.Fatal(got)
		}
		if got := toldBoth(t, "no TTL", r.DB, now); got != "key000000, key000001, key000002" {
			t.Fatal(got)
		}
		clock.Add(time.Minute - 7*time.Second)
		if got := len(dbtest.Contents(t, k)); got != 3 {
			t.Fatalf("%d rows a second before", got)
		}
		clock.Add(time.Second)
		if got := len(dbtest.Contents(t, k)); got != 0 {
			t.Fatalf("%d rows are left after their time", got)
		}
		seq, expires := rowsUntil(now, "a1", "b 1h", "c 0s")
		_, err = k.BulkLoad(context.Background(), seq, &seerdb.BulkOptions{Unsorted: unsorted, Expires: expires})
		dbtest.Must(t, err)
		if got := toldBoth(t, "a function", k, now); got != "a1, b 1h0m0s" {
			t.Fatal(got)
		}
	}
}

// TestBulkLoadMoments: the moments that a function may give are those of
// PutUntil.
func TestBulkLoadMoments(t *testing.T) {
	r, clock := expiryRig(t)
	for i, at := range []time.Time{
		{}, clock.Now(), clock.Now().Add(1), clock.Now().Add(time.Hour).In(time.FixedZone("elsewhere", 3600)),
		time.Unix(0, 0), time.Unix(-1, 0), time.Unix(-1<<62, 0), time.Unix(1<<62, 0),
	} {
		dbtest.Must(t, r.DB.PutUntil([]byte("put"), nil, at))
		_, err := r.DB.BulkLoad(context.Background(), dbtest.BulkRows([]string{"loaded"}, func(int) string { return "" }),
			&seerdb.BulkOptions{Expires: func(_, _ []byte) time.Time { return at }})
		dbtest.Must(t, err)
		put, expires, err := r.DB.Expiry([]byte("put"))
		loaded, same, err2 := r.DB.Expiry([]byte("loaded"))
		if !put.Equal(loaded) || expires != same || err != err2 {
			t.Errorf("%d, %v: put until %v, %v, %v; loaded until %v, %v, %v", i, at, put, expires, err, loaded, same, err2)
		}
	}
}

// TestBulkLoadExpiresRefusals: of a row that is refused nothing is asked, and
// nothing of the load stays.
func TestBulkLoadExpiresRefusals(t *testing.T) {
	fs := memfs.New()
	db := dbtest.BulkSmall(t, fs)
	dbtest.Must(t, db.Put([]byte("a"), []byte("1")))
	dbtest.Must(t, db.Flush(context.Background()))
	names := dbtest.LiveFiles(t, db, fs)
	large := make([]byte, seerdb.MaxKeySize+1)
	for _, unsorted := range []bool{false, true} {
		asked := 0
		_, err := db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
			_ = yield([]byte("b"), make([]byte, 5000)) && yield(large, nil)
		}, &seerdb.BulkOptions{Unsorted: unsorted, Expires: func(_, _ []byte) time.Time {
			asked++
			return time.Unix(1, 0)
		}})
		if !errors.Is(err, seerdb.ErrKeyTooLarge) || asked != 1 {
			t.Errorf("unsorted %v: %v after %d questions", unsorted, err, asked)
		}
		if after := dbtest.LiveFiles(t, db, fs); !slices.Equal(names, after) {
			t.Fatalf("files before %v, after %v", names, after)
		}
	}
	if math.MaxInt > math.MaxInt32 { // the memory of the value is never touched
		value := make([]byte, seerdb.MaxValueSize-7)
		for _, unsorted := range []bool{false, true} {
			_, err := db.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) { yield([]byte("b"), value) },
				&seerdb.BulkOptions{Unsorted: unsorted, Expires: func(_, _ []byte) time.Time { return time.Unix(1, 0) }})
			if !errors.Is(err, seerdb.ErrValueTooLarge) {
				t.Errorf("unsorted %v: a value with no room for its expiry: %v", unsorted, err)
			}
		}
	}
	dbtest.BulkCheck(t, "after refusals", db, map[string]string{"a": "1"})
}
