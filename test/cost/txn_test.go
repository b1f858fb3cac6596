package cost

import (
	"encoding/binary"
	"flag"
	"runtime"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

var longTxnSteps = flag.Int("txn.steps", 0, "steps of the transactions in TestTransactionsAreNotQuadratic; 0: some")

var keyTooLong = make([]byte, seerdb.MaxKeySize+1)

// stepsOfTxn are what a transaction may do again and again after a put.
var stepsOfTxn = map[string]func(t *testing.T, x *seerdb.Txn, k []byte){
	"iterator": func(t *testing.T, x *seerdb.Txn, k []byte) {
		it, err := x.NewIter(&seerdb.IterOptions{LowerBound: k, UpperBound: append(k, 0)})
		dbtest.Must(t, err)
		if !it.First() {
			t.Fatal("lost")
		}
		dbtest.Must(t, it.Close())
	},
	"expiry": func(t *testing.T, x *seerdb.Txn, k []byte) { _, _, err := x.Expiry(k); dbtest.Must(t, err) },
	"merge": func(t *testing.T, x *seerdb.Txn, k []byte) {
		k = append(k, 'm')
		dbtest.Must(t, x.Merge(k, merger.AppendInt64(nil, 1)))
		_, err := x.Get(k)
		dbtest.Must(t, err)
	},
	"savepoint": func(t *testing.T, x *seerdb.Txn, k []byte) {
		s := x.Savepoint()
		dbtest.Must(t, x.Put(k, nil))
		dbtest.Must(t, x.RollbackTo(s))
	},
	"refused": func(t *testing.T, x *seerdb.Txn, k []byte) {
		if x.Put(keyTooLong, nil) == nil {
			t.Fatal("taken")
		}
	},
}

// TestTransactionsAreNotQuadratic counts what a step copies, as bytes allocated:
// in a long transaction it is about what it is in a short one.
func TestTransactionsAreNotQuadratic(t *testing.T) {
	long := 20_000
	switch {
	case *longTxnSteps > 0:
		long = *longTxnSteps
	case testing.Short():
		long = 10_000
	}
	for name, step := range stepsOfTxn {
		perStep := func(n int) (uint64, time.Duration) {
			db := dbtest.Open(t, "db", dbtest.With(seerdb.Options{Durability: seerdb.NoWAL, Merger: merger.Counter{}}, dbtest.TestOptions{FS: memfs.New()}))
			x := dbtest.Begin(t, db, dbtest.SnapshotIsolation)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			for i := range n {
				k := binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(i)*0x9e3779b97f4a7c15)
				dbtest.Must(t, x.Put(k, k))
				step(t, x, k)
			}
			took := time.Since(begin) / time.Duration(n)
			runtime.ReadMemStats(&after)
			x.Rollback()
			dbtest.Must(t, db.Close())
			return (after.TotalAlloc - before.TotalAlloc) / uint64(n), took
		}
		few, fast := perStep(1000)
		many, slow := perStep(long)
		if many > 3*few {
			t.Errorf("%s: %d bytes a step in a transaction of %d, %d in one of 1000", name, many, long, few)
		}
		t.Logf("%s: %d bytes and %v a step, then %d and %v", name, few, fast, many, slow)
	}
}
