package dbtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// BulkRows yields rows in the order of keys. It reuses its buffers, as callers
// may, so rows that BulkLoad keeps without a copy are overwritten.
func BulkRows(keys []string, value func(i int) string) iter.Seq2[[]byte, []byte] {
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

// BulkKeys returns n ascending keys from first on, step apart.
func BulkKeys(first, n, step int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("key%06d", first+i*step)
	}
	return out
}

// BulkValue returns values that are small for most rows and go to value files
// for the others.
func BulkValue(tag string) func(i int) string {
	return func(i int) string {
		if i%5 == 0 {
			return tag + strings.Repeat("v", 250+i%90)
		}
		return fmt.Sprint(tag, i)
	}
}

// BulkMap returns what BulkRows yields, as a map.
func BulkMap(keys []string, value func(i int) string) map[string]string {
	m := map[string]string{}
	for i, k := range keys {
		m[k] = value(i)
	}
	return m
}

// BulkSmall opens a database with tiny tables, some of its rows in memory.
func BulkSmall(t testing.TB, fs vfs.FS) *seerdb.DB {
	t.Helper()
	o, to := Tiny()
	to.FS = fs
	db, err := seerdb.Open("db", With(o, to))
	Must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// BulkCheck compares the rows of a reader with want, by iteration in both
// directions and by point reads.
func BulkCheck(t testing.TB, when string, r bulkReader, want map[string]string) {
	t.Helper()
	it, err := r.NewIter(nil)
	Must(t, err)
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
	Must(t, it.Close())
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

// bulkReader is a database, a keyspace, a snapshot or a transaction.
type bulkReader interface {
	NewIter(*seerdb.IterOptions) (*seerdb.Iter, error)
	Get(key []byte) ([]byte, error)
	Has(key []byte) (bool, error)
}

// BulkVerify checks every file.
func BulkVerify(t testing.TB, db *seerdb.DB) {
	t.Helper()
	report, err := db.Verify(context.Background())
	Must(t, err)
	if !report.Clean() {
		t.Fatalf("verify: %v", report.Damage)
	}
}

// BulkNoLeftovers checks that there are no temporary files.
func BulkNoLeftovers(t testing.TB, fs vfs.FS) {
	t.Helper()
	names, err := fs.List("db")
	Must(t, err)
	for _, n := range names {
		if strings.HasSuffix(n, ".tmp") {
			t.Fatalf("%s is left", n)
		}
	}
}
