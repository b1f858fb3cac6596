package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/merger"
	"github.com/seerdb-go/seerdb/observe"
)

// Files that cannot be opened, for there is no descriptor or the directory cannot be
// reached, fail what needs them and nothing else, with the error of the system; and
// all works again when they can. Here that is checked for every operation in every
// mode.

// opensFail are the ways in which files cannot be opened.
var opensFail = []struct {
	name  string
	rule  faultfs.Rule
	again bool // is much like the one before it
}{
	{"no descriptor in the process", faultfs.Rule{Op: faultfs.OpCreate | faultfs.OpOpen | faultfs.OpList | faultfs.OpLock, Err: syscall.EMFILE}, false},
	{"no descriptor in the system", faultfs.Rule{Op: faultfs.OpCreate | faultfs.OpOpen | faultfs.OpList | faultfs.OpLock, Err: syscall.ENFILE}, true},
	{"no directory", faultfs.Rule{Op: faultfs.OpCreate | faultfs.OpOpen | faultfs.OpList | faultfs.OpLock | faultfs.OpStat | faultfs.OpRename | faultfs.OpRemove | faultfs.OpMkdir, Err: syscall.ENOENT}, false},
	{"a stale directory", faultfs.Rule{Op: faultfs.OpCreate | faultfs.OpOpen | faultfs.OpList | faultfs.OpLock | faultfs.OpStat | faultfs.OpRename | faultfs.OpRemove | faultfs.OpMkdir, Err: syscall.ESTALE}, true},
}

// unreachable is a database whose files cannot be opened at times, and what it holds.
type unreachable struct {
	*dbtest.Rig
	want   map[string]string
	spaces map[string]bool
	n      int   // commits so far
	cause  error // why files cannot be opened
	at     string
	on     vfs.FS
}

var everyMode = []seerdb.Durability{seerdb.Sync, seerdb.Buffered, seerdb.Relaxed, seerdb.NoWAL}

// newUnreachable makes a database with rows in a table, in a value file and in the
// memtable. It reads each from its file each time.
func newUnreachable(t *testing.T, mode seerdb.Durability, at string, on vfs.FS, cause error) *unreachable {
	u := &unreachable{want: map[string]string{}, spaces: map[string]bool{"old": true}, at: at, on: on, cause: cause}
	u.Rig = &dbtest.Rig{TB: t}
	u.Options, u.Test = dbtest.Tiny()
	u.Options.Durability, u.Options.Merger, u.Options.OpenFiles, u.Test.NoCache = mode, merger.Append{Sep: ","}, 1, true
	u.Options.MemtableSize = 64 << 10
	dbtest.Must(t, u.open())
	t.Cleanup(func() { _ = u.DB.Close() })
	_, err := u.DB.Keyspace("old", nil)
	dbtest.Must(t, err)
	for i := range 20 {
		dbtest.Must(t, u.set(fmt.Sprintf("table%02d", i), strings.Repeat("v", 10+i%2*300)))
	}
	dbtest.Must(t, u.Flush())
	for i := range 5 {
		dbtest.Must(t, u.set(fmt.Sprintf("memory%02d", i), "v"))
	}
	return u
}

// onFault is a database in memory whose files cannot be opened while the rule acts.
func onFault(t *testing.T, mode seerdb.Durability, cause error) *unreachable {
	mem := memfs.New()
	fault := faultfs.New(mem)
	u := newUnreachable(t, mode, "db", fault, cause)
	u.Mem, u.Fault = mem, fault
	t.Cleanup(fault.Clear)
	return u
}

func (u *unreachable) open() (err error) {
	to := u.Test
	to.FS = u.on
	db, err := seerdb.Open(u.at, dbtest.With(u.Options, to))
	if err == nil {
		u.DB = db
	}
	return err
}

func (u *unreachable) set(key, value string) error {
	err := u.DB.Put([]byte(key), []byte(value))
	if err == nil {
		u.want[key] = value
	}
	return err
}

func (u *unreachable) fresh(prefix string) string { u.n++; return fmt.Sprintf("%s%05d", prefix, u.n) }

// answer is what an operation may return while files cannot be opened.
type answer int

const (
	works answer = iota // nil
	fails               // the cause
	may                 // either
)

type unreachableOp struct {
	name  string
	want  answer
	fills bool // commits, until one fails
	do    func(u *unreachable) error
}

// read compares what an operation read with what is there.
func (u *unreachable) read(key string, get func(k []byte) ([]byte, error)) error {
	u.Helper()
	v, err := get([]byte(key))
	want, there := u.want[key]
	switch {
	case errors.Is(err, seerdb.ErrNotFound) && !there:
		return nil
	case err == nil && (!there || string(v) != want):
		u.Errorf("%s is %.20q; want %.20q", key, v, want)
	case errors.Is(err, seerdb.ErrNotFound):
		u.Errorf("%s is not found", key)
	}
	return err
}

func (u *unreachable) load(unsorted bool) error {
	n := 300 // unsorted, more than is sorted in memory
	rows := map[string]string{}
	for range n {
		rows[u.fresh("load")] = strings.Repeat("l", 300)
	}
	keys := slices.Sorted(maps.Keys(rows))
	_, err := u.DB.BulkLoad(context.Background(), func(yield func(k, v []byte) bool) {
		for _, k := range keys {
			if !yield([]byte(k), []byte(rows[k])) {
				return
			}
		}
	}, &seerdb.BulkOptions{Unsorted: unsorted})
	if err == nil {
		maps.Copy(u.want, rows)
	}
	return err
}

// scan reads everything, and compares it with what is there.
func (u *unreachable) scan() error {
	u.Helper()
	got := map[string]string{}
	rows := u.DB.Range(nil, nil)
	for k, v := range rows.All() {
		got[string(k)] = string(v)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if !maps.Equal(got, u.want) {
		for k, v := range u.want {
			if got[k] != v {
				u.Errorf("%s is %.20q; want %.20q", k, got[k], v)
			}
		}
		for k := range got {
			if _, ok := u.want[k]; !ok {
				u.Errorf("%s is there", k)
			}
		}
	}
	return nil
}

var unreachableOps = []unreachableOp{
	{"Get of the memtable", works, false, func(u *unreachable) error { return u.read("memory00", u.DB.Get) }},
	{"Get of a table", may, false, func(u *unreachable) error { return u.read("table00", u.DB.Get) }},
	{"Get of a value file", may, false, func(u *unreachable) error { return u.read("table01", u.DB.Get) }},
	{"Get of what is not there", may, false, func(u *unreachable) error { return u.read("table00x", u.DB.Get) }},
	{"scan", may, false, (*unreachable).scan},
	{"Snapshot", may, false, func(u *unreachable) error {
		s := u.DB.NewSnapshot()
		defer s.Close()
		return errors.Join(u.read("memory00", s.Get), u.read("table00", s.Get))
	}},
	{"Put", works, false, func(u *unreachable) error { return u.set(u.fresh("put"), "v") }},
	{"Delete", works, false, func(u *unreachable) error {
		err := u.DB.Delete([]byte("table02"))
		if err == nil {
			delete(u.want, "table02")
		}
		return err
	}},
	{"DeleteRange", works, false, func(u *unreachable) error {
		err := u.DB.DeleteRange([]byte("table03"), []byte("table05"))
		if err == nil {
			delete(u.want, "table03")
			delete(u.want, "table04")
		}
		return err
	}},
	{"Merge", works, false, func(u *unreachable) error {
		err := u.DB.Merge([]byte("table06"), []byte("m"))
		if err == nil {
			u.want["table06"] += ",m"
		}
		return err
	}},
	{"PutIfAbsent", may, false, func(u *unreachable) error {
		k := u.fresh("table0")
		done, err := u.DB.PutIfAbsent([]byte(k), []byte("v"))
		if err == nil && done {
			u.want[k] = "v"
		}
		return err
	}},
	{"Apply", works, false, func(u *unreachable) error {
		b := u.DB.NewBatch()
		k := u.fresh("batch")
		dbtest.Must(u, errors.Join(b.Put([]byte(k), []byte("1")), b.Put([]byte(k+"x"), []byte("2"))))
		err := u.DB.Apply(b, seerdb.DefaultDurability)
		if err == nil {
			u.want[k], u.want[k+"x"] = "1", "2"
		}
		return err
	}},
	{"Update", may, false, func(u *unreachable) error {
		k := u.fresh("txn")
		err := u.DB.Update(context.Background(), func(x *seerdb.Txn) error {
			if _, err := x.Get([]byte("table07")); err != nil {
				return err
			}
			return x.Put([]byte(k), []byte("v"))
		})
		if err == nil {
			u.want[k] = "v"
		}
		return err
	}},
	{"Update without reads", works, false, func(u *unreachable) error {
		k := u.fresh("txn")
		err := u.DB.Update(context.Background(), func(x *seerdb.Txn) error { return x.Put([]byte(k), []byte("v")) })
		if err == nil {
			u.want[k] = "v"
		}
		return err
	}},
	{"commits until the memtable is full", fails, true, func(u *unreachable) error {
		for range 3000 {
			if err := u.set(u.fresh("fill"), strings.Repeat("f", 100)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"Sync", works, false, func(u *unreachable) error {
		err := u.DB.Sync()
		if u.Options.Durability == seerdb.NoWAL && errors.Is(err, seerdb.ErrInvalidOptions) {
			return nil
		}
		return err
	}},
	{"Keyspace", may, false, func(u *unreachable) error {
		name := u.fresh("space")
		_, err := u.DB.Keyspace(name, nil)
		if err == nil {
			u.spaces[name] = true
		}
		return err
	}},
	{"DropKeyspace", may, false, func(u *unreachable) error {
		err := u.DB.DropKeyspace("old")
		if err == nil {
			delete(u.spaces, "old")
		} else if errors.Is(err, seerdb.ErrNoKeyspace) && !u.spaces["old"] {
			err = nil
		}
		return err
	}},
	{"Flush", fails, false, func(u *unreachable) error { return u.Flush() }},
	{"Compact", fails, false, func(u *unreachable) error { return u.DB.Compact(context.Background(), nil, nil) }},
	{"sorted BulkLoad", fails, false, func(u *unreachable) error { return u.load(false) }},
	{"unsorted BulkLoad", fails, false, func(u *unreachable) error { return u.load(true) }},
	{"Verify", fails, false, func(u *unreachable) error {
		report, err := u.DB.Verify(context.Background())
		if len(report.Damage) > 0 {
			u.Errorf("Verify reports damage: %v", report.Damage)
		}
		return err
	}},
	{"Metrics", works, false, func(u *unreachable) error { u.DB.Metrics(); return nil }},
	{"IndexMetrics", may, false, func(u *unreachable) error { _, err := u.DB.IndexMetrics(context.Background()); return err }},
	{"Close", may, false, func(u *unreachable) error {
		err := u.DB.Close()
		u.closed(err)
		return err
	}},
	{"Close and Open", fails, false, func(u *unreachable) error {
		u.closed(u.DB.Close())
		return u.open()
	}},
}

// closed notes that Close failed: then what had no log may be lost.
func (u *unreachable) closed(err error) {
	if err != nil && u.Options.Durability == seerdb.NoWAL {
		u.want = nil
	}
}

// is checks the answer of an operation while files cannot be opened, or sometimes
// cannot, and what Health says.
func (u *unreachable) is(op *unreachableOp, err error, sometimes bool) {
	u.Helper()
	switch {
	case err == nil && op.want == fails && !sometimes:
		u.Errorf("%s works", op.name)
	case err != nil && op.want == works && !sometimes: // else it may have been flushed before
		u.Errorf("%s: %v", op.name, err)
	case err != nil && !errors.Is(err, u.cause):
		u.Errorf("%s, without the cause: %v", op.name, err)
	}
	for _, class := range []error{
		seerdb.ErrCommitUnknown, seerdb.ErrReadOnly, seerdb.ErrNoSpace, seerdb.ErrCorruption, seerdb.ErrNotExist, seerdb.ErrClosed, seerdb.ErrLocked, seerdb.ErrConflict,
	} {
		if errors.Is(err, class) {
			u.Errorf("%s is taken for %q: %v", op.name, class, err)
		}
	}
	switch h := u.DB.Health(); {
	case errors.Is(h.Err, seerdb.ErrClosed):
		return
	case h.Status == observe.ReadOnly:
		u.Errorf("after %s the database is read-only: %+v", op.name, h)
	case h.Err != nil && !errors.Is(h.Err, u.cause):
		u.Errorf("after %s Health has another error: %v", op.name, h.Err)
	case sometimes: // the next commit may be lucky
	case op.fills: // a smaller one may still fit
		if h.Err == nil {
			u.Errorf("after %s Health says that commits work", op.name)
		}
	default:
		if err := u.set(u.fresh("next"), "v"); (err == nil) != (h.Err == nil) {
			u.Errorf("after %s Health says that the next commit meets %v; it meets %v", op.name, h.Err, err)
		}
	}
}

// recovers checks that everything works once files can be opened.
func (u *unreachable) recovers(after string) {
	u.Helper()
	u.reopened(after)
	deadline := time.Now().Add(5 * time.Second)
	for _, op := range unreachableOps {
		if op.fills || strings.HasPrefix(op.name, "Close") {
			continue
		}
		err := op.do(u)
		for ; err != nil && errors.Is(err, u.cause) && time.Now().Before(deadline); err = op.do(u) {
			time.Sleep(5 * time.Millisecond) // a job that failed waits before it tries again
		}
		if err != nil {
			u.Fatalf("%s after %s: %v", op.name, after, err)
		}
	}
	if h := u.DB.Health(); h.Err != nil {
		u.Errorf("health after %s: %+v", after, h)
	}
}

// reopened opens the database again if it is closed.
func (u *unreachable) reopened(after string) {
	u.Helper()
	if !errors.Is(u.DB.Health().Err, seerdb.ErrClosed) {
		return
	}
	if err := u.open(); err != nil {
		u.Fatalf("opening after %s: %v", after, err)
	}
	if u.want == nil {
		u.want = map[string]string{}
		for k, v := range u.DB.Range(nil, nil).All() {
			u.want[string(k)] = string(v)
		}
	}
}

// survives checks a database on another disk.
func (u *unreachable) survives(after *dbtest.Rig, what string) {
	u.Helper()
	v := &unreachable{Rig: after, want: u.want}
	dbtest.Must(u, v.scan())
	after.Clean()
	names, err := after.DB.Keyspaces()
	dbtest.Must(u, err)
	for _, name := range names {
		if !u.spaces[name] && name != "" {
			u.Errorf("%s: keyspace %s is there", what, name)
		}
		delete(u.spaces, name)
	}
	if len(u.spaces) > 0 {
		u.Errorf("%s: keyspaces are missing: %v", what, u.spaces)
	}
	dbtest.Must(u, after.DB.Close())
}

// acknowledged checks that a power cut now loses nothing that the mode promises.
func (u *unreachable) acknowledged(what string) {
	u.Helper()
	keep, ok := map[seerdb.Durability]float64{seerdb.Sync: 0, seerdb.Buffered: 1}[u.Options.Durability]
	if !ok {
		return
	}
	v := &unreachable{Rig: u.Disk(keep), want: u.want}
	if err := v.TryOpen(); err != nil {
		u.Fatalf("opening what %s leaves: %v", what, err)
	}
	dbtest.Must(u, v.scan())
	dbtest.Must(u, v.DB.Close())
}

// TestFilesThatCannotBeOpened meets each operation with files that cannot be opened.
func TestFilesThatCannotBeOpened(t *testing.T) {
	for _, f := range opensFail {
		for i, mode := range everyMode {
			if i > 0 && (testing.Short() || f.again) {
				break
			}
			t.Run(fmt.Sprint(f.name, ", ", mode), func(t *testing.T) {
				t.Parallel()
				for i := range unreachableOps {
					op := &unreachableOps[i]
					u := onFault(t, mode, f.rule.Err)
					fired := u.Fault.Inject(f.rule)
					err := op.do(u)
					if op.want == fails && fired.Count() == 0 {
						t.Errorf("%s opens nothing", op.name)
					}
					u.is(op, err, false)
					if h := u.DB.Health(); vfs.IsTooManyFiles(f.rule.Err) && fired.Count() > 0 && h.Status == observe.OK {
						t.Errorf("after %s Health does not say that the system refuses descriptors: %+v", op.name, h)
					}
					u.acknowledged(op.name)
					u.Fault.Clear()
					u.recovers(op.name)
					dbtest.Must(t, u.DB.Close())
					u.survives((&dbtest.Rig{TB: t, Mem: u.Mem, Options: u.Options, Test: u.Test}).Open(), op.name)
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// TestSomeFilesCannotBeOpened: each second, third ... file cannot be opened while all
// operations go on, some beside a failed one before them.
func TestSomeFilesCannotBeOpened(t *testing.T) {
	for _, f := range opensFail {
		if f.again || f.rule.Op&faultfs.OpStat != 0 {
			continue // a file that cannot be reached beside others that can is damage
		}
		for _, mode := range everyMode {
			t.Run(fmt.Sprint(f.name, ", ", mode), func(t *testing.T) {
				t.Parallel()
				for _, n := range everyNth() {
					u := onFault(t, mode, f.rule.Err)
					rule := f.rule
					rule.Every = n
					for range 2 {
						for i := range unreachableOps {
							op := &unreachableOps[i]
							fired := u.Fault.Inject(rule)
							u.is(op, op.do(u), true)
							if i%8 == n%8 {
								u.acknowledged(op.name)
							}
							rule.Skip = (rule.Skip + fired.Matched()) % n // go on counting
							u.Fault.Clear()
							u.reopened(op.name)
						}
					}
					u.recovers(fmt.Sprintf("each file number %d failed", n))
					dbtest.Must(t, u.DB.Close())
					u.survives((&dbtest.Rig{TB: t, Mem: u.Mem, Options: u.Options, Test: u.Test}).Open(), f.name)
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// everyNth is which files fail.
func everyNth() []int {
	if testing.Short() {
		return []int{3}
	}
	return []int{2, 3, 7}
}
