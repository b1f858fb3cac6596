package seerdb_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// BenchmarkSmallCompaction: what a compaction of two tables costs beside the
// tables of many other keyspaces.
func BenchmarkSmallCompaction(b *testing.B) {
	for _, n := range []int{0, 1000, 4000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := seerdb.Options{Durability: seerdb.Relaxed}
			db, err := seerdb.Open("db", o.With(seerdb.TestOptions{FS: vfs.NewMem(), ManualOnly: true}))
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			for i := range n {
				k, err := db.Keyspace(fmt.Sprintf("space%05d", i), nil)
				if err != nil {
					b.Fatal(err)
				}
				if err := k.Put([]byte("k"), []byte("v")); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				for range 2 {
					if err := db.Put([]byte("k"), []byte("v")); err != nil {
						b.Fatal(err)
					}
					if err := db.Flush(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
				if err := db.Compact(context.Background(), nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
