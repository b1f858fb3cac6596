package space

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// spaceRig is a database of which everything will be deleted in some way: in
// order, so that its tables lie side by side, or shuffled.
type spaceRig struct {
	t     *testing.T
	mem   *memfs.FS
	db    *seerdb.DB
	clock *dbtest.Clock
	rnd   *rand.Rand
	keys  int
}

func newSpaceRig(t *testing.T, change ...func(*seerdb.Options)) *spaceRig {
	r := &spaceRig{t: t, mem: memfs.New(), clock: dbtest.NewClock(), rnd: rand.New(rand.NewPCG(1, 2)), keys: 5_000}
	o, to := dbtest.Tiny()
	o.MemtableSize, o.TableSize, o.Durability = 64<<10, 32<<10, seerdb.Buffered
	to.FS, to.Clock, to.BaseLevel = r.mem, r.clock.Now, 128<<10
	for _, f := range change {
		f(&o)
	}
	r.db = dbtest.Open(t, "db", dbtest.With(o, to))
	return r
}

func spaceKey(n int) []byte { return fmt.Appendf(nil, "key%06d", n) }

// value is one of a length that stays in its table, or one that does not.
func (r *spaceRig) value(n int) []byte {
	size := 100
	if n%3 == 0 {
		size = 600
	}
	v := make([]byte, size)
	for i := range v {
		v[i] = byte(r.rnd.Uint32())
	}
	return v
}

// load puts every key twice.
func (r *spaceRig) load(put func(key, value []byte) error) {
	r.t.Helper()
	for range 2 {
		for _, n := range r.rnd.Perm(r.keys) {
			dbtest.Must(r.t, put(spaceKey(n), r.value(n)))
		}
	}
	dbtest.Must(r.t, r.db.Flush(context.Background()))
}

// used is what the files take, but for the manifest: what that takes goes by
// the number of its edits.
func (r *spaceRig) used() (n int64) {
	r.t.Helper()
	names, err := r.mem.List("db")
	dbtest.Must(r.t, err)
	for _, name := range names {
		// A file may go while one looks.
		if info, err := r.mem.Stat("db/" + name); err == nil && !strings.HasPrefix(name, "MANIFEST") {
			n += info.Size()
		}
	}
	return n
}

// waitBelow waits until files take at most a hundredth of what they took.
func (r *spaceRig) waitBelow(peak int64) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); r.used() > peak/100; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			names, _ := r.mem.List("db")
			m := r.db.Metrics()
			r.t.Fatalf("%d of %d bytes are left: %v\n%+v %v", r.used(), peak, names, m.Levels, m.CompactionsByReason)
		}
	}
}

// ways in which everything is deleted.
var spaceWays = map[string]struct {
	ttl    time.Duration
	delete func(r *spaceRig)
}{
	"range": {0, func(r *spaceRig) { dbtest.Must(r.t, r.db.DeleteRange(nil, nil)) }},
	"ranges": {0, func(r *spaceRig) {
		for n := 0; n < r.keys; n += r.keys / 20 {
			dbtest.Must(r.t, r.db.DeleteRange(spaceKey(n), spaceKey(n+r.keys/20)))
		}
	}},
	"keys": {0, func(r *spaceRig) {
		for _, n := range r.rnd.Perm(r.keys) {
			dbtest.Must(r.t, r.db.Delete(spaceKey(n)))
		}
	}},
	"expiry": {time.Hour, func(r *spaceRig) { r.clock.Add(2 * time.Hour) }},
}

func (r *spaceRig) fill(ttl time.Duration) {
	r.load(func(k, v []byte) error {
		if ttl > 0 {
			return r.db.PutTTL(k, v, ttl+time.Duration(r.rnd.IntN(60))*time.Second)
		}
		return r.db.Put(k, v)
	})
}

// Whatever way everything is deleted, the space comes back unasked.
func TestSpaceOfEverythingComesBack(t *testing.T) {
	for name, way := range spaceWays {
		t.Run(name, func(t *testing.T) {
			r := newSpaceRig(t)
			r.fill(way.ttl)
			peak := r.used()
			way.delete(r)
			dbtest.Must(t, r.db.Flush(context.Background()))
			r.waitBelow(peak)
			if got := dbtest.Contents(t, r.db); len(got) > 0 {
				t.Fatalf("%d keys are left", len(got))
			}
			t.Log(r.db.Metrics().CompactionsByReason)
		})
	}
}

// A snapshot keeps what it sees, and its end is noticed by itself.
func TestSpaceOfEverythingComesBackAfterSnapshots(t *testing.T) {
	for name, way := range spaceWays {
		for _, merged := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/merged=%v", name, merged), func(t *testing.T) {
				t.Parallel() // it mostly waits
				r := newSpaceRig(t)
				r.fill(way.ttl)
				peak := r.used()
				first, want := r.db.NewSnapshot(), dbtest.Contents(t, r.db)
				if len(want) != r.keys {
					t.Fatalf("%d keys", len(want))
				}
				way.delete(r)
				dbtest.Must(t, r.db.Flush(context.Background()))
				second := r.db.NewSnapshot()
				dbtest.Must(t, r.db.Put([]byte("last"), []byte("standing")))
				if merged {
					dbtest.Must(t, r.db.Compact(context.Background(), nil, nil))
				} else {
					dbtest.Must(t, r.db.Flush(context.Background()))
					time.Sleep(1500 * time.Millisecond) // beyond an idle look at what is due
				}
				if got := dbtest.Contents(t, first); !slices.Equal(got, want) {
					t.Fatalf("the snapshot shows %d keys, want %d", len(got), len(want))
				}
				if got := dbtest.Contents(t, second); len(got) != 0 {
					t.Fatalf("the snapshot of nothing shows %d keys", len(got))
				}
				dbtest.Must(t, first.Close())
				// A table with something that the second one does not see may
				// be left, and the values of that.
				r.waitBelow(3 * peak)
				if got := dbtest.Contents(t, second); len(got) != 0 {
					t.Fatalf("the snapshot of nothing shows %d keys", len(got))
				}
				dbtest.Must(t, second.Close())
				r.waitBelow(peak)
				if got := dbtest.Contents(t, r.db); !slices.Equal(got, []string{"last=standing"}) {
					t.Fatalf("%d keys are left", len(got))
				}
				t.Log(r.db.Metrics().CompactionsByReason)
			})
		}
	}
}

// Tables that are wholly gone are removed without a look at them.
func TestSpaceComesBackUnread(t *testing.T) {
	for _, way := range []string{"range", "expiry"} {
		t.Run(way, func(t *testing.T) {
			r := newSpaceRig(t)
			r.fill(spaceWays[way].ttl)
			dbtest.Must(t, r.db.Compact(context.Background(), nil, nil))
			peak, before := r.used(), r.db.Metrics()
			spaceWays[way].delete(r)
			dbtest.Must(t, r.db.Flush(context.Background()))
			r.waitBelow(peak)
			after := r.db.Metrics()
			if n := after.IO.Tables.BytesRead + after.IO.Values.BytesRead - before.IO.Tables.BytesRead - before.IO.Values.BytesRead; n > peak/50 {
				t.Errorf("%d bytes were read to delete %d", n, peak)
			}
			if n := after.Expired + after.RangeCovered - before.Expired - before.RangeCovered; n < int64(r.keys) {
				t.Errorf("%d entries were counted as gone, of %d", n, r.keys)
			}
		})
	}
}

// A range delete need not wait for the memtable to be full, in any keyspace, if
// it is worth a flush.
func TestSpaceComesBackWithoutAFlush(t *testing.T) {
	r := newSpaceRig(t)
	k, err := r.db.Keyspace("other", nil)
	dbtest.Must(t, err)
	r.fill(0)
	for n := range r.keys {
		dbtest.Must(t, k.Put(spaceKey(n), r.value(n)))
	}
	dbtest.Must(t, r.db.Flush(context.Background()))
	peak := r.used()
	dbtest.Must(t, k.DeleteRange(nil, nil))
	dbtest.Eventually(t, 30*time.Second, "one keyspace is gone", func() bool { return r.used() < peak*9/10 })
	dbtest.Must(t, r.db.DeleteRange(nil, nil))
	r.waitBelow(peak)

	flushes := r.db.Metrics().Flushes.Count
	dbtest.Must(t, r.db.Put([]byte("k"), []byte("v")))
	dbtest.Must(t, r.db.DeleteRange([]byte("a"), []byte("b")))
	time.Sleep(2500 * time.Millisecond) // beyond an idle look at what is due
	if n := r.db.Metrics().Flushes.Count; n != flushes {
		t.Errorf("%d flushes of a range delete that is worth none", n-flushes)
	}
}

// Nor need deletes of keys, nor values that replace larger ones.
func TestSpaceOfKeysComesBackWithoutAFlush(t *testing.T) {
	for name, hide := range map[string]func(db *seerdb.DB, key []byte) error{
		"deletes":    func(db *seerdb.DB, key []byte) error { return db.Delete(key) },
		"overwrites": func(db *seerdb.DB, key []byte) error { return db.Put(key, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits most of the time
			r := newSpaceRig(t, func(o *seerdb.Options) { o.MemtableSize, o.MemoryBudget = 16<<20, 64<<20 })
			for n := range r.keys {
				dbtest.Must(t, r.db.Put(spaceKey(n), bytes.Repeat(r.value(n), 4)))
			}
			dbtest.Must(t, r.db.Flush(context.Background()))
			peak := r.used()
			for n := range r.keys {
				dbtest.Must(t, hide(r.db, spaceKey(n)))
			}
			dbtest.Eventually(t, 30*time.Second, name+" free space", func() bool { return r.used() < peak/3 })

			// On a busy machine the last third may be in the memtable still, and worth a flush.
			dbtest.Must(t, r.db.Flush(context.Background()))
			flushes := r.db.Metrics().Flushes.Count
			dbtest.Must(t, r.db.Put([]byte("new"), []byte("v")))
			dbtest.Must(t, r.db.Delete([]byte("never there")))
			if !testing.Short() {
				time.Sleep(2500 * time.Millisecond) // beyond an idle look at what is due
			}
			if n := r.db.Metrics().Flushes.Count; n != flushes {
				t.Errorf("%d flushes of what is worth none", n-flushes)
			}
			dbtest.Must(t, r.db.Close())
		})
	}
}

// Who writes a little all the time, and flushes nothing, does not keep what has
// expired.
func TestSpaceComesBackUnderFewWrites(t *testing.T) {
	r := newSpaceRig(t)
	r.fill(time.Hour)
	peak := r.used()
	for n := range 300 {
		if n == 50 {
			r.clock.Add(2 * time.Hour)
		}
		dbtest.Must(t, r.db.Put([]byte("tick"), nil))
		if r.used() < peak/100 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%d of %d bytes are left", r.used(), peak)
}

// What lives among much that has expired is kept, for the cost of itself.
func TestSpaceOfMostComesBack(t *testing.T) {
	r := newSpaceRig(t)
	var live []string
	r.load(func(k, v []byte) error {
		if bytes.HasSuffix(k, []byte("77")) {
			live = append(live, string(k))
			return r.db.Put(k, []byte("lives"))
		}
		return r.db.PutTTL(k, v, time.Hour)
	})
	peak := r.used()
	r.clock.Add(time.Hour)
	dbtest.Eventually(t, 30*time.Second, "the space comes back", func() bool { return r.used() < peak/20 })
	slices.Sort(live)
	live = slices.Compact(live)
	got := dbtest.Contents(t, r.db)
	if len(got) != len(live) {
		t.Fatalf("%d keys, want %d", len(got), len(live))
	}
	for i, k := range live {
		if got[i] != k+"=lives" {
			t.Fatalf("%q instead of %s", got[i], k)
		}
	}
	if m := r.db.Metrics(); m.Expired == 0 {
		t.Errorf("%v", m.CompactionsByReason)
	}
}
