package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// outcome is what a caller knows of a commit.
type outcome int

const (
	acknowledged outcome = iota
	refused              // definitely not there, ever
	unknown              // not there now; after reopening wholly there or wholly not
	unread               // was unknown, and could not be read after reopening
)

// survivor is a database on a failing disk, and what its caller knows.
type survivor struct {
	*dbtest.Rig
	down     bool // the database could not be opened
	outcomes []outcome
}

// TestErrorSweep makes the first, second, third ... operation on the file
// system fail, once or from there on, through a life of opening, commits,
// flushes, compactions, reads, closing and reopening that goes on whatever
// happens. No read may answer wrongly during that; afterwards every acknowledged
// commit is there, no refused one is, and none is there by half.
func TestErrorSweep(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EMFILE} {
		ops := faultfs.OpAll
		if errno == syscall.EMFILE {
			ops = faultfs.OpCreate | faultfs.OpOpen | faultfs.OpList | faultfs.OpLock
		}
		for _, count := range []int{1, 0} {
			t.Run(fmt.Sprintf("%s, %s", errno, map[int]string{1: "once", 0: "for ever"}[count]), func(t *testing.T) {
				t.Parallel()
				step, runs := 2, 0
				if testing.Short() || dbtest.RaceEnabled {
					step = 11
				}
				if errno == syscall.EMFILE {
					step = (step + 1) / 4 // there are fewer of these operations
				}
				step = max(step, 1)
				for k := int(errno) % step; ; k += step {
					s := &survivor{Rig: &dbtest.Rig{TB: t, Mem: memfs.New()}}
					s.Options, s.Test = dbtest.Tiny()
					s.Options.MemtableSize, s.Options.ValueThreshold, s.Test.NoCache = 2<<10, 40, true
					s.Test.PackFrom, s.Test.PackedMax = 1-2*(k/step%2), 1<<10 // each second time most tables lie in packs
					what := fmt.Sprintf("operation %d fails", k+1)
					fired := s.live(what, faultfs.Rule{Op: ops, Skip: k, Count: count, Err: errno, Short: errno == syscall.ENOSPC})
					s.checkAfter(what)
					if !fired {
						break
					}
					runs++
				}
				if runs < 20 {
					t.Fatalf("only %d operations failed", runs)
				}
				t.Logf("%d runs", runs)
			})
		}
	}
}

// live is the life. It reports whether the rule did anything.
func (s *survivor) live(what string, r faultfs.Rule) bool {
	fault := faultfs.New(s.Mem)
	fired := fault.Inject(r)
	s.start(fault)
	for _, act := range []string{"ccccc", "f", "ccccc", "f", "ccc", "m", "cc", "r", "x", "ccc", "f", "cc", "m", "r", "x"} {
		for _, a := range act {
			switch {
			case a == 'x':
				if !s.down {
					_ = s.DB.Close()
				}
				s.start(fault)
			case s.down:
			case a == 'c':
				s.commit(what)
			case a == 'f':
				_ = s.Flush()
			case a == 'm':
				_ = s.DB.Compact(context.Background(), nil, nil)
			case a == 'r':
				s.readAll(what)
			}
		}
	}
	n := fired.Count()
	fault.Clear()
	if !s.down {
		_ = s.DB.Close()
	}
	return n > 0
}

// start opens the database, which settles what was unknown.
func (s *survivor) start(fault vfs.FS) {
	to := s.Test
	to.FS = fault
	db, err := seerdb.Open("db", dbtest.With(s.Options, to))
	if s.DB, s.down = db, err != nil; s.down {
		return
	}
	for i, o := range s.outcomes {
		if o != unknown {
			continue
		}
		switch _, err := db.Get(fmt.Appendf(nil, "a%03d", i)); {
		case err == nil:
			s.outcomes[i] = acknowledged
		case errors.Is(err, seerdb.ErrNotFound):
			s.outcomes[i] = refused
		default:
			s.outcomes[i] = unread
		}
	}
}

func (s *survivor) commit(what string) {
	s.Helper()
	i := len(s.outcomes)
	b := s.DB.NewBatch()
	value := strings.Repeat(fmt.Sprint(i, "."), 5+i%3*20)
	dbtest.Must(s, errors.Join(b.Put(fmt.Appendf(nil, "a%03d", i), []byte(value)), b.Put(fmt.Appendf(nil, "b%03d", i), []byte(value))))
	switch err := s.DB.Apply(b, seerdb.DefaultDurability); {
	case err == nil:
		s.outcomes = append(s.outcomes, acknowledged)
	case errors.Is(err, seerdb.ErrCommitUnknown):
		s.outcomes = append(s.outcomes, unknown)
	default:
		s.outcomes = append(s.outcomes, refused)
	}
}

// readAll reads every commit, and compares what is read with what is known. An
// error is no answer.
func (s *survivor) readAll(what string) {
	s.Helper()
	for i, o := range s.outcomes {
		v, err := s.DB.Get(fmt.Appendf(nil, "a%03d", i))
		missing := errors.Is(err, seerdb.ErrNotFound)
		if err != nil && !missing {
			continue
		}
		if o == acknowledged && missing || (o == refused || o == unknown) && !missing || !missing && !strings.HasPrefix(string(v), fmt.Sprint(i, ".")) {
			s.Fatalf("%s: commit %d had outcome %d and reads as %.20q, %v", what, i, o, v, err)
		}
	}
}

// checkAfter opens the database on the healthy disk, as it is and as a crash
// would leave it.
func (s *survivor) checkAfter(what string) {
	s.Helper()
	for _, keep := range []float64{1, 0} {
		after := s.Disk(keep)
		if err := after.TryOpen(); err != nil {
			s.Fatalf("%s: reopening, keeping %v: %v", what, keep, err)
		}
		for i, o := range s.outcomes {
			a, aErr := after.DB.Get(fmt.Appendf(nil, "a%03d", i))
			b, bErr := after.DB.Get(fmt.Appendf(nil, "b%03d", i))
			there := aErr == nil
			switch {
			case string(a) != string(b) || there != (bErr == nil) || !there && !errors.Is(aErr, seerdb.ErrNotFound):
				s.Fatalf("%s: half of commit %d is there: %v, %v", what, i, aErr, bErr)
			case o == acknowledged && !there:
				s.Fatalf("%s: acknowledged commit %d is lost (keeping %v)", what, i, keep)
			case o == refused && there:
				s.Fatalf("%s: refused commit %d is there (keeping %v)", what, i, keep)
			}
		}
		dbtest.Must(s, after.DB.Put([]byte("alive"), nil))
		after.Clean()
		dbtest.Must(s, after.DB.Close())
	}
}
