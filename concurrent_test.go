package seerdb_test

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
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// crowd runs workers until the test has had enough of them.
type crowd struct {
	testing.TB
	stop atomic.Bool
	wg   sync.WaitGroup
}

// each calls f again and again, beside the others.
func (c *crowd) each(f func(i int)) {
	c.wg.Go(func() {
		for i := 1; !c.stop.Load() && !c.Failed(); i++ {
			f(i)
		}
	})
}

// run lets them go on for a while, which on a busy machine is longer: until
// enough has happened.
func (c *crowd) run(d time.Duration, enough func() bool) {
	for range 100 {
		if time.Sleep(d); enough() || c.Failed() {
			break
		}
	}
	c.stop.Store(true)
	c.wg.Wait()
}

// ok reports an error; must ends only the goroutine of the test.
func (c *crowd) ok(err error) bool {
	if err != nil {
		c.Error(err)
	}
	return err == nil
}

func crowdTime() time.Duration {
	if testing.Short() {
		return 200 * time.Millisecond
	}
	return 800 * time.Millisecond
}

// TestEverythingAtOnce runs writers of batches, readers, snapshots, iterators,
// flushes and compactions beside one another. A batch is seen whole or not at
// all, and never goes back; a snapshot does not move.
func TestEverythingAtOnce(t *testing.T) {
	for _, d := range []seerdb.Durability{seerdb.Sync, seerdb.Relaxed, seerdb.NoWAL} {
		t.Run(d.String(), func(t *testing.T) {
			r := newRig(t, func(o *seerdb.Options, to *seerdb.TestOptions) {
				o.Durability, o.MemtableSize, o.TableSize, o.MaxCompactions = d, 4<<10, 2<<10, 2
				to.Partitions, to.BaseLevel = 4, 8<<10
			})
			const writers, keys = 3, 8
			c := &crowd{TB: t}
			var acked [writers]atomic.Int64
			for w := range writers {
				c.each(func(i int) {
					if c.ok(r.db.Apply(numbered(r.db, w, keys, int64(i)), seerdb.DefaultDurability)) {
						acked[w].Store(int64(i))
					}
				})
			}
			reader := func(i int) {
				w := i % writers
				least := acked[w].Load()
				if got := batchOf(c, r.db, w, keys); got < least {
					t.Errorf("batch %d was acknowledged, and batch %d read", least, got)
				}
			}
			c.each(reader)
			c.each(reader)
			c.each(func(i int) {
				s := r.db.NewSnapshot()
				w := i % writers
				first := batchOf(c, s, w, keys)
				time.Sleep(time.Millisecond)
				if again := batchOf(c, s, w, keys); again != first {
					t.Errorf("a snapshot moved from batch %d to %d", first, again)
				}
				c.ok(s.Close())
			})
			c.each(func(int) { c.ok(r.flush()); time.Sleep(time.Millisecond) })
			c.each(func(int) {
				c.ok(r.db.Compact(context.Background(), nil, nil))
				time.Sleep(5 * time.Millisecond)
			})
			c.run(crowdTime(), func() bool {
				return acked[0].Load() > 0 && acked[1].Load() > 0 && acked[2].Load() > 0
			})
			for w := range writers {
				if got := batchOf(c, r.db, w, keys); got != acked[w].Load() || got == 0 {
					t.Errorf("writer %d ended with batch %d, and %d is there", w, acked[w].Load(), got)
				}
			}
			r.clean()
		})
	}
}

// batchOf reads what numbered wrote in one scan, forward or backward, and
// checks that it is one batch. It may be called from any goroutine.
func batchOf(c *crowd, src reader, writer, keys int) (number int64) {
	lo, hi := fmt.Appendf(nil, "w%d/", writer), fmt.Appendf(nil, "w%d0", writer)
	it, err := src.NewIter(&seerdb.IterOptions{LowerBound: lo, UpperBound: hi})
	if !c.ok(err) {
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
	c.ok(it.Close())
	if n := len(slices.Compact(slices.Clone(seen))); n > 1 || len(seen) != 0 && len(seen) != keys {
		c.Errorf("half a batch: %v", seen)
	}
	if len(seen) > 0 {
		_, err = fmt.Sscan(seen[0], &number)
		c.ok(err)
	}
	return number
}

// TestCloseEndsJobs closes a database whose flush and compaction are stuck:
// they end, and who waits for them learns that the database was closed, not
// of a cancellation that was none of his.
func TestCloseEndsJobs(t *testing.T) {
	for name, wait := range map[string]func(*rig) error{
		"flush":   (*rig).flush,
		"compact": func(r *rig) error { return r.db.Compact(context.Background(), nil, nil) },
	} {
		r := newRig(t, quiet)
		r.put("a=1")
		if name == "compact" {
			must(t, r.flush())
			r.put("a=2")
			must(t, r.flush())
		}
		held := r.hold(faultfs.OpCreate, "*.sst")
		waiting := async(func() error { return wait(r) })
		held.wait()
		closed := async(r.db.Close)
		eventually(t, 10*time.Second, "the database refuses commits", func() bool { return r.db.Put(nil, nil) != nil })
		held.release()
		if err := r.finish(waiting); !errors.Is(err, seerdb.ErrClosed) {
			t.Errorf("%s, when the database was closed: %v", name, err)
		}
		must(t, r.finish(closed))
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
	ops := some(250)
	for seed := range uint64(3) {
		r := newRig(t, func(o *seerdb.Options, to *seerdb.TestOptions) {
			o.Durability = []seerdb.Durability{seerdb.Sync, seerdb.Buffered, seerdb.NoWAL}[seed]
			o.MemtableSize, to.Partitions, to.L0Trigger = 1<<10, 4, 2
		})
		begin := time.Now()
		var mu sync.Mutex
		var history []porcupine.Operation
		c := &crowd{TB: t}
		c.each(func(int) { c.ok(r.flush()) })
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
					out := perform(c, r.db, op)
					done := porcupine.Operation{ClientId: client, Input: op, Call: int64(call), Output: out, Return: int64(time.Since(begin))}
					mu.Lock()
					history = append(history, done)
					mu.Unlock()
				}
			})
		}
		clients.Wait()
		c.run(0, func() bool { return true })
		switch result := porcupine.CheckOperationsTimeout(registers, history, 20*time.Second); result {
		case porcupine.Illegal:
			t.Fatalf("the history of %d operations (seed %d) is not linearizable", len(history), seed)
		case porcupine.Unknown:
			t.Fatalf("the history of %d operations could not be judged in time", len(history))
		}
	}
}

func perform(c *crowd, db *seerdb.DB, op register) string {
	switch {
	case op.write && op.value == "":
		c.ok(db.Delete([]byte(op.key)))
		return ""
	case op.write:
		c.ok(db.Put([]byte(op.key), []byte(op.value+strings.Repeat(" ", 60))))
		return ""
	}
	v, err := db.Get([]byte(op.key))
	if err != nil && !errors.Is(err, seerdb.ErrNotFound) {
		c.Error(err)
	}
	return strings.TrimRight(string(v), " ")
}
