package concurrent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// TestBulkLoadBeside loads beside writers, readers, snapshots, flushes and
// compactions. A load is seen whole or not at all, never goes back, and what was
// committed after it is never seen without it.
func TestBulkLoadBeside(t *testing.T) {
	r := dbtest.NewRig(t, func(o *seerdb.Options, to *dbtest.TestOptions) {
		o.MemtableSize, o.TableSize, o.MaxCompactions, o.Durability = 4<<10, 2<<10, 2, seerdb.Buffered
		to.Partitions, to.BaseLevel = 4, 8<<10
	})
	const keys = 30
	loaded := dbtest.BulkKeys(0, keys, 10)
	c := &dbtest.Crowd{TB: t}
	var acked atomic.Int64
	number := strconv.Itoa
	c.Each(func(i int) {
		i++
		_, err := r.DB.BulkLoad(context.Background(), dbtest.BulkRows(loaded, func(int) string { return number(i) }), nil)
		if c.OK(err) && c.OK(r.DB.Put([]byte("after"), []byte(number(i)))) {
			acked.Store(int64(i))
		}
	})
	c.Each(func(i int) { // neighbours of the loaded keys
		c.OK(r.DB.Put(fmt.Appendf(nil, "key%06d", i%400/10*10+1+i%9), []byte(strings.Repeat("x", 100))))
	})
	c.Each(func(i int) {
		_, err := r.DB.BulkLoad(context.Background(), dbtest.BulkRows(dbtest.BulkKeys(1000+i%7*100, 50, 1), dbtest.BulkValue("other")), nil)
		c.OK(err)
	})
	scan := func(src iterable) int { return scanLoads(t, c, src, loaded) }
	for range 2 {
		c.Each(func(int) {
			least := int(acked.Load())
			if n := scan(r.DB); n < least {
				t.Errorf("load %d was acknowledged, and %d read", least, n)
			}
		})
	}
	c.Each(func(i int) {
		least := acked.Load()
		v, err := r.DB.Get([]byte(loaded[i%keys]))
		if least > 0 && c.OK(err) {
			if n, _ := strconv.Atoi(string(v)); int64(n) < least {
				t.Errorf("load %d was acknowledged, and Get reads %d", least, n)
			}
		}
	})
	c.Each(func(int) {
		s := r.DB.NewSnapshot()
		first := scan(s)
		time.Sleep(time.Millisecond)
		if again := scan(s); again != first {
			t.Errorf("a snapshot moved from load %d to %d", first, again)
		}
		c.OK(s.Close())
	})
	c.Each(func(int) { c.OK(r.Flush()); time.Sleep(3 * time.Millisecond) })
	c.Each(func(int) {
		c.OK(r.DB.Compact(context.Background(), nil, nil))
		time.Sleep(20 * time.Millisecond)
	})
	c.Run(dbtest.CrowdTime(), func() bool { return acked.Load() >= 3 })
	if acked.Load() < 3 {
		t.Errorf("only %d loads", acked.Load())
	}
	r.Clean()
}

// scanLoads reads everything, and returns which load it saw: one, whole or not
// at all, and not older than what was written after it.
func scanLoads(t *testing.T, c *dbtest.Crowd, src iterable, loaded []string) (load int) {
	it, err := src.NewIter(nil)
	if !c.OK(err) {
		return 0
	}
	after, seen := 0, 0
	for ok := it.First(); ok; ok = it.Next() {
		if k := string(it.Key()); k == "after" {
			after, _ = strconv.Atoi(string(it.Value()))
		} else if slices.Contains(loaded, k) {
			n, _ := strconv.Atoi(string(it.Value()))
			if seen > 0 && n != load {
				t.Errorf("loads %d and %d in one scan", load, n)
			}
			load = n
			seen++
		}
	}
	c.OK(it.Close())
	if seen != 0 && seen != len(loaded) || after > load {
		t.Errorf("%d keys of load %d, and what came after load %d", seen, load, after)
	}
	return load
}

// TestBulkLoadConflicts: to transactions a load is a write of its range.
func TestBulkLoadConflicts(t *testing.T) {
	db := dbtest.BulkSmall(t, memfs.New())
	dbtest.Must(t, db.Put([]byte("key000005"), []byte("1")))
	for _, c := range []struct {
		read     string
		conflict bool
	}{{"key000005", true}, {"key000000", true}, {"key000009", true}, {"key0000041", true}, {"key00000", false}, {"key0000090", false}} {
		x, err := db.Begin(nil)
		dbtest.Must(t, err)
		if _, err := x.Get([]byte(c.read)); err != nil && !errors.Is(err, seerdb.ErrNotFound) {
			t.Fatal(err)
		}
		_, err = db.BulkLoad(context.Background(), dbtest.BulkRows(dbtest.BulkKeys(0, 10, 1), dbtest.BulkValue("x")), nil)
		dbtest.Must(t, err)
		dbtest.Must(t, x.Put([]byte("other"), nil))
		if err := x.Commit(); errors.Is(err, seerdb.ErrConflict) != c.conflict || err != nil && !c.conflict {
			t.Errorf("a transaction that read %q: %v", c.read, err)
		}
	}
}

// iterable is what can be scanned.
type iterable interface {
	NewIter(*seerdb.IterOptions) (*seerdb.Iter, error)
}
