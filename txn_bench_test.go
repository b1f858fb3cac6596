package seerdb_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// counters is a database of a thousand counters in memory, for what a
// transaction costs besides the disk.
func counters(tb testing.TB) *seerdb.DB {
	tb.Helper()
	o := seerdb.Options{Durability: seerdb.Relaxed, MemtableSize: 16 << 20}
	db, err := seerdb.Open("db", dbtest.With(o, dbtest.TestOptions{FS: memfs.New()}))
	dbtest.Must(tb, err)
	tb.Cleanup(func() { _ = db.Close() })
	for i := range 1000 {
		dbtest.Must(tb, db.Put(counter(nil, i), make([]byte, 8)))
	}
	return db
}

func counter(dst []byte, i int) []byte {
	return binary.BigEndian.AppendUint64(append(dst[:0], "counter:"...), uint64(i%1000))
}

// BenchmarkTxnCounter increments a counter out of a thousand: in a transaction,
// and with a mutex around a read and a write.
func BenchmarkTxnCounter(b *testing.B) {
	for _, n := range []int{1, 4} {
		b.Run(fmt.Sprintf("txn/goroutines=%d", n), func(b *testing.B) {
			db := counters(b)
			inParallel(b, n, func(g int) func() error {
				key, value, i := make([]byte, 0, 32), make([]byte, 0, 32), g*250
				return func() error {
					key = counter(key, i)
					i += 7
					return db.Update(context.Background(), func(t *seerdb.Txn) error { return increment(t, key, &value) })
				}
			})
		})
		b.Run(fmt.Sprintf("mutex/goroutines=%d", n), func(b *testing.B) {
			db := counters(b)
			var mu sync.Mutex
			inParallel(b, n, func(g int) func() error {
				key, value, i := make([]byte, 0, 32), make([]byte, 0, 32), g*250
				return func() error {
					key = counter(key, i)
					i += 7
					mu.Lock()
					defer mu.Unlock()
					return increment(db, key, &value)
				}
			})
		})
	}
}

// increment adds one to a counter, with a buffer for its value.
func increment(s interface {
	AppendGet(dst, key []byte) ([]byte, error)
	Put(key, value []byte) error
}, key []byte, buf *[]byte) error {
	v, err := s.AppendGet((*buf)[:0], key)
	if err != nil {
		return err
	}
	*buf = v
	binary.LittleEndian.PutUint64(v, binary.LittleEndian.Uint64(v)+1)
	return s.Put(key, v)
}

// inParallel shares b.N calls out to n goroutines, each with its own function.
func inParallel(b *testing.B, n int, worker func(g int) func() error) {
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for g := range n {
		f := worker(g)
		wg.Go(func() {
			for i := g; i < b.N; i += n {
				if err := f(); err != nil { // no must, which looks at who called it
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
