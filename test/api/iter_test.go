package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

// keysOf walks an iterator forward, or backward.
func keysOf(it *seerdb.Iter, forward bool) string {
	var out []string
	start, step := it.First, it.Next
	if !forward {
		start, step = it.Last, it.Prev
	}
	for ok := start(); ok; ok = step() {
		out = append(out, string(it.Key()))
	}
	return strings.Join(out, " ")
}

// TestIterPrefix restricts iterators by a prefix and by bounds.
func TestIterPrefix(t *testing.T) {
	db := dbtest.Open(t, t.TempDir(), nil)
	for _, k := range []string{"", "a", "a\xff", "a\xffb", "ab", "b", "\xff", "\xff\xff", "\xff\xffz"} {
		dbtest.Must(t, db.Put([]byte(k), nil))
	}
	for _, c := range []struct {
		o    seerdb.IterOptions
		want string
	}{
		{seerdb.IterOptions{Prefix: []byte("a")}, "a ab a\xff a\xffb"},
		{seerdb.IterOptions{Prefix: []byte("a\xff")}, "a\xff a\xffb"},
		{seerdb.IterOptions{Prefix: []byte("\xff\xff")}, "\xff\xff \xff\xffz"},
		{seerdb.IterOptions{Prefix: []byte("c")}, ""},
		{seerdb.IterOptions{Prefix: []byte{}}, " a ab a\xff a\xffb b \xff \xff\xff \xff\xffz"},
		{seerdb.IterOptions{Prefix: []byte("a"), LowerBound: []byte("aa")}, "ab a\xff a\xffb"},
		{seerdb.IterOptions{Prefix: []byte("a"), LowerBound: []byte("A"), UpperBound: []byte("z")}, "a ab a\xff a\xffb"},
		{seerdb.IterOptions{Prefix: []byte("a"), UpperBound: []byte("a\xff")}, "a ab"},
		{seerdb.IterOptions{Prefix: []byte("a"), LowerBound: []byte("b")}, ""},
		{seerdb.IterOptions{Prefix: []byte("a"), UpperBound: []byte{}}, ""},
	} {
		it, err := db.NewIter(&c.o)
		dbtest.Must(t, err)
		forward := keysOf(it, true)
		dbtest.WantText(t, fmt.Sprintf("%q, %q to %q", c.o.Prefix, c.o.LowerBound, c.o.UpperBound), forward, c.want)
		back := strings.Split(keysOf(it, false), " ")
		for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
			back[i], back[j] = back[j], back[i]
		}
		dbtest.WantText(t, "backward", strings.Join(back, " "), forward)
		dbtest.Must(t, it.Close())
	}
	for p, want := range map[string][]byte{"": nil, "a": []byte("b"), "a\xff": []byte("b"), "\xff\xff": nil, "a\xfe\xff": []byte("a\xff")} {
		if end := seerdb.PrefixEnd([]byte(p)); !bytes.Equal(end, want) || (end == nil) != (want == nil) {
			t.Errorf("the end of the prefix %q is %q, want %q", p, end, want)
		}
	}
}

// TestSeekLE compares SeekLE with the definition, within bounds and without, over
// keys that are one another's neighbours.
func TestSeekLE(t *testing.T) {
	db := dbtest.Open(t, t.TempDir(), nil)
	keys := []string{"", "a", "a\x00", "a\x00\x00", "b", "c\xff"}
	for i, k := range keys {
		dbtest.Must(t, db.Put([]byte(k), nil))
		if i == 2 {
			dbtest.Must(t, db.Flush(context.Background()))
		}
	}
	dbtest.Must(t, db.Put([]byte("gone"), nil))
	dbtest.Must(t, db.Delete([]byte("gone")))
	x, err := db.Begin(nil)
	dbtest.Must(t, err)
	defer x.Rollback()
	for _, o := range []*seerdb.IterOptions{nil, {LowerBound: []byte("a\x00")}, {UpperBound: []byte("b")}, {UpperBound: []byte("a\x00\x00")}} {
		for _, r := range []seerdb.Reader{db, x} {
			it, err := r.(interface {
				NewIter(*seerdb.IterOptions) (*seerdb.Iter, error)
			}).NewIter(o)
			dbtest.Must(t, err)
			for _, target := range append([]string{"\x00", "a\x00\x00\x00", "aa", "bb", "c", "gone", "z", "\xff\xff"}, keys...) {
				want, found := "", false
				for _, k := range keys {
					if k <= target && (o == nil || (o.LowerBound == nil || k >= string(o.LowerBound)) && (o.UpperBound == nil || k < string(o.UpperBound))) {
						want, found = k, true
					}
				}
				if ok := it.SeekLE([]byte(target)); ok != found || string(it.Key()) != want {
					t.Errorf("SeekLE(%q) stands on %q, %v; want %q, %v", target, it.Key(), ok, want, found)
				}
				if found { // a target that the iterator owns
					if !it.SeekLE(it.Key()) || string(it.Key()) != want {
						t.Errorf("SeekLE of the key it stands on, %q, stands on %q", want, it.Key())
					}
				}
			}
			dbtest.Must(t, it.Close())
		}
	}
}

// TestValuesWithoutReading takes lengths and copies of values of every kind, out of
// memtables and tables, forward and backward.
func TestValuesWithoutReading(t *testing.T) {
	db := dbtest.Open(t, t.TempDir(), &seerdb.Options{ValueThreshold: 100, Merger: merger.Counter{}, MemoryBudget: 1 << 20})
	want := map[string][]byte{}
	for i := range 20 {
		v := bytes.Repeat([]byte{byte(i)}, i*20)
		key := fmt.Sprintf("put%02d", i)
		want[key] = v
		dbtest.Must(t, db.Put([]byte(key), v))
		want["ttl"+key] = v
		dbtest.Must(t, db.PutTTL([]byte("ttl"+key), v, time.Hour))
	}
	for range 3 {
		dbtest.Must(t, db.Merge([]byte("merged"), merger.AppendInt64(nil, 5)))
	}
	want["merged"] = merger.AppendInt64(nil, 15)
	look := func(what string) {
		t.Helper()
		it, err := db.NewIter(nil)
		dbtest.Must(t, err)
		n := 0
		check := func() {
			t.Helper()
			n++
			v := want[string(it.Key())]
			got, err := it.AppendValue([]byte("before"))
			if it.ValueLen() != len(v) || err != nil || string(got) != "before"+string(v) {
				t.Fatalf("%s: %q has %d bytes, %d were said, and %d copied: %v", what, it.Key(), len(v), it.ValueLen(), len(got)-6, err)
			}
			if l, err := db.ValueLen(it.Key()); l != len(v) || err != nil {
				t.Fatalf("%s: ValueLen of %q: %d, %v", what, it.Key(), l, err)
			}
		}
		for ok := it.First(); ok; ok = it.Next() {
			check()
		}
		for ok := it.Last(); ok; ok = it.Prev() {
			check()
		}
		if n != 2*len(want) {
			t.Fatalf("%s: %d rows of %d", what, n, len(want))
		}
		if v, err := it.AppendValue(nil); v != nil || !errors.Is(err, seerdb.ErrNotFound) {
			t.Errorf("%s: a value behind the end: %q, %v", what, v, err)
		}
		dbtest.Must(t, it.Close())
	}
	look("memtable")
	dbtest.Must(t, db.Flush(context.Background()))
	look("tables")
	if _, err := db.ValueLen([]byte("missing")); !errors.Is(err, seerdb.ErrNotFound) {
		t.Errorf("the length of no value: %v", err)
	}
	keys, err := db.NewIter(&seerdb.IterOptions{KeysOnly: true})
	dbtest.Must(t, err)
	keys.First()
	if _, err := keys.AppendValue(nil); keys.ValueLen() != 0 || !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Errorf("a value without values: %d bytes, %v", keys.ValueLen(), err)
	}
	dbtest.Must(t, keys.Close())
}

// TestValueThatCannotBeRead asks for the length of one, which is known, and for the
// value.
func TestValueThatCannotBeRead(t *testing.T) {
	fault := faultfs.New(memfs.New())
	o := seerdb.Options{ValueThreshold: 100, MemoryBudget: 1 << 20}
	db := dbtest.Open(t, "db", dbtest.With(o, dbtest.TestOptions{FS: fault, NoCache: true}))
	dbtest.Must(t, db.Put([]byte("put19"), make([]byte, 380)))
	dbtest.Must(t, db.Flush(context.Background()))
	it, err := db.NewIter(nil)
	dbtest.Must(t, err)
	if !it.SeekGE([]byte("put19")) {
		t.Fatal(it.Err())
	}
	fault.Inject(faultfs.Rule{Op: faultfs.OpRead, Path: "*.val", Err: syscall.EIO})
	if it.ValueLen() != 380 {
		t.Errorf("the length is %d", it.ValueLen())
	}
	if v, err := it.AppendValue([]byte("b")); err == nil || string(v) != "b" || it.Valid() || it.Err() == nil {
		t.Errorf("a value that cannot be read: %q, %v; the walk goes on: %v, %v", v, err, it.Valid(), it.Err())
	}
	fault.Clear()
	dbtest.Must(t, it.Refresh()) // the failure is over
	if !it.SeekGE([]byte("put19")) || len(it.Value()) != 380 {
		t.Errorf("after a refresh: %v", it.Err())
	}
	dbtest.Must(t, it.Close())
}

// TestEmptyIsNotNil: keys and values of no bytes are not nil, which means that there is
// none: read forward and backward, by iterators that are new and used, merged, with an
// expiry, out of memtables and tables.
func TestEmptyIsNotNil(t *testing.T) {
	db := dbtest.Open(t, t.TempDir(), &seerdb.Options{Merger: merger.Append{}})
	k, err := db.Keyspace("k", nil)
	dbtest.Must(t, err)
	for _, step := range []func(key []byte) error{
		func(key []byte) error { return errors.Join(db.Put(key, nil), k.Put(key, nil)) },
		func([]byte) error { return db.Flush(t.Context()) },
		func(key []byte) error {
			return errors.Join(db.PutTTL(key, nil, time.Hour), k.PutTTL(key, nil, time.Hour))
		},
		func([]byte) error { return db.Flush(t.Context()) },
		func(key []byte) error { return db.Merge(key, nil) },
	} {
		dbtest.Must(t, step([]byte{}))
		for _, r := range []seerdb.Reader{db, k} {
			var its []*seerdb.Iter // open at once, so that some are new
			for i := range 5 {
				it, err := r.NewIter(nil)
				dbtest.Must(t, err)
				its = append(its, it)
				if ok := []func() bool{it.First, it.Last, func() bool { return it.SeekLE([]byte("a")) }, func() bool { return it.SeekGE(nil) }, it.Prev}[i](); !ok {
					t.Fatal("no row")
				}
				if it.Key() == nil || it.Value() == nil {
					t.Errorf("move %d: key %v, value %v", i, it.Key(), it.Value())
				}
			}
			for _, it := range its {
				dbtest.Must(t, it.Close())
			}
			v, err := r.Get([]byte{})
			if v == nil || err != nil {
				t.Errorf("Get: %v, %v", v, err)
			}
			dbtest.Must(t, r.GetFunc([]byte{}, func(v []byte) error {
				if v == nil {
					t.Error("GetFunc: nil")
				}
				return nil
			}))
		}
	}
	// Pages backward end.
	var last []byte
	for n := range 3 {
		rows := db.Range(nil, nil).Before(last).Limit(1)
		last = nil
		for key := range rows.Backward() {
			last = bytes.Clone(key)
		}
		if dbtest.Must(t, rows.Err()); (last != nil) != (n == 0) {
			t.Fatalf("page %d backward: %v", n, last)
		}
		if last == nil {
			break
		}
	}
}

// TestIterRefresh makes iterators show later commits, and later writes of their
// transaction.
func TestIterRefresh(t *testing.T) {
	db := dbtest.Open(t, t.TempDir(), nil)
	dbtest.Must(t, db.Put([]byte("a"), nil))
	dbtest.Must(t, db.Put([]byte("x"), nil))
	snap := db.NewSnapshot()
	x, err := db.Begin(nil)
	dbtest.Must(t, err)
	o := &seerdb.IterOptions{LowerBound: []byte("a"), UpperBound: []byte("w"), KeysOnly: true}
	var its []*seerdb.Iter
	for _, r := range []interface {
		NewIter(*seerdb.IterOptions) (*seerdb.Iter, error)
	}{db, snap, x} {
		it, err := r.NewIter(o)
		dbtest.Must(t, err)
		its = append(its, it)
		dbtest.WantText(t, "at first", keysOf(it, true), "a")
	}
	dbtest.Must(t, db.Put([]byte("b"), []byte("v")))
	dbtest.Must(t, x.Put([]byte("c"), []byte("v")))
	for i, want := range []string{"b a", "a", "c a"} { // backward
		dbtest.WantText(t, "before", keysOf(its[i], true), "a")
		dbtest.Must(t, its[i].Refresh())
		if its[i].Valid() || its[i].Key() != nil {
			t.Errorf("iterator %d stands on %q", i, its[i].Key())
		}
		dbtest.WantText(t, "after", keysOf(its[i], false), want)
		if its[i].First() && its[i].Value() != nil {
			t.Error("the options are forgotten")
		}
	}
	if its[1].First(); !its[1].Valid() {
		t.Error("no key")
	}
	dbtest.Must(t, snap.Close())
	if err := its[1].Refresh(); !errors.Is(err, seerdb.ErrClosed) || string(its[1].Key()) != "a" {
		t.Errorf("a refresh after the snapshot was closed: %v; it stands on %q", err, its[1].Key())
	}
	// What the transaction saw through the iterator before is still a read.
	dbtest.Must(t, its[2].Close())
	dbtest.Must(t, db.Put([]byte("a"), []byte("other")))
	if err := x.Commit(); !errors.Is(err, seerdb.ErrConflict) {
		t.Errorf("the walk before the refresh is forgotten: %v", err)
	}
	dbtest.Must(t, its[0].Close())
	dbtest.Must(t, its[1].Close())
	if err := its[0].Refresh(); !errors.Is(err, seerdb.ErrClosed) {
		t.Errorf("a refresh after Close: %v", err)
	}
	if n := db.Metrics().Iterators; n != 0 {
		t.Errorf("%d iterators are open", n)
	}
}

// TestRefreshKeepsThePlace: an iterator that is left open is named where the program
// opened it, and not where it was refreshed.
func TestRefreshKeepsThePlace(t *testing.T) {
	db, err := seerdb.Open(t.TempDir(), nil)
	dbtest.Must(t, err)
	it, err := newIterHere(db)
	dbtest.Must(t, err)
	dbtest.Must(t, it.Refresh())
	dbtest.Must(t, it.Refresh())
	var leak *seerdb.LeakError
	if err := db.Close(); !errors.As(err, &leak) || len(leak.Places) != 1 || !strings.Contains(leak.Places[0], "newIterHere") {
		t.Errorf("%v", err)
	}
}

// TestAppendValueAfterClose: an iterator that was left open has no value to give.
func TestAppendValueAfterClose(t *testing.T) {
	db, err := seerdb.Open(t.TempDir(), nil)
	dbtest.Must(t, err)
	dbtest.Must(t, db.Put([]byte("k"), []byte("v")))
	it, err := db.NewIter(nil)
	dbtest.Must(t, err)
	it.First()
	if err := db.Close(); !errors.Is(err, seerdb.ErrLeaked) {
		t.Fatal(err)
	}
	if v, err := it.AppendValue([]byte("b")); string(v) != "b" || !errors.Is(err, seerdb.ErrClosed) {
		t.Errorf("%q, %v", v, err)
	}
	_ = it.Close()
}

func newIterHere(db *seerdb.DB) (*seerdb.Iter, error) { return db.NewIter(nil) }

// TestRowsInPages reads ranges page by page, in both directions.
func TestRowsInPages(t *testing.T) {
	db := dbtest.Open(t, t.TempDir(), nil)
	var all []string
	for i := range 25 {
		key := fmt.Sprintf("k%02d", i)
		all = append(all, key)
		dbtest.Must(t, db.Put([]byte(key), []byte(key)))
		dbtest.Must(t, db.Put([]byte(key+"\x00"), nil)) // next to it
		all = append(all, key+"\x00")
	}
	dbtest.Must(t, db.Put([]byte("other"), nil))
	for _, size := range []int{1, 3, 7, 50, 100} {
		var forward, keys, back []string
		var last []byte
		for page := db.Prefix([]byte("k")).Limit(size); ; page = db.Prefix([]byte("k")).After(last).Limit(size) {
			n := len(forward)
			for k := range page.All() {
				forward = append(forward, string(k))
			}
			for k := range page.Keys() { // the same once more
				keys, last = append(keys, string(k)), bytes.Clone(k)
			}
			dbtest.Must(t, page.Err())
			if len(forward)-n > size || len(forward) > len(all) {
				t.Fatalf("a page of %d has %d rows, all have %d", size, len(forward)-n, len(forward))
			}
			if len(forward) == n {
				break
			}
		}
		last = nil
		for {
			page, n := db.Prefix([]byte("k")).Before(last).Limit(size), len(back)
			for k := range page.Backward() {
				back, last = append([]string{string(k)}, back...), bytes.Clone(k)
			}
			if len(back) > len(all) {
				t.Fatalf("pages of %d have %d rows backward", size, len(back))
			}
			if len(back) == n {
				break
			}
		}
		for _, got := range [][]string{forward, keys, back} {
			dbtest.WantText(t, fmt.Sprintf("pages of %d", size), strings.Join(got, " "), strings.Join(all, " "))
		}
	}
	rows := db.Prefix([]byte("k"))
	count := func(r *seerdb.Rows) (n int) {
		for range r.All() {
			n++
		}
		dbtest.Must(t, r.Err())
		return n
	}
	for i, c := range []struct {
		rows *seerdb.Rows
		want int
	}{
		{rows, 50}, {rows.Limit(0), 0}, {rows.Limit(-1), 50}, {rows.Limit(2).Limit(-1), 2}, {rows.Limit(2).Limit(5), 2}, {rows.Limit(5).Limit(2), 2}, {rows.Limit(0).Limit(5), 0}, {rows.Limit(2).After([]byte("k01")), 2}, {rows.After(nil), 50}, {rows.Before(nil), 50},
		{rows.After([]byte("z")), 0}, {rows.Before([]byte{}), 0}, {rows.After([]byte("k23\x00")), 2}, {rows.After([]byte("k23\x00")).After([]byte("a")), 2},
		{rows.Before([]byte("k01")), 2}, {rows.Before([]byte("k01")).Before([]byte("z")), 2}, {rows.After([]byte("k01")).Before([]byte("k02")), 1},
	} {
		if n := count(c.rows); n != c.want {
			t.Errorf("case %d: %d rows, want %d", i, n, c.want)
		}
	}
}

// TestDurabilityIsSaid asks databases for their mode.
func TestDurabilityIsSaid(t *testing.T) {
	for d, want := range map[seerdb.Durability]seerdb.Durability{
		seerdb.DefaultDurability: seerdb.Sync, seerdb.NoWAL: seerdb.NoWAL, seerdb.Relaxed: seerdb.Relaxed, seerdb.Buffered: seerdb.Buffered,
	} {
		if got := dbtest.Open(t, t.TempDir(), &seerdb.Options{Durability: d}).Durability(); got != want {
			t.Errorf("opened with %v it is %v", d, got)
		}
	}
}

// TestSizeOfABatch: one that is empty has no bytes, whatever it was before.
func TestSizeOfABatch(t *testing.T) {
	var b seerdb.Batch
	if b.Size() != 0 {
		t.Errorf("an empty batch has %d bytes", b.Size())
	}
	dbtest.Must(t, b.Put([]byte("key"), []byte("value")))
	if n := b.Size(); n < 8 || n > 40 {
		t.Errorf("a put of 8 bytes has %d", n)
	}
	if b.Reset(); b.Size() != 0 {
		t.Errorf("after a reset it has %d bytes", b.Size())
	}
}

// A seek whose target is what Key returned: the first source to move overwrites
// that buffer, and the next one must not look for the overwritten key.
func TestSeekToOwnKey(t *testing.T) {
	db := dbtest.Open(t, "db", dbtest.SmallOn(memfs.New(), seerdb.Sync))
	for _, run := range []string{"bdeg", "af"} {
		for _, k := range run {
			dbtest.Must(t, db.Put([]byte(string(k)), []byte{byte(k)}))
		}
		dbtest.Must(t, db.Flush(context.Background()))
	}
	it, err := db.NewIter(nil)
	dbtest.Must(t, err)
	if !it.SeekGE([]byte("f")) || !it.SeekLT(it.Key()) || string(it.Key()) != "e" {
		t.Fatalf("before f comes %q, want e", it.Key())
	}
	if !it.SeekGE([]byte("f")) || !it.SeekLT(it.Value()) || string(it.Key()) != "e" {
		t.Fatalf("before the value of f comes %q, want e", it.Key())
	}
	dbtest.Must(t, it.Close())
}
