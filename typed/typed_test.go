package typed_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/typed"
	"github.com/seerdb-go/seerdb/valuecodec"
)

// open opens a small database for a test, and closes it at its end, when nothing of
// it may be open any more.
func open(t testing.TB, m seerdb.Merger) *seerdb.DB {
	t.Helper()
	db, err := seerdb.Open(t.TempDir(), &seerdb.Options{
		Durability: seerdb.Relaxed, MemoryBudget: 8 << 20, MemtableSize: 1 << 20, Merger: m,
	})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type (
	typedKey = keycodec.Pair[string, int64]
	typedRow = keycodec.Pair[typedKey, string]
)

var typedCodec = keycodec.PairOf(keycodec.String, keycodec.Desc(keycodec.Varint))

func compareTypedKeys(a, b typedKey) int {
	return cmp.Or(strings.Compare(a.First, b.First), cmp.Compare(b.Second, a.Second)) // the second descends
}

func drawTypedKey(t *rapid.T, label string) typedKey {
	return typedKey{
		First:  rapid.SampledFrom([]string{"", "\x00", "\x00\x01", "a", "a\x00", "ab", "b", "\xff"}).Draw(t, label),
		Second: rapid.SampledFrom([]int64{-1 << 63, -121, -1, 0, 1, 500}).Draw(t, label),
	}
}

// typedModel is what the store should hold.
type typedModel map[typedKey]string

func (m typedModel) rows(in func(typedKey) bool) []typedRow {
	rows := []typedRow{}
	for _, k := range slices.SortedFunc(maps.Keys(m), compareTypedKeys) {
		if in(k) {
			rows = append(rows, typedRow{First: k, Second: m[k]})
		}
	}
	return rows
}

// checkTypedRows compares rows in every way of walking with what they should be.
func checkTypedRows(t *rapid.T, what string, rows *typed.Rows[typedKey, string], want []typedRow) {
	t.Helper()
	got, back, keys := []typedRow{}, []typedRow{}, []typedRow{}
	for k, v := range rows.All() {
		got = append(got, typedRow{First: k, Second: v})
	}
	err := rows.Err()
	for k, v := range rows.Backward() {
		back = append(back, typedRow{First: k, Second: v})
	}
	err = errors.Join(err, rows.Err())
	for k := range rows.Keys() {
		if len(keys) < len(want) {
			keys = append(keys, typedRow{First: k, Second: want[len(keys)].Second})
		}
	}
	if err = errors.Join(err, rows.Err()); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	slices.Reverse(back)
	for how, rows := range map[string][]typedRow{"forward": got, "backward": back, "keys only": keys} {
		if d := gocmp.Diff(want, rows); d != "" {
			t.Fatalf("%s, %s:\n%s", what, how, d)
		}
	}
	for range rows.All() {
		break
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: left early: %v", what, err)
	}
}

// TestTypedModel runs typed operations against a map.
func TestTypedModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		db := open(t, nil)
		defer func() { must(t, db.Close()) }() // there will be many
		view := typed.New(db, typedCodec, valuecodec.String)
		model := typedModel{}
		put := func(w *typed.Writer[typedKey, string]) {
			k, v := drawTypedKey(rt, "key"), rapid.StringN(0, 5, 9).Draw(rt, "value")
			must(t, w.Put(k, v))
			model[k] = v
		}
		remove := func(w *typed.Writer[typedKey, string]) {
			k := drawTypedKey(rt, "key")
			must(t, w.Delete(k))
			delete(model, k)
		}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			switch rapid.IntRange(0, 8).Draw(rt, "step") {
			case 0, 1:
				put(&view.Writer)
			case 2:
				remove(&view.Writer)
			case 3:
				b := db.NewBatch()
				put(view.Into(b))
				remove(view.Into(b))
				put(view.Into(b))
				must(t, db.Apply(b, seerdb.DefaultDurability))
			case 4:
				deleteTypedRange(rt, &view.Writer, view.Rows(), model)
			case 5, 6:
				putTypedIf(rt, view, model)
			case 7:
				must(t, db.Update(context.Background(), func(x *seerdb.Txn) error {
					in := view.In(x)
					put(&in.Writer)
					deleteTypedRange(rt, &in.Writer, view.Rows(), model)
					put(&in.Writer)
					checkTyped(rt, &in.Reader, model)
					return nil
				}))
			case 8:
				checkTyped(rt, &view.Reader, model)
			}
		}
		s := db.NewSnapshot()
		defer s.Close()
		then := maps.Clone(model)
		put(&view.With(db).Writer)
		remove(&view.Writer)
		checkTyped(rt, view.At(s), then)
		checkTyped(rt, &view.Reader, model)
	})
}

// deleteTypedRange deletes a range, open or closed at its ends.
func deleteTypedRange(t *rapid.T, w *typed.Writer[typedKey, string], all *typed.Rows[typedKey, string], m typedModel) {
	lo, hi := drawTypedKey(t, "lo"), drawTypedKey(t, "hi")
	from := func(k typedKey) bool { return compareTypedKeys(lo, k) <= 0 }
	before := func(k typedKey) bool { return compareTypedKeys(k, hi) < 0 }
	var err error
	var in func(typedKey) bool
	switch rapid.IntRange(0, 4).Draw(t, "ends") {
	case 0:
		err, in = w.DeleteRange(lo, hi), func(k typedKey) bool { return from(k) && before(k) }
	case 1:
		err, in = w.DeleteRows(all.From(lo)), from
	case 2:
		err, in = w.DeleteRows(all.Before(hi)), before
	case 3:
		err, in = w.DeleteRows(all.Before(hi).From(lo)), func(k typedKey) bool { return from(k) && before(k) }
	case 4:
		err, in = w.DeleteRows(all), func(typedKey) bool { return true }
	}
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(m, func(k typedKey, _ string) bool { return in(k) })
}

// putTypedIf does a conditional put or delete, whose condition holds or not.
func putTypedIf(t *rapid.T, s *typed.Store[typedKey, string], m typedModel) {
	k, v := drawTypedKey(t, "key"), rapid.StringN(0, 2, 3).Draw(t, "value")
	now, there := m[k]
	old := rapid.SampledFrom([]string{now, "", "other"}).Draw(t, "old")
	var done, want bool
	var err error
	condition := rapid.IntRange(0, 2).Draw(t, "condition")
	switch condition {
	case 0:
		done, err = s.PutIfAbsent(k, v)
		want = !there
	case 1:
		done, err = s.CompareAndSwap(k, old, v)
		want = there && now == old
	case 2:
		done, err = s.CompareAndDelete(k, old)
		want = there && now == old
	}
	switch {
	case err != nil || done != want:
		t.Fatalf("%v=%q, %v: %v, %v; want %v", k, now, there, done, err, want)
	case done && condition == 2:
		delete(m, k)
	case done:
		m[k] = v
	}
}

func checkTyped(t *rapid.T, r *typed.Reader[typedKey, string], m typedModel) {
	lo, hi := drawTypedKey(t, "lo"), drawTypedKey(t, "hi")
	from := func(k typedKey) bool { return compareTypedKeys(lo, k) <= 0 }
	before := func(k typedKey) bool { return compareTypedKeys(k, hi) < 0 }
	first := func(k typedKey) bool { return k.First == lo.First }
	checkTypedRows(t, "all", r.Rows(), m.rows(func(typedKey) bool { return true }))
	checkTypedRows(t, "from", r.Rows().From(lo), m.rows(from))
	checkTypedRows(t, "before", r.Rows().Before(hi), m.rows(before))
	checkTypedRows(t, "range", r.Range(lo, hi), m.rows(func(k typedKey) bool { return from(k) && before(k) }))
	prefix := r.Prefix(typedCodec.First(lo.First))
	checkTypedRows(t, "prefix", prefix, m.rows(first))
	checkTypedRows(t, "prefix from", prefix.From(hi), m.rows(func(k typedKey) bool { return first(k) && compareTypedKeys(hi, k) <= 0 }))
	checkTypedRows(t, "prefix before", prefix.Before(hi), m.rows(func(k typedKey) bool { return first(k) && before(k) }))
	checkTypedRows(t, "prefix again", prefix, m.rows(first))
	want, in := m[lo]
	got, err := r.Get(lo)
	if in && err != nil || !in && !errors.Is(err, seerdb.ErrNotFound) || got != want {
		t.Fatalf("Get(%v) is %q, %v; want %q, %v", lo, got, err, want, in)
	}
	if has, err := r.Has(lo); err != nil || has != in {
		t.Fatalf("Has(%v) is %v, %v; want %v", lo, has, err, in)
	}
}

// TestTypedEmptyKey checks that a key of no bytes is a bound like any other.
func TestTypedEmptyKey(t *testing.T) {
	names := typed.New(open(t, nil), keycodec.String, valuecodec.Empty)
	for _, k := range []string{"", "a", "ab", "b"} {
		must(t, names.Put(k, struct{}{}))
	}
	for what, c := range map[string]struct {
		rows *typed.Rows[string, struct{}]
		want []string
	}{
		"before the empty key":  {names.Rows().Before(""), nil},
		"from the empty key":    {names.Rows().From(""), []string{"", "a", "ab", "b"}},
		"from it to it":         {names.Range("", ""), nil},
		"upside down":           {names.Range("b", "a"), nil},
		"begin of a string":     {names.Prefix(keycodec.String.Prefix("a")), []string{"a", "ab"}},
		"both ends, and wider":  {names.Range("a", "b").From("").Before("z"), []string{"a", "ab"}},
		"a prefix of no string": {names.Prefix(keycodec.String.Prefix("c")), nil},
	} {
		var got []string
		for k := range c.rows.Keys() {
			got = append(got, k)
		}
		must(t, c.rows.Err())
		n := 0
		for range c.rows.Backward() {
			n++
		}
		if must(t, c.rows.Err()); !slices.Equal(got, c.want) || n != len(got) {
			t.Errorf("%s: %q, and %d backward; want %q", what, got, n, c.want)
		}
	}
}

// TestTypedPages reads everything page by page, and refuses to delete a page.
func TestTypedPages(t *testing.T) {
	db := open(t, nil)
	view := typed.New(db, keycodec.String, valuecodec.String)
	keys := []string{"", "\x00", "a", "a\x00", "a\x00\x00", "b", "b\xff"}
	for _, k := range keys {
		must(t, view.Put(k, "value of "+k))
	}
	for size := 1; size <= len(keys)+1; size++ {
		var got []string
		for page := view.Rows().Limit(size); ; page = view.Rows().After(got[len(got)-1]).Limit(size) {
			n := len(got)
			for k := range page.All() {
				got = append(got, k)
			}
			if must(t, page.Err()); len(got)-n > size || len(got) > len(keys) {
				t.Fatalf("a page of %d has %d keys, of %d", size, len(got)-n, len(keys))
			}
			if len(got) == n {
				break
			}
		}
		if !slices.Equal(got, keys) {
			t.Errorf("pages of %d: %q", size, got)
		}
	}
	var last []string
	for k := range view.Rows().After("a").Before("b\xff").Limit(2).Backward() {
		last = append(last, k)
	}
	if !slices.Equal(last, []string{"b", "a\x00\x00"}) {
		t.Errorf("the last two: %q", last)
	}
	if err := view.DeleteRows(view.Rows().Limit(1)); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Errorf("a page was deleted: %v", err)
	}
	if has, err := view.Has("b"); !has || err != nil {
		t.Errorf("the refused delete took what is behind the page: %v", err)
	}
}

// TestTypedKeyspaces checks that typed views of two keyspaces and the default
// one, over a batch and a snapshot too, do not see one another's keys.
func TestTypedKeyspaces(t *testing.T) {
	db := open(t, nil)
	space := func(name string) *seerdb.Keyspace {
		k, err := db.Keyspace(name, nil)
		must(t, err)
		return k
	}
	one, two := space("one"), space("two")
	view := typed.New(one, keycodec.Int64, valuecodec.String)
	must(t, view.Put(1, "one"))
	must(t, view.With(two).Put(1, "two"))
	must(t, view.With(db).Put(1, "default"))
	s := db.NewSnapshot()
	defer s.Close()
	b := db.NewBatch()
	must(t, view.Into(b.In(one)).Delete(1))
	must(t, view.Into(b.In(two)).Put(1, "changed"))
	must(t, view.With(db).Into(b).Put(2, "new"))
	must(t, db.Apply(b, seerdb.DefaultDurability))
	for _, c := range []struct {
		what string
		r    seerdb.Reader
		want map[int64]string
	}{
		{"one", one, map[int64]string{}},
		{"two", two, map[int64]string{1: "changed"}},
		{"default", db, map[int64]string{1: "default", 2: "new"}},
		{"one then", s.In(one), map[int64]string{1: "one"}},
		{"two then", s.In(two), map[int64]string{1: "two"}},
		{"one, of the view, then", s, map[int64]string{1: "one"}},
	} {
		rows := view.At(c.r).Rows()
		got := maps.Collect(rows.All())
		if d := gocmp.Diff(c.want, got); d != "" || rows.Err() != nil {
			t.Errorf("%s: %v\n%s", c.what, rows.Err(), d)
		}
	}
	if v, err := view.With(db).At(s).Get(1); v != "default" || err != nil {
		t.Errorf("default then: %q, %v", v, err)
	}
}

// TestTypedErrors: a value or key that does not decode or encode causes an error that names
// the key and ends loops, and nothing is written.
func TestTypedErrors(t *testing.T) {
	db := open(t, nil)
	refused := errors.New("refused")
	view := typed.New(db, keycodec.Uint16, valuecodec.Func(
		func(dst []byte, v string) ([]byte, error) {
			if v == "bad" {
				return dst, refused
			}
			return append(dst, v...), nil
		},
		func(b []byte) (string, error) {
			if string(b) == "rotten" {
				return "half", refused
			}
			return string(b), nil
		}))
	must(t, view.Put(1, "good"))
	if err := view.Put(2, "bad"); !errors.Is(err, refused) || !strings.Contains(err.Error(), `"\x00\x02"`) {
		t.Errorf("Put of a bad value: %v", err)
	}
	if has, err := view.Has(2); has || err != nil {
		t.Errorf("a refused value is there: %v", err)
	}
	must(t, db.Put([]byte("\x00\x03"), []byte("rotten")))
	if v, err := view.Get(3); !errors.Is(err, refused) || v != "" || !strings.Contains(err.Error(), `"\x00\x03"`) {
		t.Errorf("Get of a bad value: %q, %v", v, err)
	}
	must(t, view.Put(4, "after"))
	count := func(rows *typed.Rows[uint16, string]) (n int) {
		for range rows.All() {
			n++
		}
		return n
	}
	rows := view.Rows()
	if n := count(rows); n != 1 || !errors.Is(rows.Err(), refused) {
		t.Errorf("a bad value after %d rows: %v", n, rows.Err())
	}
	must(t, view.Delete(3))
	if n := count(rows); n != 2 || rows.Err() != nil {
		t.Errorf("without it %d rows: %v", n, rows.Err())
	}
	must(t, db.Put([]byte("\x00\x02long"), nil))
	if n := count(rows); n != 1 || !errors.Is(rows.Err(), keycodec.ErrInvalid) {
		t.Errorf("a bad key after %d rows: %v", n, rows.Err())
	}
	n := 0
	for range rows.Keys() {
		n++
	}
	if n != 1 || !errors.Is(rows.Err(), keycodec.ErrInvalid) {
		t.Errorf("a bad key after %d keys: %v", n, rows.Err())
	}
	s := db.NewSnapshot()
	must(t, s.Close())
	then := view.At(s)
	if _, err := then.Get(1); !errors.Is(err, seerdb.ErrClosed) {
		t.Errorf("Get at a closed snapshot: %v", err)
	}
	if rows := then.Rows(); count(rows) != 0 || !errors.Is(rows.Err(), seerdb.ErrClosed) {
		t.Errorf("rows at a closed snapshot: %v", rows.Err())
	}
}

// TestTypedCosts checks that the types cost no memory beyond the bytes.
func TestTypedCosts(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget at random")
	}
	db := open(t, nil)
	type key = keycodec.Pair[uint64, time.Time]
	view := typed.New(db, keycodec.PairOf(keycodec.Uint64, keycodec.Desc(keycodec.Time)), valuecodec.Func(
		func(dst []byte, v uint64) ([]byte, error) { return binary.LittleEndian.AppendUint64(dst, v), nil },
		func(b []byte) (uint64, error) { return binary.LittleEndian.Uint64(b), nil }))
	k := key{First: 1, Second: time.Unix(5, 0)}
	raw, value := make([]byte, 20), make([]byte, 8)
	var err error
	note := func(e error) {
		if e != nil {
			err = e
		}
	}
	must(t, view.Put(k, 7))
	must(t, db.Put(raw, value))
	buf := make([]byte, 0, 64)
	get := testing.AllocsPerRun(200, func() { _, e := db.AppendGet(buf, raw); note(e) })
	put := testing.AllocsPerRun(200, func() { note(db.Put(raw, value)) })
	if n := testing.AllocsPerRun(200, func() { _, e := view.Get(k); note(e) }); n > get {
		t.Errorf("Get allocates %v times, and without types %v", n, get)
	}
	if n := testing.AllocsPerRun(200, func() { note(view.Put(k, 8)) }); n > put {
		t.Errorf("Put allocates %v times, and without types %v", n, put)
	}
	if n := testing.AllocsPerRun(200, func() { _, e := view.Has(k); note(e) }); n > 0 {
		t.Errorf("Has allocates %v times", n)
	}
	must(t, err)
}

// TestTypedStaysInItsKeyspace: in a transaction, a batch and a snapshot a view of
// a keyspace works on that keyspace, and one of the database on the default one.
func TestTypedStaysInItsKeyspace(t *testing.T) {
	db := open(t, nil)
	k, err := db.Keyspace("accounts", nil)
	must(t, err)
	other, err := db.Keyspace("other", nil)
	must(t, err)
	must(t, typed.New(db, keycodec.String, valuecodec.Int64).Put("ada", 1))
	type wrapped struct{ *seerdb.Keyspace }
	type deeper struct{ *wrapped }
	type behind struct{ seerdb.Store }
	for name, store := range map[string]seerdb.Store{
		"keyspace": k, "wrapped": wrapped{k}, "deeper": deeper{&wrapped{k}}, "behind an interface": behind{k},
		"wrapped behind an interface": &behind{deeper{&wrapped{k}}},
	} {
		accounts := typed.New(store, keycodec.String, valuecodec.Int64)
		must(t, accounts.Put("ada", 100))
		s := db.NewSnapshot()
		must(t, db.Update(context.Background(), func(x *seerdb.Txn) error {
			a := accounts.In(x)
			n, err := a.GetForUpdate("ada")
			if m, err := accounts.At(x).Get("ada"); m != n || err != nil {
				t.Errorf("%s: in the transaction %d and %d, %v", name, n, m, err)
			}
			must(t, err)
			must(t, accounts.Into(x).Put("grace", 7))
			must(t, accounts.In(x.In(other)).Put("ada", 9)) // said explicitly
			return a.Put("ada", n+50)
		}))
		b := db.NewBatch()
		must(t, accounts.Into(b).Put("alan", 3))
		must(t, db.Apply(b, seerdb.DefaultDurability))
		var zero seerdb.Batch
		must(t, accounts.Into(&zero).Delete("grace"))
		must(t, db.Apply(&zero, seerdb.DefaultDurability))
		want := map[string]int64{"ada": 150, "alan": 3}
		rows := accounts.Rows()
		if got := maps.Collect(rows.All()); !maps.Equal(got, want) {
			t.Errorf("%s: the keyspace has %v, want %v", name, got, want)
		}
		if n, err := accounts.At(s).Get("ada"); n != 100 {
			t.Errorf("%s: at the snapshot %d, %v", name, n, err)
		}
		must(t, s.Close())
		must(t, accounts.DeleteRows(accounts.Rows()))
	}
	if v, err := db.Get([]byte("ada")); len(v) != 8 || err != nil {
		t.Errorf("the default keyspace has %v, %v", v, err)
	}
	if ok, _ := db.Has([]byte("alan")); ok {
		t.Error("a batch wrote to the default keyspace")
	}
	if ok, _ := other.Has([]byte("ada")); !ok {
		t.Error("a keyspace that was named explicitly was not taken")
	}
}

// shadowed has a method that hides that of the transaction.
type shadowed struct{ *seerdb.Txn }

func (shadowed) In(string) string { return "" }

// TestTypedNilKeyspace: a nil keyspace, as an ignored error leaves, is not the default
// keyspace.
func TestTypedNilKeyspace(t *testing.T) {
	type wrapped struct{ *seerdb.Keyspace }
	for name, store := range map[string]seerdb.Store{"nil": (*seerdb.Keyspace)(nil), "wrapped": wrapped{}} {
		func() {
			defer func() {
				if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "nil *Keyspace") {
					t.Errorf("%s: %v", name, p)
				}
			}()
			typed.New(store, keycodec.String, valuecodec.Int64)
		}()
	}
}

// TestTypedWrappedKeyspacesMeet: a view of a keyspace stays in it in types that embed
// a transaction, a snapshot or a batch, and one of the default keyspace, or of what
// embeds a database, in that.
func TestTypedWrappedKeyspacesMeet(t *testing.T) {
	type (
		txn      struct{ *seerdb.Txn }
		snapshot struct{ *seerdb.Snapshot }
		batch    struct{ *seerdb.Batch }
		whole    struct{ *seerdb.DB }
		// Behind interfaces, and with a method of the same name.
		anyReader struct{ seerdb.Reader }
		anyWriter struct{ seerdb.Writer }
	)
	db := open(t, nil)
	k, err := db.Keyspace("accounts", nil)
	must(t, err)
	for name, store := range map[string]seerdb.Store{"accounts": k, "default": db, "default, wrapped": whole{db}} {
		must(t, db.DeleteRange(nil, nil))
		must(t, k.DeleteRange(nil, nil))
		view := typed.New(store, keycodec.String, valuecodec.Int64)
		must(t, view.Put("ada", 1))
		s := db.NewSnapshot()
		must(t, db.Update(t.Context(), func(x *seerdb.Txn) error {
			n, err := view.At(txn{x}).Get("ada")
			if err != nil || n != 1 {
				t.Errorf("%s: the transaction reads %d, %v", name, n, err)
			}
			if n, err := view.At(anyReader{x}).Get("ada"); err != nil || n != 1 {
				t.Errorf("%s: behind an interface the transaction reads %d, %v", name, n, err)
			}
			must(t, view.In(txn{x}.Txn).Put("ada", 2))
			must(t, view.Into(anyWriter{txn{x}}).Put("eve", 5))
			must(t, view.Into(shadowed{x}).Put("mia", 6))
			must(t, view.Into(anyWriter{x}).Put("zoe", 7))
			return view.Into(txn{x}).Put("grace", 3)
		}))
		b := batch{db.NewBatch()}
		must(t, view.Into(b).Put("alan", 4))
		must(t, view.Into(anyWriter{b}).Put("bob", 8))
		must(t, db.Apply(b.Batch, seerdb.DefaultDurability))
		if n, err := view.At(snapshot{s}).Get("ada"); err != nil || n != 1 {
			t.Errorf("%s: the snapshot reads %d, %v", name, n, err)
		}
		must(t, s.Close())
		rows := view.Rows()
		if got, want := maps.Collect(rows.All()), map[string]int64{"ada": 2, "grace": 3, "alan": 4, "eve": 5, "mia": 6, "zoe": 7, "bob": 8}; !maps.Equal(got, want) || rows.Err() != nil {
			t.Errorf("%s: it has %v, %v; want %v", name, got, rows.Err(), want)
		}
		other := seerdb.Reader(k)
		if store == seerdb.Store(k) {
			other = db
		}
		beside := other.Range(nil, nil)
		for key := range beside.Keys() {
			t.Errorf("%s: the other keyspace has %q", name, key)
		}
		must(t, beside.Err())
	}
}
