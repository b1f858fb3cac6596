package hazards

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// bubbleEnv runs the tests with a clock of their own, which need a process of
// their own: the engine pools channels, and one made within such a test must
// not be used outside of it.
const bubbleEnv = "SEERDB_TEST_BUBBLE"

// TestHourInTheStop holds a flush for an hour. Writers must stay stopped, a
// flush must not return, and all must go on when the hour is over.
func TestHourInTheStop(t *testing.T) {
	if os.Getenv(bubbleEnv) == "" {
		t.Skip("is run by TestH31NoWaitGoesOnByItself")
	}
	synctest.Test(t, func(t *testing.T) {
		mem := memfs.New()
		fault := faultfs.New(mem)
		o, to := dbtest.Tiny()
		o.MemtableSize, to.FS = 1<<10, fault
		db, err := seerdb.Open("db", dbtest.With(o, to))
		dbtest.Must(t, err)
		held := fault.Inject(faultfs.Rule{Op: faultfs.OpCreate, Path: "*.sst", Delay: 24 * time.Hour})
		var acked atomic.Int64
		wrote := dbtest.Async(func() error {
			for i := range 100 {
				if err := db.Put(fmt.Appendf(nil, "k%03d", i), make([]byte, 100)); err != nil {
					return err
				}
				acked.Add(1)
			}
			return nil
		})
		synctest.Wait()
		stopped := acked.Load()
		flushed := dbtest.Async(func() error { return db.Flush(t.Context()) })
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := acked.Load(); n != stopped || n == 100 {
			t.Fatalf("writers went on after an hour in the stop: %d commits, then %d", stopped, n)
		}
		select {
		case err := <-flushed:
			t.Fatalf("the flush returned with nothing flushed (%v)", err)
		default:
		}
		held.Remove()
		if err := errors.Join(<-wrote, <-flushed); err != nil {
			t.Fatal(err)
		}
		if n := len(dbtest.Contents(t, db)); n != 100 {
			t.Fatalf("%d rows", n)
		}
		dbtest.Must(t, db.Close())
	})
}
