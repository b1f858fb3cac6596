package crash

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// moves is a database in which each transaction moves a row to a new keyspace and
// drops the one where it was. It writes its number there, in the default keyspace
// and in one that stays; a commit without keyspaces follows.
type moves struct {
	o              seerdb.Options
	to             dbtest.TestOptions
	db             *seerdb.DB
	begun, moved   int // transactions
	plain, settled int // commits that followed: acknowledged, and before a transaction that is
}

func (m *moves) abandon() {
	if m.db != nil {
		_ = m.db.Close()
	}
}

func newMoves(fs vfs.FS, d seerdb.Durability) *moves {
	m := new(moves)
	m.o, m.to = dbtest.Tiny()
	m.o.Durability, m.to.FS, m.to.ManualOnly = d, fs, true
	return m
}

func (m *moves) open() (err error) {
	m.db, err = seerdb.Open("db", dbtest.With(m.o, m.to))
	return err
}

// run moves n times.
func (m *moves) run(n int) error {
	for range n {
		if err := m.move(); err != nil {
			return err
		}
		if err := m.db.Put([]byte("plain"), strconv.AppendInt(nil, int64(m.moved), 10)); err != nil {
			return err
		}
		m.plain = m.moved
	}
	return nil
}

func (m *moves) move() error {
	i := m.moved + 1
	number := []byte(strconv.Itoa(i))
	stays, err := m.db.Keyspace("stays", nil)
	if err != nil {
		return err
	}
	x, err := m.db.Begin(nil)
	if err != nil {
		return err
	}
	defer x.Rollback()
	in, err := x.Keyspace("at "+string(number), nil)
	if err != nil {
		return err
	}
	err = errors.Join(
		in.Put([]byte("big"), []byte(strings.Repeat("big", 100))), in.Put([]byte("row"), number),
		x.Put([]byte("at"), number), x.In(stays).Put([]byte("at"), number))
	if err == nil && m.moved > 0 {
		err = x.DropKeyspace("at " + strconv.Itoa(m.moved))
	}
	if err == nil {
		m.begun = i
		err = x.Commit()
	}
	if err == nil {
		m.moved, m.settled = i, m.plain
	}
	return err
}

// numberAt reads a number, 0 for none.
func numberAt(r seerdb.Reader, key string) (int, error) {
	v, err := r.AppendGet(nil, []byte(key))
	if errors.Is(err, seerdb.ErrNotFound) {
		return 0, nil
	}
	n, _ := strconv.Atoi(string(v))
	return n, err
}

// check looks whether the database is that after one of the transactions, which it
// returns.
func (m *moves) check(db *seerdb.DB) (at int, err error) {
	if at, err = numberAt(db, "at"); err != nil {
		return 0, err
	}
	names, err := db.Keyspaces()
	if err != nil {
		return at, err
	}
	want := ""
	for _, name := range names {
		k, err := db.Keyspace(name, nil)
		if err != nil {
			return at, err
		}
		key := "row"
		if name == "stays" {
			key = "at"
		} else {
			want += name
			big, err := k.Get([]byte("big"))
			if err != nil || len(big) != 300 {
				return at, fmt.Errorf("%q has %d bytes: %w", name, len(big), err)
			}
		}
		if n, err := numberAt(k, key); n != at || err != nil {
			return at, fmt.Errorf("%q is at %d, the database at %d: %w", name, n, at, err)
		}
	}
	if at > 0 && want != fmt.Sprint("at ", at) {
		return at, fmt.Errorf("at %d the keyspaces are %q", at, names)
	}
	plain, err := numberAt(db, "plain")
	if err != nil || plain > at || at > 0 && plain < at-1 {
		return at, fmt.Errorf("at %d the commit without keyspaces is %d: %w", at, plain, err)
	}
	return at, nil
}

func (m *moves) survives(fs *memfs.FS) error {
	o := newMoves(fs, m.o.Durability)
	if err := o.open(); err != nil {
		return err
	}
	return o.db.Close()
}

func (m *moves) recoverOne(t *testing.T, fs *memfs.FS, what string) {
	t.Helper()
	after := newMoves(fs, m.o.Durability)
	if err := after.open(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	at, err := m.check(after.db)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if at < m.moved || at > m.begun {
		t.Fatalf("%s: it is at %d, %d were acknowledged of %d", what, at, m.moved, m.begun)
	}
	plain, err := numberAt(after.db, "plain")
	if err != nil || m.o.Durability == seerdb.Sync && plain < m.plain || plain < m.settled {
		t.Fatalf("%s: the commit without keyspaces is %d of %d, %d of them before a transaction: %v", what, plain, m.plain, m.settled, err)
	}
	after.begun, after.moved, after.plain = at, at, plain
	if err := after.run(1); err != nil { // numbers and names are free
		t.Fatalf("%s, then: %v", what, err)
	}
	if _, err := m.check(after.db); err != nil {
		t.Fatalf("%s, then: %v", what, err)
	}
	dbtest.BulkVerify(t, after.db)
	dbtest.Must(t, after.db.Close())
}

// TestTxnKeyspacesCrashSweep loses power at every operation on the file system.
func TestTxnKeyspacesCrashSweep(t *testing.T) {
	for _, d := range []seerdb.Durability{seerdb.Sync, seerdb.Relaxed, seerdb.NoWAL} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			crashSweep(t, func(fs *memfs.FS) (victim, func() error) {
				m := newMoves(fs, d)
				return m, func() error {
					return steps(m.open, func() error { return m.run(2) }, func() error { return m.db.Close() }, m.open, func() error { return m.run(1) })
				}
			})
		})
	}
}

// TestTxnKeyspacesErrorSweep makes every operation on the file system fail: the
// transaction is there or not, as its error says, and the next one works or says why
// not.
func TestTxnKeyspacesErrorSweep(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		for _, count := range []int{1, 0} {
			t.Run(fmt.Sprintf("%s, %d times", errno, count), func(t *testing.T) {
				t.Parallel()
				step, runs, definite := 1, 0, 0
				if testing.Short() || dbtest.RaceEnabled {
					step = 3
				}
				for k := 0; ; k += step {
					fired, failed := moveFault(t, faultfs.Rule{Op: faultfs.OpAll, Skip: k, Count: count, Err: errno, Short: errno == syscall.ENOSPC})
					if !fired {
						break
					}
					runs++
					if failed {
						definite++
					}
				}
				t.Logf("%d faults, %d failed transactions", runs, definite)
				if runs < 5 || definite < 3 {
					t.Fatal("hardly anything failed")
				}
			})
		}
	}
}

// moveFault moves while a rule holds.
func moveFault(t *testing.T, rule faultfs.Rule) (fired, failed bool) {
	mem := memfs.New()
	fault := faultfs.New(mem)
	m := newMoves(fault, seerdb.Sync)
	dbtest.Must(t, m.open())
	dbtest.Must(t, m.run(2))
	active := fault.Inject(rule)
	err := m.move()
	fired = active.Count() > 0
	fault.Clear()
	what := fmt.Sprintf("operation %d fails: %v", rule.Skip, err)
	if rule.Err == syscall.ENOSPC && err != nil && !errors.Is(err, seerdb.ErrNoSpace) && !errors.Is(err, seerdb.ErrCommitUnknown) && !errors.Is(err, seerdb.ErrReadOnly) {
		t.Fatalf("%s: that is not ErrNoSpace", what)
	}
	unknown := errors.Is(err, seerdb.ErrCommitUnknown)
	if at, cerr := m.check(m.db); cerr != nil || at != m.moved {
		t.Fatalf("%s: it is at %d of %d: %v", what, at, m.moved, cerr)
	}
	least := m.moved
	// A background job may have met the fault too, which ends writing.
	if rerr := m.run(1); rerr != nil && !errors.Is(rerr, seerdb.ErrReadOnly) {
		t.Fatalf("%s, then: %v", what, rerr)
	}
	least = max(least, m.moved)
	_ = m.db.Close()
	for _, keep := range []float64{0, 1} {
		disk := mem.CrashClone(memfs.CrashOptions{Keep: keep})
		after := newMoves(disk, seerdb.Sync)
		dbtest.Must(t, after.open())
		dbtest.BulkNoLeftovers(t, disk)
		at, cerr := m.check(after.db)
		if cerr != nil || at < least || at > least && !unknown {
			t.Fatalf("%s, reopened: it is at %d, %d were acknowledged: %v", what, at, least, cerr)
		}
		dbtest.BulkVerify(t, after.db)
		dbtest.Must(t, after.db.Close())
	}
	return fired, err != nil
}
