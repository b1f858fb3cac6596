package seerdb_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/keycodec"
	"github.com/seerdb-go/seerdb/merger"
	"github.com/seerdb-go/seerdb/valuecodec"
)

// TestTypedMerge: typed operands on typed values, with each operator and the
// codec that goes with it.
func TestTypedMerge(t *testing.T) {
	db := openInMemory(t)
	space := func(m seerdb.Merger) *seerdb.Keyspace {
		k, err := db.Keyspace(fmt.Sprintf("%T", m), &seerdb.KeyspaceOptions{Merger: m})
		must(t, err)
		return k
	}
	day := func(d int) time.Time { return time.Date(1960, 5, d, 0, 0, 0, 0, time.UTC) }
	checkTypedMerge(t, space(merger.Counter{}), valuecodec.Int64, -300, []int64{1, 299, -5}, -5)
	checkTypedMerge(t, space(merger.Max{}), valuecodec.Ordered(keycodec.Int64), -300, []int64{-1, -299, -5}, -1)
	checkTypedMerge(t, space(merger.Min{}), valuecodec.Ordered(keycodec.Time), day(3), []time.Time{day(2), day(4), day(30)}, day(2))
	checkTypedMerge(t, space(merger.Union{}), valuecodec.Set(valuecodec.String), []string{"b", "a", "b"},
		[][]string{{"c"}, {}, {"", "a"}}, []string{"", "a", "b", "c"})
	checkTypedMerge(t, space(merger.Append{Sep: "-"}), valuecodec.String, "a", []string{"b", "", "c"}, "a-b--c")
}

// checkTypedMerge merges onto a value that was put, and onto none.
func checkTypedMerge[V any](t *testing.T, k *seerdb.Keyspace, c valuecodec.Codec[V], put V, operands []V, want V) {
	t.Helper()
	typed := seerdb.NewTyped(k, keycodec.String, c)
	must(t, typed.Put("key", put))
	for _, o := range operands {
		must(t, typed.Merge("key", o))
		must(t, typed.Merge("alone", o))
	}
	got, err := typed.Get("key")
	if fmt.Sprint(got) != fmt.Sprint(want) || err != nil {
		t.Errorf("%s: %v, %v; want %v", k.Name(), got, err, want)
	}
	if _, err := typed.Get("alone"); err != nil {
		t.Errorf("%s without a value: %v", k.Name(), err)
	}
}

// TestTypedMergeRefused: where there is no operator.
func TestTypedMergeRefused(t *testing.T) {
	db := openInMemory(t)
	if err := seerdb.NewTyped(db, keycodec.String, valuecodec.Int64).Merge("k", 1); !errors.Is(err, seerdb.ErrInvalidOptions) {
		t.Errorf("without an operator: %v", err)
	}
}

// TestTypedRefused: a value that does not encode is written by no method.
func TestTypedRefused(t *testing.T) {
	refused := errors.New("refused")
	c := valuecodec.Func(
		func(dst []byte, v string) ([]byte, error) {
			if v == "bad" {
				return append(dst, "half"...), refused // against the rules
			}
			return append(dst, v...), nil
		},
		func(b []byte) (string, error) { return string(b), nil })
	db := open(t, t.TempDir(), &seerdb.Options{Merger: merger.Append{}})
	typed := seerdb.NewTyped(db, keycodec.String, c)
	must(t, typed.Put("there", "good"))
	for name, f := range map[string]func(k string) error{
		"Put":      func(k string) error { return typed.Put(k, "bad") },
		"PutTTL":   func(k string) error { return typed.PutTTL(k, "bad", time.Hour) },
		"PutUntil": func(k string) error { return typed.PutUntil(k, "bad", time.Time{}) },
		"Merge":    func(k string) error { return typed.Merge(k, "bad") },
		"PutIfAbsent": func(k string) error {
			_, err := typed.PutIfAbsent(k, "bad")
			return err
		},
		"CompareAndSwap of": func(k string) error {
			_, err := typed.CompareAndSwap(k, "bad", "good")
			return err
		},
		"CompareAndSwap for": func(k string) error {
			_, err := typed.CompareAndSwap(k, "good", "bad")
			return err
		},
		"CompareAndDelete": func(k string) error {
			_, err := typed.CompareAndDelete(k, "bad")
			return err
		},
	} {
		for _, k := range []string{"there", "missing"} {
			if err := f(k); !errors.Is(err, refused) || !strings.Contains(err.Error(), k) {
				t.Errorf("%s of %s: %v", name, k, err)
			}
		}
	}
	rows := typed.Rows()
	if got := maps.Collect(rows.All()); len(got) != 1 || got["there"] != "good" || rows.Err() != nil {
		t.Errorf("there is %q, %v", got, rows.Err())
	}
}

// TestTypedEmptyValues: a value of no bytes is a value where values are compared,
// whatever the codec makes of none.
func TestTypedEmptyValues(t *testing.T) {
	nothing := valuecodec.Func(func(dst []byte, v string) ([]byte, error) {
		if v == "" && len(dst) == 0 {
			return nil, nil
		}
		return append(dst, v...), nil
	}, func(b []byte) (string, error) { return string(b), nil })
	typed := seerdb.NewTyped(openInMemory(t), keycodec.Uint8, nothing)
	expect := func(what string, want bool) func(bool, error) {
		return func(done bool, err error) {
			t.Helper()
			if done != want || err != nil {
				t.Errorf("%s: %v, %v", what, done, err)
			}
		}
	}
	expect("nothing is no empty value", false)(typed.CompareAndSwap(1, "", "x"))
	expect("nothing to delete", false)(typed.CompareAndDelete(1, ""))
	expect("absent", true)(typed.PutIfAbsent(1, ""))
	expect("not absent", false)(typed.PutIfAbsent(1, "x"))
	expect("the empty value", true)(typed.CompareAndSwap(1, "", "x"))
	expect("back to it", true)(typed.CompareAndSwap(1, "x", ""))
	expect("and once more", true)(typed.CompareAndSwap(1, "", ""))
	if v, err := typed.Get(1); v != "" || err != nil {
		t.Errorf("it is %q, %v", v, err)
	}
	expect("delete it", true)(typed.CompareAndDelete(1, ""))
	if has, err := typed.Has(1); has || err != nil {
		t.Errorf("it is still there, %v", err)
	}
}

// noKey is the codec of strings, and makes no bytes of none.
type noKey struct{ keycodec.Codec[string] }

func (c noKey) Append(dst []byte, k string) []byte {
	if k == "" {
		return nil
	}
	return c.Codec.Append(dst, k)
}

// TestTypedEmptyEnd: a key of no bytes is an end, and not none.
func TestTypedEmptyEnd(t *testing.T) {
	typed := seerdb.NewTyped(openInMemory(t), noKey{keycodec.String}, valuecodec.Empty)
	must(t, typed.Put("a", struct{}{}))
	must(t, typed.DeleteRange("", ""))
	must(t, typed.DeleteRows(typed.Rows().Before("")))
	if has, err := typed.Has("a"); !has || err != nil {
		t.Fatalf("what is behind the end is gone, %v", err)
	}
	must(t, typed.DeleteRange("", "b"))
	if has, err := typed.Has("a"); has || err != nil {
		t.Fatalf("what is in the range is there, %v", err)
	}
}

// TestTypedExpiry: typed values expire, and typed rows tell when.
func TestTypedExpiry(t *testing.T) {
	r, clock := expiryRig(t)
	now := clock.now()
	typed := seerdb.NewTyped(r.db, keycodec.Int64, valuecodec.String)
	must(t, typed.PutTTL(1, "one", time.Second))
	must(t, typed.PutUntil(2, "two", now.Add(time.Minute)))
	must(t, typed.Put(3, "three"))
	b := r.db.NewBatch()
	must(t, typed.Into(b).PutTTL(4, "four", time.Hour))
	must(t, r.db.Apply(b, seerdb.DefaultDurability))
	must(t, r.db.Update(context.Background(), func(x *seerdb.Txn) error { return typed.In(x).PutTTL(5, "five", time.Second) }))
	rows := typed.Rows()
	var got []string
	for k, v := range rows.All() {
		got = append(got, fmt.Sprint(k, v, lifetime(now, rows)))
	}
	for k := range rows.Backward() {
		got = append(got, fmt.Sprint(k, lifetime(now, rows)))
	}
	for k := range rows.From(2).Keys() {
		got = append(got, fmt.Sprint(k, lifetime(now, rows))) // other rows
	}
	for k := range rows.Keys() {
		for k := range rows.Backward() {
			got = append(got, fmt.Sprint(k, lifetime(now, rows)))
			break
		}
		got = append(got, fmt.Sprint(k, lifetime(now, rows)))
		if k == 2 {
			break
		}
	}
	got = append(got, "end"+lifetime(now, rows))
	want := []string{
		"1one 1s", "2two 1m0s", "3three", "4four 1h0m0s", "5five 1s", "5 1s", "4 1h0m0s", "3", "2 1m0s", "1 1s",
		"2", "3", "4", "5", "5 1s", "1 1s", "5 1s", "2 1m0s", "end",
	}
	if !slices.Equal(got, want) || rows.Err() != nil {
		t.Errorf("%q, %v; want\n%q", got, rows.Err(), want)
	}
	if at, expires, err := typed.Expiry(2); !at.Equal(now.Add(time.Minute)) || !expires || err != nil {
		t.Errorf("2 expires %v, %v, %v", at, expires, err)
	}
	clock.add(time.Second)
	if got := slices.Collect(typed.Rows().Keys()); !slices.Equal(got, []int64{2, 3, 4}) {
		t.Errorf("a second later there are %v", got)
	}
}

// TestTypedSingleDelete: it deletes, and is a single delete.
func TestTypedSingleDelete(t *testing.T) {
	db := openInMemory(t)
	typed := seerdb.NewTyped(db, keycodec.Uint8, valuecodec.String)
	must(t, typed.Put(7, "v"))
	b := db.NewBatch()
	must(t, typed.Into(b).SingleDelete(7))
	var kinds []seerdb.OpKind
	must(t, b.Each(func(op seerdb.Op) bool {
		kinds = append(kinds, op.Kind)
		return true
	}))
	must(t, db.Apply(b, seerdb.DefaultDurability))
	if has, err := typed.Has(7); has || err != nil || !slices.Equal(kinds, []seerdb.OpKind{seerdb.OpSingleDelete}) {
		t.Errorf("%v, %v, %v", has, err, kinds)
	}
}

// TestTypedGetForUpdate: a transaction reads and writes its own rows, in the
// keyspace it was told, and a read for update conflicts.
func TestTypedGetForUpdate(t *testing.T) {
	db := openInMemory(t)
	k, err := db.Keyspace("other", nil)
	must(t, err)
	typed := seerdb.NewTyped(k, keycodec.String, valuecodec.Int64)
	must(t, typed.Put("a", 1))
	must(t, typed.With(db).Put("a", 100))
	for _, forUpdate := range []bool{false, true} {
		x, err := db.Begin(&seerdb.TxnOptions{Isolation: seerdb.SnapshotIsolation})
		must(t, err)
		in := typed.In(x.In(k))
		read := in.Get
		if forUpdate {
			read = in.GetForUpdate
		}
		n, err := read("a")
		if err != nil || n != 1 {
			t.Fatalf("for update %v: %d, %v", forUpdate, n, err)
		}
		must(t, in.Put("b", n+1))
		must(t, typed.Put("a", 1))
		if n, err := in.GetForUpdate("b"); n != 2 || err != nil {
			t.Fatalf("its own write: %d, %v", n, err)
		}
		if _, err := in.GetForUpdate("c"); !errors.Is(err, seerdb.ErrNotFound) {
			t.Fatalf("missing: %v", err)
		}
		if err := x.Commit(); errors.Is(err, seerdb.ErrConflict) != forUpdate || !forUpdate && err != nil {
			t.Fatalf("for update %v: %v", forUpdate, err)
		}
	}
	if n, err := typed.With(db).Get("a"); n != 100 || err != nil {
		t.Fatalf("the default keyspace: %d, %v", n, err)
	}
}
