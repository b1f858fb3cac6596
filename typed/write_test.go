package typed_test

import (
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
	"github.com/seerdb-go/seerdb/typed"
	"github.com/seerdb-go/seerdb/valuecodec"
)

// TestTypedMerge: typed operands on typed values, with each operator and the
// codec that goes with it.
func TestTypedMerge(t *testing.T) {
	db := open(t, nil)
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
	view := typed.New(k, keycodec.String, c)
	must(t, view.Put("key", put))
	for _, o := range operands {
		must(t, view.Merge("key", o))
		must(t, view.Merge("alone", o))
	}
	got, err := view.Get("key")
	if fmt.Sprint(got) != fmt.Sprint(want) || err != nil {
		t.Errorf("%s: %v, %v; want %v", k.Name(), got, err, want)
	}
	if _, err := view.Get("alone"); err != nil {
		t.Errorf("%s without a value: %v", k.Name(), err)
	}
}

// TestTypedMergeRefused: where there is no operator.
func TestTypedMergeRefused(t *testing.T) {
	db := open(t, nil)
	if err := typed.New(db, keycodec.String, valuecodec.Int64).Merge("k", 1); !errors.Is(err, seerdb.ErrInvalidOptions) {
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
	db := open(t, merger.Append{})
	view := typed.New(db, keycodec.String, c)
	must(t, view.Put("there", "good"))
	for name, f := range map[string]func(k string) error{
		"Put":      func(k string) error { return view.Put(k, "bad") },
		"PutTTL":   func(k string) error { return view.PutTTL(k, "bad", time.Hour) },
		"PutUntil": func(k string) error { return view.PutUntil(k, "bad", time.Time{}) },
		"Merge":    func(k string) error { return view.Merge(k, "bad") },
		"PutIfAbsent": func(k string) error {
			_, err := view.PutIfAbsent(k, "bad")
			return err
		},
		"CompareAndSwap of": func(k string) error {
			_, err := view.CompareAndSwap(k, "bad", "good")
			return err
		},
		"CompareAndSwap for": func(k string) error {
			_, err := view.CompareAndSwap(k, "good", "bad")
			return err
		},
		"CompareAndDelete": func(k string) error {
			_, err := view.CompareAndDelete(k, "bad")
			return err
		},
	} {
		for _, k := range []string{"there", "missing"} {
			if err := f(k); !errors.Is(err, refused) || !strings.Contains(err.Error(), k) {
				t.Errorf("%s of %s: %v", name, k, err)
			}
		}
	}
	rows := view.Rows()
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
	view := typed.New(open(t, nil), keycodec.Uint8, nothing)
	expect := func(what string, want bool) func(bool, error) {
		return func(done bool, err error) {
			t.Helper()
			if done != want || err != nil {
				t.Errorf("%s: %v, %v", what, done, err)
			}
		}
	}
	expect("nothing is no empty value", false)(view.CompareAndSwap(1, "", "x"))
	expect("nothing to delete", false)(view.CompareAndDelete(1, ""))
	expect("absent", true)(view.PutIfAbsent(1, ""))
	expect("not absent", false)(view.PutIfAbsent(1, "x"))
	expect("the empty value", true)(view.CompareAndSwap(1, "", "x"))
	expect("back to it", true)(view.CompareAndSwap(1, "x", ""))
	expect("and once more", true)(view.CompareAndSwap(1, "", ""))
	if v, err := view.Get(1); v != "" || err != nil {
		t.Errorf("it is %q, %v", v, err)
	}
	expect("delete it", true)(view.CompareAndDelete(1, ""))
	if has, err := view.Has(1); has || err != nil {
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
	view := typed.New(open(t, nil), noKey{keycodec.String}, valuecodec.Empty)
	must(t, view.Put("a", struct{}{}))
	must(t, view.DeleteRange("", ""))
	must(t, view.DeleteRows(view.Rows().Before("")))
	if has, err := view.Has("a"); !has || err != nil {
		t.Fatalf("what is behind the end is gone, %v", err)
	}
	must(t, view.DeleteRange("", "b"))
	if has, err := view.Has("a"); has || err != nil {
		t.Fatalf("what is in the range is there, %v", err)
	}
}

// TestTypedSingleDelete: it deletes, and is a single delete.
func TestTypedSingleDelete(t *testing.T) {
	db := open(t, nil)
	view := typed.New(db, keycodec.Uint8, valuecodec.String)
	must(t, view.Put(7, "v"))
	b := db.NewBatch()
	must(t, view.Into(b).SingleDelete(7))
	var kinds []seerdb.OpKind
	must(t, b.Each(func(op seerdb.Op) bool {
		kinds = append(kinds, op.Kind)
		return true
	}))
	must(t, db.Apply(b, seerdb.DefaultDurability))
	if has, err := view.Has(7); has || err != nil || !slices.Equal(kinds, []seerdb.OpKind{seerdb.OpSingleDelete}) {
		t.Errorf("%v, %v, %v", has, err, kinds)
	}
}

// TestTypedGetForUpdate: a transaction reads and writes its own rows, in the
// keyspace it was told, and a read for update conflicts.
func TestTypedGetForUpdate(t *testing.T) {
	db := open(t, nil)
	k, err := db.Keyspace("other", nil)
	must(t, err)
	view := typed.New(k, keycodec.String, valuecodec.Int64)
	must(t, view.Put("a", 1))
	must(t, view.With(db).Put("a", 100))
	for _, forUpdate := range []bool{false, true} {
		x, err := db.Begin(&seerdb.TxnOptions{Isolation: seerdb.SnapshotIsolation})
		must(t, err)
		in := view.In(x.In(k))
		read := in.Get
		if forUpdate {
			read = in.GetForUpdate
		}
		n, err := read("a")
		if err != nil || n != 1 {
			t.Fatalf("for update %v: %d, %v", forUpdate, n, err)
		}
		must(t, in.Put("b", n+1))
		must(t, view.Put("a", 1))
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
	if n, err := view.With(db).Get("a"); n != 100 || err != nil {
		t.Fatalf("the default keyspace: %d, %v", n, err)
	}
}
