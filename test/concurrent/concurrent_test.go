package concurrent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestEverythingAtOnce runs writers of batches, readers, snapshots, iterators,
// flushes and compactions beside one another. A batch is seen whole or not at
// all, and never goes back; a snapshot does not move.
func TestEverythingAtOnce(t *testing.T) {
	for _, d := range []seerdb.Durability{seerdb.Sync, seerdb.Relaxed, seerdb.NoWAL} {
		t.Run(d.String(), func(t *testing.T) {
			r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
				o.Durability, o.MemtableSize, o.TableSize, o.MaxCompactions = d, 4<<10, 2<<10, 2
				to.Partitions, to.BaseLevel = 4, 8<<10
			})
			const writers, keys = 3, 8
			c := &dbtest.Crowd{TB: t}
			var acked [writers]atomic.Int64
			for w := range writers {
				c.Each(func(i int) {
					if c.OK(r.DB.Apply(dbtest.Numbered(r.DB, w, keys, int64(i)), seerdb.DefaultDurability)) {
						acked[w].Store(int64(i))
					}
				})
			}
			reader := func(i int) {
				w := i % writers
				least := acked[w].Load()
				if got := batchOf(c, r.DB, w, keys); got < least {
					t.Errorf("batch %d was acknowledged, and batch %d read", least, got)
				}
			}
			c.Each(reader)
			c.Each(reader)
			c.Each(func(i int) {
				s := r.DB.NewSnapshot()
				w := i % writers
				first := batchOf(c, s, w, keys)
				time.Sleep(time.Millisecond)
				if again := batchOf(c, s, w, keys); again != first {
					t.Errorf("a snapshot moved from batch %d to %d", first, again)
				}
				c.OK(s.Close())
			})
			c.Each(func(int) { c.OK(r.Flush()); time.Sleep(time.Millisecond) })
			c.Each(func(int) {
				c.OK(r.DB.Compact(context.Background(), nil, nil))
				time.Sleep(5 * time.Millisecond)
			})
			c.Run(dbtest.CrowdTime(), func() bool {
				return acked[0].Load() > 0 && acked[1].Load() > 0 && acked[2].Load() > 0
			})
			for w := range writers {
				if got := batchOf(c, r.DB, w, keys); got != acked[w].Load() || got == 0 {
					t.Errorf("writer %d ended with batch %d, and %d is there", w, acked[w].Load(), got)
				}
			}
			r.Clean()
		})
	}
}

// batchOf reads what dbtest.Numbered wrote in one scan, forward or backward, and
// checks that it is one batch. It may be called from any goroutine.
func batchOf(c *dbtest.Crowd, src dbtest.Reader, writer, keys int) (number int64) {
	lo, hi := fmt.Appendf(nil, "w%d/", writer), fmt.Appendf(nil, "w%d0", writer)
	it, err := src.NewIter(&seerdb.IterOptions{LowerBound: lo, UpperBound: hi})
	if !c.OK(err) {
		return 0
	}
	var seen []string
	for ok := it.First(); ok; ok = it.Next() {
		seen = append(seen, string(it.Value()))
	}
	for ok, i := it.Last(), len(seen)-1; ok; ok, i = it.Prev(), i-1 {
		if i < 0 || seen[i] != string(it.Value()) {
			c.Errorf("an iterator moved: %v, then %q at %d", seen, it.Value(), i)
			break
		}
	}
	c.OK(it.Close())
	if n := len(slices.Compact(slices.Clone(seen))); n > 1 || len(seen) != 0 && len(seen) != keys {
		c.Errorf("half a batch: %v", seen)
	}
	if len(seen) > 0 {
		_, err = fmt.Sscan(seen[0], &number)
		c.OK(err)
	}
	return number
}

// TestCloseEndsJobs closes a database whose flush and compaction are stuck:
// they end, and callers that wait for them learn that the database was closed, not
// of a cancellation that they did not ask for.
func TestCloseEndsJobs(t *testing.T) {
	for name, wait := range map[string]func(*dbtest.Rig) error{
		"flush":   (*dbtest.Rig).Flush,
		"compact": func(r *dbtest.Rig) error { return r.DB.Compact(context.Background(), nil, nil) },
	} {
		r := dbtest.NewRig(t, dbtest.Quiet)
		r.Put("a=1")
		if name == "compact" {
			dbtest.Must(t, r.Flush())
			r.Put("a=2")
			dbtest.Must(t, r.Flush())
		}
		held := r.Hold(faultfs.OpCreate, "*.sst")
		waiting := dbtest.Async(func() error { return wait(r) })
		held.Wait()
		closed := dbtest.Async(r.DB.Close)
		dbtest.Eventually(t, 10*time.Second, "the database refuses commits", func() bool { return r.DB.Put(nil, nil) != nil })
		held.Release()
		if err := r.Finish(waiting); !errors.Is(err, seerdb.ErrClosed) {
			t.Errorf("%s, when the database was closed: %v", name, err)
		}
		dbtest.Must(t, r.Finish(closed))
	}
}

// register is one operation on one key of TestLinearizable.
type register struct {
	key   string
	write bool
	value string // "" is deleted, or not there
}

// registers is what a key is: it reads what was written last.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) (out [][]porcupine.Operation) {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			k := op.Input.(register).key
			byKey[k] = append(byKey[k], op)
		}
		for _, h := range byKey {
			out = append(out, h)
		}
		return out
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if in := input.(register); in.write {
			return true, in.value
		}
		return output.(string) == state.(string), state
	},
	DescribeOperation: func(input, output any) string {
		if in := input.(register); in.write {
			return fmt.Sprintf("put %s=%q", in.key, in.value)
		}
		return fmt.Sprintf("get %s=%q", input.(register).key, output)
	},
}

// TestLinearizable records what clients see of a few keys while the engine
// flushes and compacts under them, and lets porcupine look for an order of the
// operations that explains it.
func TestLinearizable(t *testing.T) {
	ops := dbtest.Some(250)
	for seed := range uint64(3) {
		r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
			o.Durability = []seerdb.Durability{seerdb.Sync, seerdb.Buffered, seerdb.NoWAL}[seed]
			o.MemtableSize, to.Partitions, to.L0Trigger = 1<<10, 4, 2
		})
		begin := time.Now()
		var mu sync.Mutex
		var history []porcupine.Operation
		c := &dbtest.Crowd{TB: t}
		c.Each(func(int) { c.OK(r.Flush()) })
		var clients sync.WaitGroup
		for client := range 6 {
			clients.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(client)))
				for i := range ops {
					op := register{key: fmt.Sprint("key", rng.IntN(4)), write: rng.IntN(3) == 0}
					if op.write && rng.IntN(4) > 0 {
						op.value = fmt.Sprintf("%d.%d", client, i)
					}
					call := time.Since(begin)
					out := perform(c, r.DB, op)
					done := porcupine.Operation{ClientId: client, Input: op, Call: int64(call), Output: out, Return: int64(time.Since(begin))}
					mu.Lock()
					history = append(history, done)
					mu.Unlock()
				}
			})
		}
		clients.Wait()
		c.Run(0, func() bool { return true })
		switch result := porcupine.CheckOperationsTimeout(registers, history, 20*time.Second); result {
		case porcupine.Illegal:
			t.Fatalf("the history of %d operations (seed %d) is not linearizable", len(history), seed)
		case porcupine.Unknown:
			t.Fatalf("the history of %d operations could not be judged in time", len(history))
		}
	}
}

func perform(c *dbtest.Crowd, db *seerdb.DB, op register) string {
	switch {
	case op.write && op.value == "":
		c.OK(db.Delete([]byte(op.key)))
		return ""
	case op.write:
		c.OK(db.Put([]byte(op.key), []byte(op.value+strings.Repeat(" ", 60))))
		return ""
	}
	v, err := db.Get([]byte(op.key))
	if err != nil && !errors.Is(err, seerdb.ErrNotFound) {
		c.Error(err)
	}
	return strings.TrimRight(string(v), " ")
}

// Two callers of Compact: both return when it is done, not when it has begun.
func TestConcurrentManualCompactions(t *testing.T) {
	o, to := dbtest.Tiny()
	to.FS, to.L0Trigger = memfs.New(), 100
	db := dbtest.Open(t, "db", dbtest.With(o, to))
	for range 3 {
		for i := range 50 {
			dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%03d", i), make([]byte, 50)))
		}
		dbtest.Must(t, db.Flush(context.Background()))
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := db.Compact(context.Background(), nil, nil); err != nil {
				t.Error(err)
			}
			if n := db.Metrics().Levels[0].Files; n != 0 {
				t.Errorf("Compact returned with %d tables in L0", n)
			}
		})
	}
	wg.Wait()
}

// Sync beside flushes that drop logs: never ErrClosed on an open database.
func TestSyncBesideFlush(t *testing.T) {
	o, to := dbtest.Tiny()
	o.Durability, o.MemtableSize, to.FS = seerdb.Buffered, 1<<10, memfs.New()
	db := dbtest.Open(t, "db", dbtest.With(o, to))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := db.Sync(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 3000 {
		dbtest.Must(t, db.Put(fmt.Appendf(nil, "key%05d", i), make([]byte, 100)))
	}
	close(stop)
	wg.Wait()
}
