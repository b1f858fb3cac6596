package seerdb_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// benchRows are n rows of 16 + 100 bytes; step permutes them when it shares no
// factor with n.
func benchRows(n, step int) func(yield func(k, v []byte) bool) {
	return func(yield func(k, v []byte) bool) {
		k, v := make([]byte, 0, 16), make([]byte, 100)
		x := uint64(1)
		for i := range n {
			k = fmt.Appendf(k[:0], "user%012d", i*step%n)
			for j := 0; j < len(v); j += 2 { // half of it noise
				x = x*6364136223846793005 + 1442695040888963407
				v[j] = byte(x >> 56)
			}
			if !yield(k, v) {
				return
			}
		}
	}
}

// BenchmarkBulkLoad fills a database with a million rows, up to the point where
// all is in tables and nothing is left to compact.
func BenchmarkBulkLoad(b *testing.B) {
	const n = 1_000_000
	load := func(step int, o *seerdb.BulkOptions) func(db *seerdb.DB) error {
		return func(db *seerdb.DB) error {
			_, err := db.BulkLoad(context.Background(), benchRows(n, step), o)
			return err
		}
	}
	batches := func(d seerdb.Durability) func(db *seerdb.DB) error {
		return func(db *seerdb.DB) error {
			batch := db.NewBatch()
			for k, v := range benchRows(n, 1) {
				if err := batch.Put(k, v); err != nil {
					return err
				}
				if batch.Len() == 100 {
					if err := db.Apply(batch, d); err != nil {
						return err
					}
					batch.Reset()
				}
			}
			return db.Flush(context.Background())
		}
	}
	for _, c := range []struct {
		name string
		fill func(db *seerdb.DB) error
	}{
		{"sorted", load(1, nil)},
		{"unsorted", load(7919, &seerdb.BulkOptions{Unsorted: true})},
		{"batches-of-100", batches(seerdb.DefaultDurability)},
	} {
		for _, d := range []seerdb.Durability{seerdb.Sync, seerdb.Buffered} {
			b.Run(fmt.Sprintf("%s/%v", c.name, d), func(b *testing.B) {
				for b.Loop() {
					db := dbtest.Open(b, b.TempDir(), &seerdb.Options{Durability: d})
					begin := time.Now()
					dbtest.Must(b, c.fill(db))
					filled := time.Since(begin)
					b.ReportMetric(float64(n)/filled.Seconds(), "rows/s")
					b.ReportMetric(db.Metrics().IO.WriteAmplification, "write-amp")
					dbtest.Must(b, db.Close())
				}
			})
		}
	}
}
