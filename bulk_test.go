package seerdb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs"
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
			fs := vfs.NewMem()
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

var (
	_ = bytes.Equal
	_ sync.Mutex
	_ atomic.Int32
)
