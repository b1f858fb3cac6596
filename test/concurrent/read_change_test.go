package concurrent

// Reads of every sort beside every change of what they read from: memtables that
// are switched, flushed, compacted, loads that take their place, keyspaces that
// are dropped, closing and reopening, a failure that makes the database
// read-only. One writer commits batch after batch; batch i makes every row say i,
// so a reader can tell which commit it sees, and that it sees all of it and
// nothing else. Merged counters are among the rows: they tell a source that is
// read twice from one that is read once.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
)

// allReads are the reads that a database, a keyspace, a snapshot and a
// transaction have in common.
type allReads interface {
	Get(key []byte) ([]byte, error)
	AppendGet(dst, key []byte) ([]byte, error)
	Has(key []byte) (bool, error)
	Expiry(key []byte) (time.Time, bool, error)
	NewIter(*seerdb.IterOptions) (*seerdb.Iter, error)
	Range(lo, hi []byte) *seerdb.Rows
	Prefix(p []byte) *seerdb.Rows
}

// beside is a database that is read and changed at once.
type beside struct {
	testing.TB
	mem          *memfs.FS
	fs           *faultfs.FS
	o            *seerdb.Options
	db           atomic.Pointer[seerdb.DB] // replaced by a reopening
	other        atomic.Pointer[seerdb.Keyspace]
	begun, acked atomic.Int64 // the newest batch that was begun, and acknowledged
	loads        atomic.Int64 // loads that were begun
	reads        atomic.Int64
	stop         atomic.Bool
	closing      atomic.Bool // reads and writes may be answered with ErrClosed
}

func newBeside(t testing.TB, d seerdb.Durability) *beside {
	r := &beside{TB: t, mem: memfs.New()}
	r.fs = faultfs.New(r.mem)
	o, to := dbtest.Tiny()
	o.MemtableSize, o.Durability, o.Merger, to.FS = 32<<10, d, merger.Counter{}, r.fs
	r.o = dbtest.With(o, to)
	r.open()
	// Steps of a change take their time, so that readers see what is between them.
	for _, op := range []faultfs.OpKind{faultfs.OpCreate, faultfs.OpRemove, faultfs.OpSync} {
		r.fs.Inject(faultfs.Rule{Op: op, Path: "0*", Delay: 200 * time.Microsecond})
	}
	return r
}

func (r *beside) open() {
	db, err := seerdb.Open("db", r.o)
	dbtest.Must(r, err)
	k, err := db.Keyspace("other", &seerdb.KeyspaceOptions{Merger: merger.Counter{}})
	dbtest.Must(r, err)
	r.other.Store(k)
	r.db.Store(db)
}

// number is a row's value that says i; every third lies in a value file.
func number(i int64) []byte {
	return fmt.Appendf(nil, "%0*d", 8+int(i%3/2)*250, i)
}

// write commits batch i.
func (r *beside) write(i int64) error {
	db := r.db.Load()
	b := db.NewBatch()
	for _, in := range []interface {
		Put(k, v []byte) error
		PutTTL(k, v []byte, d time.Duration) error
		Merge(k, v []byte) error
		Delete(k []byte) error
		DeleteRange(lo, hi []byte) error
	}{b, b.In(r.other.Load())} {
		count := func() error { return in.Merge([]byte("count"), merger.AppendInt64(nil, 1)) }
		based := in.Merge
		if i%40 == 1 { // begins anew
			based = in.Put
		}
		onBase := merger.AppendInt64(nil, 1)
		if i%40 == 1 {
			onBase = merger.AppendInt64(nil, i)
		}
		there := func() error { return in.Put([]byte("parity"), number(i)) }
		if i%2 == 0 {
			there = func() error { return in.Delete([]byte("parity")) }
		}
		dbtest.Must(r, errors.Join(count(), based([]byte("based"), onBase), there(),
			in.DeleteRange([]byte("range"), []byte("rangf")), in.Put(fmt.Appendf(nil, "range%d", i%9), number(i)),
			in.Put([]byte("row"), number(i)), in.PutTTL([]byte("timed"), number(i), time.Hour),
			in.Put(fmt.Appendf(nil, "zfill%d", i%50), make([]byte, 150))))
	}
	return db.Apply(b, seerdb.DefaultDurability)
}

// rows is what batch i leaves, without the filling.
func rowsOf(i int64) map[string]int64 {
	want := map[string]int64{"count": i, "based": i, fmt.Sprintf("range%d", i%9): i, "row": i, "timed": i}
	if i%2 == 1 {
		want["parity"] = i
	}
	return want
}

// saysOf reads the number that a row says.
func saysOf(key string, value []byte) (int64, error) {
	if key == "count" || key == "based" {
		return merger.Int64(value)
	}
	return strconv.ParseInt(string(value), 10, 64)
}

// fine reports whether a read may end so; it fails the test if not.
func (r *beside) fine(what string, err error) bool {
	if err != nil && !(r.closing.Load() && errors.Is(err, seerdb.ErrClosed)) {
		r.Errorf("%s: %v", what, err)
	}
	return err == nil
}

// points reads single keys. Each tells a commit no older than the newest one
// acknowledged before, and no newer than the newest one begun by its end.
func (r *beside) points(name string, src allReads) {
	for _, key := range []string{"count", "based", "row", "timed"} {
		k := []byte(key)
		for how, get := range map[string]func() ([]byte, error){
			"Get":       func() ([]byte, error) { return src.Get(k) },
			"AppendGet": func() ([]byte, error) { return src.AppendGet(nil, k) },
			"GetFunc": func() (v []byte, err error) {
				f, ok := src.(interface {
					GetFunc([]byte, func([]byte) error) error
				})
				if !ok {
					return src.Get(k)
				}
				err = f.GetFunc(k, func(b []byte) error { v = bytes.Clone(b); return nil })
				return v, err
			},
		} {
			lo := r.acked.Load()
			v, err := get()
			if !r.fine(name+" "+how+" "+key, err) {
				continue
			}
			r.between(fmt.Sprint(name, " ", how, " ", key), key, v, lo)
		}
		if ok, err := src.Has(k); r.fine(name+" Has "+key, err) && !ok {
			r.Errorf("%s: %s is not there", name, key)
		}
		at, expires, err := src.Expiry(k)
		if r.fine(name+" Expiry "+key, err) && (expires != (key == "timed") || expires && time.Until(at) > time.Hour+time.Second) {
			r.Errorf("%s: %s expires: %v, at %v", name, key, expires, at)
		}
	}
}

func (r *beside) between(what, key string, v []byte, lo int64) {
	i, err := saysOf(key, v)
	if hi := r.begun.Load(); err != nil || i < lo || i > hi {
		r.Errorf("%s: %d (%v), want %d to %d", what, i, err, lo, hi)
	}
	r.reads.Add(1)
}

// whole checks that rows are those of one commit, not older than lo.
func (r *beside) whole(what string, got map[string]int64, lo int64, keysOnly bool) {
	i := got["row"]
	if keysOnly {
		for k := range got {
			if _, err := fmt.Sscanf(k, "range%d", new(int)); err == nil {
				return // which commit it is cannot be told
			}
		}
		r.Errorf("%s: the keys are %v", what, got)
		return
	}
	if hi := r.begun.Load(); i < lo || i > hi {
		r.Errorf("%s: commit %d, want %d to %d", what, i, lo, hi)
	}
	if want := rowsOf(i); fmt.Sprint(want) != fmt.Sprint(got) {
		r.Errorf("%s: %v, want %v", what, got, want)
	}
	r.reads.Add(1)
}

// scans reads all rows in every way. What src reads is not older than since, or,
// if that is 0, than the newest commit acknowledged before each scan.
func (r *beside) scans(name string, src allReads, since int64) {
	for _, how := range []string{"forward", "backward", "keys", "iterator", "back and forth"} {
		lo, got := since, map[string]int64{}
		if lo == 0 {
			lo = r.acked.Load()
		}
		what := name + " " + how
		add := func(k, v []byte) {
			if bytes.HasPrefix(k, []byte("z")) || bytes.HasPrefix(k, []byte("load")) {
				return
			}
			if _, twice := got[string(k)]; twice {
				r.Errorf("%s: %q is shown twice", what, k)
			}
			n, err := int64(0), error(nil)
			if how != "keys" {
				n, err = saysOf(string(k), v)
			}
			if got[string(k)] = n; err != nil {
				r.Errorf("%s: %q says %q: %v", what, k, v, err)
			}
		}
		var err error
		switch rows := src.Range(nil, nil); how {
		case "forward":
			for k, v := range rows.All() {
				add(k, v)
			}
			err = rows.Err()
		case "backward":
			for k, v := range rows.Backward() {
				add(k, v)
			}
			err = rows.Err()
		case "keys":
			for k := range rows.Keys() {
				add(k, nil)
			}
			err = rows.Err()
		default:
			err = walkAll(src, how == "iterator", add)
		}
		if r.fine(what, err) {
			r.whole(what, got, lo, how == "keys")
		}
	}
}

// walkAll shows every row once, by Next alone or by turning around at each.
func walkAll(src allReads, straight bool, add func(k, v []byte)) error {
	it, err := src.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		add(it.Key(), it.Value())
		if !straight && it.Next() && !it.Prev() {
			break
		}
		if !it.Valid() {
			break // that was the last one
		}
	}
	return it.Close()
}

// readers read until they are stopped, or the database is closed.
func (r *beside) readers(wg *sync.WaitGroup) {
	loop := func(f func(db *seerdb.DB)) {
		wg.Go(func() {
			for !r.stop.Load() && !r.Failed() {
				f(r.db.Load())
			}
		})
	}
	loop(func(db *seerdb.DB) { r.points("db", db); r.points("keyspace", r.other.Load()) })
	loop(func(db *seerdb.DB) { r.scans("db", db, 0); r.scans("keyspace", r.other.Load(), 0) })
	loop(func(db *seerdb.DB) {
		lo, k, s := r.acked.Load(), r.other.Load(), db.NewSnapshot()
		defer func() { _ = s.Close() }()
		r.atOneMoment("snapshot", s, s.In(k), lo)
	})
	loop(func(db *seerdb.DB) {
		lo, k := r.acked.Load(), r.other.Load()
		x, err := db.Begin(&seerdb.TxnOptions{ReadOnly: r.reads.Load()%2 == 0})
		if r.fine("Begin", err) {
			defer x.Rollback()
			r.atOneMoment("transaction", x, x.In(k), lo)
			r.ownOperand(x)
		}
	})
}

// atOneMoment reads both keyspaces, which must tell the same commit.
func (r *beside) atOneMoment(name string, a, b allReads, lo int64) {
	r.scans(name, a, lo)
	r.scans(name+" of a keyspace", b, lo)
	var said []int64
	for _, src := range []allReads{a, b} {
		for _, key := range []string{"count", "row", "timed", "based"} {
			v, err := src.Get([]byte(key))
			if !r.fine(name, err) {
				return
			}
			n, err := saysOf(key, v)
			if said = append(said, n); err != nil || n != said[0] || n < lo || n > r.begun.Load() {
				r.Errorf("%s: rows tell commits %v (%v), at least %d", name, said, err, lo)
			}
		}
	}
}

// ownOperand adds an operand of a transaction's own.
func (r *beside) ownOperand(x *seerdb.Txn) {
	before, err := x.Get([]byte("count"))
	if !r.fine("Get", err) || x.Merge([]byte("count"), merger.AppendInt64(nil, 1000)) != nil {
		return // read-only
	}
	after, err := x.Get([]byte("count"))
	if !r.fine("Get", err) {
		return
	}
	n, _ := merger.Int64(before)
	if m, err := merger.Int64(after); err != nil || m != n+1000 {
		r.Errorf("a transaction's own operand on %d makes %d (%v)", n, m, err)
	}
}

// writer commits until it is stopped, or refused.
func (r *beside) writer(wg *sync.WaitGroup, refused func(error) bool) {
	wg.Go(func() {
		for i := r.acked.Load() + 1; !r.stop.Load() && !r.Failed(); i++ {
			r.begun.Store(i)
			if err := r.write(i); err != nil {
				r.begun.Store(i - 1) // it will not be seen
				if !refused(err) {
					r.Errorf("commit %d: %v", i, err)
				}
				return
			}
			r.acked.Store(i)
		}
	})
}

// TestReadsBesideChanges: see the head of the file.
func TestReadsBesideChanges(t *testing.T) {
	ctx := context.Background()
	compact := func(r *beside) error {
		return errors.Join(r.db.Load().Compact(ctx, nil, nil), r.other.Load().Compact(ctx, nil, nil))
	}
	load := func(r *beside) error {
		n := number(r.loads.Add(1))
		_, err := r.db.Load().BulkLoad(ctx, func(yield func(k, v []byte) bool) { yield([]byte("load"), n) }, nil)
		v, gerr := r.db.Load().Get([]byte("load"))
		if gerr != nil || !bytes.Equal(v, n) {
			r.Errorf("after a load: %q, %v, want %q", v, gerr, n)
		}
		return err
	}
	drop := func(r *beside) error {
		k, err := r.db.Load().Keyspace("short", nil)
		if err != nil {
			return err
		}
		return errors.Join(k.Put([]byte("a"), number(2)), r.db.Load().DropKeyspace("short"))
	}
	for name, change := range map[string]func(*beside) error{
		"put":     func(*beside) error { time.Sleep(time.Millisecond); return nil },
		"flush":   func(r *beside) error { return r.db.Load().Flush(ctx) },
		"compact": compact, "load": load, "drop": drop,
		"everything": func(r *beside) error {
			return errors.Join(r.db.Load().Flush(ctx), load(r), drop(r), compact(r))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newBeside(t, seerdb.Relaxed)
			dbtest.Must(t, r.write(1))
			r.begun.Store(1)
			r.acked.Store(1)
			var wg sync.WaitGroup
			r.readers(&wg)
			r.writer(&wg, func(error) bool { return false })
			for end := time.Now().Add(time.Duration(dbtest.Some(400)) * time.Millisecond); time.Now().Before(end) && !t.Failed(); {
				dbtest.Must(t, change(r))
			}
			r.stop.Store(true)
			wg.Wait()
			dbtest.Must(t, r.db.Load().Close())
			if r.reads.Load() == 0 || r.acked.Load() < 2 {
				t.Errorf("%d reads, %d commits", r.reads.Load(), r.acked.Load())
			}
		})
	}
}

// TestReadsBesideClose: while Close flushes, a read is right or ErrClosed, and
// what was acknowledged is there after reopening.
func TestReadsBesideClose(t *testing.T) {
	for _, d := range []seerdb.Durability{seerdb.NoWAL, seerdb.Relaxed, seerdb.Sync} {
		t.Run(d.String(), func(t *testing.T) {
			r := newBeside(t, d)
			for round := range dbtest.Some(24) {
				if round > 0 {
					r.open()
				}
				i := r.acked.Load() + 1
				dbtest.Must(t, r.write(i))
				r.begun.Store(i)
				r.acked.Store(i)
				if d != seerdb.NoWAL { // Close flushes what is much of a log
					dbtest.Must(t, r.db.Load().Put([]byte("zlarge"), make([]byte, 2<<20)))
				}
				r.stop.Store(false)
				r.closing.Store(false)
				var wg sync.WaitGroup
				r.readers(&wg)
				r.writer(&wg, func(err error) bool { return errors.Is(err, seerdb.ErrClosed) })
				time.Sleep(time.Duration(round%4) * time.Millisecond)
				r.closing.Store(true)
				err := r.db.Load().Close()
				r.stop.Store(true)
				wg.Wait()
				if err != nil && !errors.Is(err, seerdb.ErrLeaked) {
					t.Fatal(err)
				}
				if t.Failed() {
					return
				}
			}
			if r.reads.Load() == 0 {
				t.Error("nothing was read")
			}
		})
	}
}

// TestReadsBesidePoison: a failed sync ends writing, and no read notices.
func TestReadsBesidePoison(t *testing.T) {
	for range dbtest.Some(8) {
		r := newBeside(t, seerdb.Sync)
		dbtest.Must(t, r.write(1))
		r.begun.Store(1)
		r.acked.Store(1)
		var readers, writer sync.WaitGroup
		r.readers(&readers)
		r.writer(&writer, func(err error) bool {
			return errors.Is(err, seerdb.ErrReadOnly) || errors.Is(err, seerdb.ErrCommitUnknown)
		})
		time.Sleep(3 * time.Millisecond)
		r.mem.FailSync("*.wal", memfs.SyncForgets, syscall.EIO)
		writer.Wait()
		time.Sleep(3 * time.Millisecond)
		r.stop.Store(true)
		readers.Wait()
		if err := r.db.Load().Close(); err == nil {
			t.Error("Close of a database that a failed sync made read-only says nothing")
		}
	}
}
