package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

// expiryRig is a quiet database with a clock, whose keyspaces append.
func expiryRig(t *testing.T) (*dbtest.Rig, *dbtest.Clock) {
	clock := dbtest.NewClock()
	return dbtest.NewRig(t, dbtest.Quiet, dbtest.WithMerger(merger.Append{}), func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.ValueThreshold, to.Clock = 100, clock.Now
	}), clock
}

// told returns the rows of an iterator in one direction, each with its remaining lifetime.
func told(t *testing.T, src dbtest.Reader, now time.Time, o *seerdb.IterOptions, back bool) (rows []string) {
	t.Helper()
	it, err := src.NewIter(o)
	dbtest.Must(t, err)
	ok, step := it.First(), it.Next
	if back {
		ok, step = it.Last(), it.Prev
	}
	for ; ok; ok = step() {
		rows = append(rows, string(it.Key())+lifetime(now, it))
	}
	if s := lifetime(now, it); s != "" {
		t.Fatalf("behind the end is an expiry %s", s)
	}
	dbtest.Must(t, it.Close())
	if s := lifetime(now, it); s != "" {
		t.Fatalf("closed, and an expiry %s", s)
	}
	if back {
		slices.Reverse(rows)
	}
	return rows
}

// checkExpiries compares reads of single keys with rows as told returns them.
func checkExpiries(t *testing.T, what string, src dbtest.Reader, now time.Time, rows []string) {
	t.Helper()
	one := src.(interface {
		Expiry(key []byte) (time.Time, bool, error)
	})
	for _, row := range rows {
		key, _, _ := strings.Cut(row, " ")
		at, expires, err := one.Expiry([]byte(key))
		if expires {
			key += fmt.Sprint(" ", at.Sub(now))
		}
		if key != row || err != nil || !expires && !at.IsZero() {
			t.Fatalf("%s: alone %s, %v; want %s", what, key, err, row)
		}
	}
	for _, key := range []string{"", "a", "shorter", "stays\x00"} {
		if at, expires, err := one.Expiry([]byte(key)); err != seerdb.ErrNotFound || expires || !at.IsZero() {
			t.Fatalf("%s: key %q, which is not there: %v, %v, %v", what, key, at, expires, err)
		}
	}
}

// lifetime returns how long a row still lives, or "" if it has no expiry.
func lifetime(now time.Time, row interface{ Expiry() (time.Time, bool) }) string {
	at, expires := row.Expiry()
	if !expires {
		return ""
	}
	return fmt.Sprint(" ", at.Sub(now))
}

// TestExpiryIsTold: an iterator returns the expiry of every kind of row, wherever the row
// is and in whichever direction it is reached.
func TestExpiryIsTold(t *testing.T) {
	r, clock := expiryRig(t)
	k, err := r.DB.Keyspace("k", &seerdb.KeyspaceOptions{Merger: merger.Append{}, TTL: time.Hour})
	dbtest.Must(t, err)
	write := func(to dbtest.Taker) {
		dbtest.Must(t, to.Put([]byte("again"), []byte("v")))
		dbtest.Must(t, to.PutTTL([]byte("again"), []byte("v"), time.Minute))
		dbtest.Must(t, to.PutTTL([]byte("apart"), make([]byte, 300), 2*time.Second))
		dbtest.Must(t, to.PutTTL([]byte("merged"), []byte("base"), time.Second))
		dbtest.Must(t, to.Merge([]byte("merged"), []byte("+")))
		dbtest.Must(t, to.Merge([]byte("operands"), []byte("+")))
		dbtest.Must(t, to.PutTTL([]byte("short"), nil, time.Millisecond))
		dbtest.Must(t, to.PutTTL([]byte("shorter"), []byte("v"), 0))
		dbtest.Must(t, to.PutTTL([]byte("stays"), []byte("v"), time.Second))
		dbtest.Must(t, to.Put([]byte("stays"), []byte("v")))
	}
	check := func(what string, src dbtest.Reader, want string) {
		t.Helper()
		for _, back := range []bool{false, true} {
			for _, keys := range []bool{false, true} {
				checkExpiries(t, what, src, clock.Now(), strings.Split(want, ", "))
				if got := strings.Join(told(t, src, clock.Now(), &seerdb.IterOptions{KeysOnly: keys}, back), ", "); got != want {
					t.Fatalf("%s, backward %v, keys only %v:\n%s; want\n%s", what, back, keys, got, want)
				}
			}
		}
	}
	const want = "again 1m0s, apart 2s, merged, operands, short 1ms, stays"
	const inSpace = want + " 1h0m0s"
	dbtest.Must(t, r.DB.Update(context.Background(), func(x *seerdb.Txn) error {
		write(x)
		write(x.In(k))
		check("written by the transaction", x, want)
		check("written by the transaction", x.In(k), inSpace)
		return nil
	}))
	for _, flushed := range []string{"memtable", "tables"} {
		snap := r.DB.NewSnapshot()
		check(flushed, r.DB, want)
		check(flushed, k, inSpace)
		clock.Add(time.Millisecond)
		check("a snapshot of the past, "+flushed, snap, "again 59.999s, apart 1.999s, merged, operands, short 0s, stays")
		check("later, "+flushed, r.DB, "again 59.999s, apart 1.999s, merged, operands, stays")
		dbtest.Must(t, snap.Close())
		dbtest.Must(t, r.DB.DeleteRange(nil, nil))
		write(r.DB)
		dbtest.Must(t, k.DeleteRange(nil, nil))
		write(k)
		dbtest.Must(t, r.Flush())
	}
	dbtest.Must(t, r.DB.Update(context.Background(), func(x *seerdb.Txn) error {
		dbtest.Must(t, x.Put([]byte("again"), nil))
		dbtest.Must(t, x.PutTTL([]byte("stays"), nil, time.Second))
		dbtest.Must(t, x.Merge([]byte("apart"), nil))
		check("with writes of the transaction on top", x, "again, apart, merged, operands, short 1ms, stays 1s")
		return nil
	}))
	dbtest.Must(t, r.DB.Compact(context.Background(), nil, nil))
	check("compacted", r.DB, "again, apart, merged, operands, short 1ms, stays 1s")
}

// TestExpiryInLoops: in a loop, Rows.Expiry is the expiry of the current row.
func TestExpiryInLoops(t *testing.T) {
	r, clock := expiryRig(t)
	dbtest.Must(t, r.DB.PutTTL([]byte("a"), []byte("v"), time.Second))
	dbtest.Must(t, r.DB.Put([]byte("b"), []byte("v")))
	dbtest.Must(t, r.DB.PutTTL([]byte("c"), make([]byte, 300), time.Minute))
	rows := r.DB.Range(nil, nil)
	var got []string
	note := func(key []byte) { got = append(got, string(key)+lifetime(clock.Now(), rows)) }
	for k := range rows.All() {
		note(k)
	}
	for k := range rows.Backward() {
		note(k)
	}
	for k := range rows.Keys() {
		note(k)
		for range rows.Backward() {
			note([]byte("inner"))
			break
		}
		note(k)
		if string(k) == "b" {
			break
		}
	}
	note([]byte("end"))
	dbtest.Must(t, rows.Err())
	const want = "a 1s,b,c 1m0s,c 1m0s,b,a 1s,a 1s,inner 1m0s,a 1s,b,inner 1m0s,b,end"
	if s := strings.Join(got, ","); s != want {
		t.Fatalf("%s; want\n%s", s, want)
	}
}

// TestPutUntil: the moment of expiry is the one that was given.
func TestPutUntil(t *testing.T) {
	r, clock := expiryRig(t)
	k, err := r.DB.Keyspace("k", &seerdb.KeyspaceOptions{TTL: time.Hour})
	dbtest.Must(t, err)
	now := clock.Now()
	for name, c := range map[string]struct {
		at   time.Time
		want string // "" gone
	}{
		"later":      {now.Add(time.Second), "key 1s"},
		"rounded up": {now.Add(time.Second + 1), "key 1.001s"},
		"whole":      {now.Add(time.Second + time.Millisecond), "key 1.001s"},
		"elsewhere":  {now.Add(time.Second).In(time.FixedZone("elsewhere", 3600)), "key 1s"},
		"never":      {time.Time{}, "key"},
		"now":        {now, ""},
		"1969":       {time.Unix(-1, 0), ""},
		"1970":       {time.Unix(0, 0), ""},
		"long ago":   {time.Unix(math.MinInt64/2, 0), ""},
		"far away":   {time.Unix(math.MaxInt64/2, 0), "key 2562047h47m16.854775807s"}, // all that a Duration holds
	} {
		b := r.DB.NewBatch()
		for i, to := range []dbtest.Taker{r.DB, k, b, b.In(k), nil, nil} {
			src := []dbtest.Tree{r.DB, k}[i%2]
			dbtest.Must(t, src.Put([]byte("key"), []byte("below")))
			if i < 4 {
				dbtest.Must(t, to.PutUntil([]byte("key"), []byte("v"), c.at))
			} else {
				dbtest.Must(t, r.DB.Update(context.Background(), func(x *seerdb.Txn) error {
					return []dbtest.Taker{x, x.In(k)}[i-4].PutUntil([]byte("key"), []byte("v"), c.at)
				}))
			}
			dbtest.Must(t, r.DB.Apply(b, seerdb.DefaultDurability))
			b.Reset()
			if got := strings.Join(told(t, src, now, nil, false), ","); got != c.want {
				t.Errorf("%s, %d: %q, want %q", name, i, got, c.want)
			}
		}
	}
	// The time that an iterator or a batch returns can be put again, and stays the same.
	b := r.DB.NewBatch()
	dbtest.Must(t, b.PutTTL([]byte("copy"), nil, 1234567*time.Microsecond))
	again := r.DB.NewBatch()
	dbtest.Must(t, b.Each(func(op seerdb.Op) bool { return again.PutUntil(op.Key, op.Value, op.Expires) == nil }))
	dbtest.Must(t, r.DB.Apply(again, seerdb.DefaultDurability))
	if got := told(t, r.DB, now, &seerdb.IterOptions{UpperBound: []byte("d")}, false); len(got) != 1 || got[0] != "copy 1.235s" {
		t.Errorf("a copy of a batch: %q", got)
	}
}

// TestExpiryDoesNotAllocate: the expiry comes with the row.
func TestExpiryDoesNotAllocate(t *testing.T) {
	r, _ := expiryRig(t)
	for i := range 200 {
		dbtest.Must(t, r.DB.PutTTL(fmt.Appendf(nil, "k%03d", i), make([]byte, i), time.Hour))
	}
	dbtest.Must(t, r.Flush())
	it, err := r.DB.NewIter(&seerdb.IterOptions{KeysOnly: true})
	dbtest.Must(t, err)
	defer it.Close()
	n := 0
	if a := dbtest.Allocs(t, func() {
		if !it.Next() {
			it.First()
		}
		if _, expires := it.Expiry(); expires {
			n++
		}
	}); a != 0 || n < 300 {
		t.Errorf("%v allocations for each of %d expiries", a, n)
	}
}

// TestExpiryIsRead: a transaction depends on what it asked the expiry of, there
// or not.
func TestExpiryIsRead(t *testing.T) {
	r, _ := expiryRig(t)
	for _, written := range []string{"asked", "missing", "other"} {
		dbtest.Must(t, r.DB.Delete([]byte("missing")))
		dbtest.Must(t, r.DB.PutTTL([]byte("asked"), nil, time.Hour))
		x, err := r.DB.Begin(nil)
		dbtest.Must(t, err)
		if _, expires, err := x.Expiry([]byte("asked")); !expires || err != nil {
			t.Fatal(expires, err)
		}
		if _, _, err := x.Expiry([]byte("missing")); err != seerdb.ErrNotFound {
			t.Fatal(err)
		}
		dbtest.Must(t, x.Put([]byte("result"), nil))
		dbtest.Must(t, r.DB.PutTTL([]byte(written), nil, time.Hour))
		if err := x.Commit(); errors.Is(err, seerdb.ErrConflict) == (written == "other") || written == "other" && err != nil {
			t.Errorf("another commit wrote %s: %v", written, err)
		}
	}
}

// TestVerifyCountsValuesThatExpireApart: Verify did not count values in value files that
// have an expiry, and reported every table with such values as damaged.
func TestVerifyCountsValuesThatExpireApart(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	dbtest.Must(t, db.PutTTL([]byte("k"), bytes.Repeat([]byte("v"), 4<<10), time.Hour))
	dbtest.Must(t, db.Flush(context.Background()))
	if n := db.Metrics().IO.Values.Files; n != 1 {
		t.Fatalf("the value is in %d value files", n)
	}
	report, err := db.Verify(context.Background())
	dbtest.Must(t, err)
	if !report.Clean() {
		t.Fatal(report.Damage)
	}
}
