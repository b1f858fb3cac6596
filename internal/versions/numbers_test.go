package versions_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// life is what a database lives through: openings that end without a clean Close, jobs that
// make files and jobs that fail.
type life struct {
	openings []*opening
	counted  map[base.FileNum]bool // numbers that a durable manifest reserved when they were taken
}

const (
	lifeOpenings = 3
	jobNumbers   = 70 // of each opening: more than are reserved at a time
)

func (l *life) run(fs vfs.FS) error {
	l.counted = map[base.FileNum]bool{}
	for range lifeOpenings {
		o := newOpening(fs)
		l.openings = append(l.openings, o)
		if err := o.open(); err != nil {
			return err
		}
		if err := l.jobs(o); err != nil {
			return err
		}
		if err := o.close(); err != nil {
			return err
		}
	}
	return nil
}

// jobs takes numbers, past several reservations.
func (l *life) jobs(o *opening) error {
	for i := range jobNumbers {
		if err := o.Reserve(); err != nil {
			return err
		}
		if i%30 == 29 {
			if err := o.file(base.FileTypeTable); err != nil {
				return err
			}
		} else {
			o.used = append(o.used, o.NewFileNum()) // of a file that is not there after a crash
		}
		n := o.used[len(o.used)-1]
		if !o.Reserved(n) {
			return fmt.Errorf("%d is in use, and no manifest reserves it", n)
		}
		l.counted[n] = true
	}
	return nil
}

// taken are the numbers that no later opening may hand out: those that were reserved, and
// those of files that are there.
func (l *life) taken(t *testing.T, fs vfs.FS) map[base.FileNum]bool {
	taken := map[base.FileNum]bool{}
	for n := range l.counted {
		taken[n] = true
	}
	names, err := fs.List(vfs.Top)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if typ, n, ok := base.ParseFileName(name); ok && (typ == base.FileTypeTable || typ == base.FileTypeLog) {
			taken[n] = true
		}
	}
	return taken
}

// again opens what is left, and returns the opening after a few jobs.
func (l *life) again(t *testing.T, fs vfs.FS, at string) {
	t.Helper()
	taken := l.taken(t, fs)
	next := newOpening(fs)
	if err := next.open(); err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	if err := (&life{counted: map[base.FileNum]bool{}}).jobs(next); err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	first, end := next.Numbers()
	if first != next.used[0] || end != next.used[len(next.used)-1]+1 {
		t.Fatalf("%s: Numbers are %d and %d of %d", at, first, end, next.used)
	}
	for _, n := range next.used {
		if taken[n] {
			t.Fatalf("%s: %d is handed out again", at, n)
		}
	}
	for _, o := range l.openings {
		if o.Incarnation() == next.Incarnation() || next.Incarnation() == 0 {
			t.Fatalf("%s: two openings have the incarnation %d", at, next.Incarnation())
		}
		if o.installed && o.DB() != next.DB() && l.openings[0].installed && len(l.counted) > 0 {
			t.Fatalf("%s: the database was %d and is %d", at, o.DB(), next.DB())
		}
	}
}

// TestNumbersAcrossCrashes: the power goes at each operation of a few openings. No number
// that a manifest reserved for an opening, and none of a file that is there, is handed out by
// the next one; and each opening finds the database, or can create it.
func TestNumbersAcrossCrashes(t *testing.T) {
	for k := 1; ; k++ {
		fs := memfs.New()
		fs.FreezeAt(int64(k))
		l := new(life)
		err := l.run(fs)
		if err != nil && !errors.Is(err, memfs.ErrFrozen) {
			t.Fatalf("stopped at operation %d: %v", k, err)
		}
		for i, c := range crashes(k, 2) {
			l.again(t, fs.CrashClone(c), fmt.Sprintf("stopped at operation %d, crash %d", k, i))
		}
		if err == nil {
			if k < 60 || len(l.openings) != lifeOpenings || len(l.counted) != lifeOpenings*jobNumbers {
				t.Fatalf("%d operations of %d openings with %d numbers", k, len(l.openings), len(l.counted))
			}
			return
		}
	}
}

// TestNumbersAcrossErrors: the same, where an operation fails and the process goes on with
// another opening.
func TestNumbersAcrossErrors(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for skip := 0; ; skip++ {
			r := newRig(t)
			fired := r.disk.Inject(faultfs.Rule{Op: faultfs.OpMutations, Err: cause, Skip: skip, Count: 1})
			l := new(life)
			err := l.run(r.disk)
			if err != nil && !errors.Is(err, cause) {
				t.Fatalf("operation %d: %v, want %v", skip, err, cause)
			}
			r.disk.Clear()
			l.again(t, r.disk, fmt.Sprintf("operation %d: %v", skip, cause))
			if fired.Count() == 0 {
				if skip < 60 {
					t.Fatalf("only %d operations", skip)
				}
				break
			}
		}
	}
}

// TestManifestReserves: what the next opening reads of a manifest is that every number of
// this one lies in what it reserved.
func TestManifestReserves(t *testing.T) {
	r := newRig(t)
	r.check(r.open().close())
	o := r.open()
	for range 200 {
		r.check(o.Reserve())
		n := o.NewFileNum()
		st := r.recovered()
		if first, _ := o.Numbers(); st.FirstFile != first || n < first || n >= st.NextFile {
			t.Fatalf("number %d of an opening that began at %d; the manifest says %d to %d", n, first, st.FirstFile, st.NextFile)
		}
		if !o.Reserved(st.NextFile-1) || o.Reserved(st.NextFile) {
			t.Fatalf("the manifest reserves the numbers below %d, and the opening counts on others", st.NextFile)
		}
	}
	ops := r.mem.Ops()
	o.Lock() // by an edit, for which jobs do not wait
	for range 1000 {
		r.check(o.Reserve())
	}
	if r.mem.Ops() != ops {
		t.Error("what is reserved is reserved again")
	}
	o.Unlock()
	// A write, a sync and a mark each; as many as there are doublings.
	for range 100_000 {
		r.check(o.Reserve())
		o.NewFileNum()
	}
	if n := r.mem.Ops() - ops; n > 3*12 {
		t.Errorf("100,000 numbers take %d operations", n)
	}
}

// TestReserveBesideEachOther: jobs at the same time get numbers of their own, all reserved.
func TestReserveBesideEachOther(t *testing.T) {
	r := newRig(t)
	o := r.open()
	var mu sync.Mutex
	var all []base.FileNum // guarded by mu
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				if err := o.Reserve(); err != nil {
					t.Error(err)
					return
				}
				n := o.NewFileNum()
				if !o.Reserved(n) {
					t.Errorf("%d is not reserved", n)
				}
				if i%20 == 0 {
					if err := o.append(new(manifest.Edit)); err != nil {
						t.Error(err)
					}
				}
				mu.Lock()
				all = append(all, n)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != 1600 {
		t.Errorf("%d numbers for 1600 files", n)
	}
	if st := r.recovered(); st.NextFile <= all[len(all)-1] {
		t.Errorf("the manifest reserves up to %d", st.NextFile)
	}
	first := o.NewFileNum()
	for range 4 {
		wg.Go(func() {
			for range 50_000 {
				o.NewFileNum()
			}
		})
	}
	wg.Wait()
	if n := o.NewFileNum(); n != first+200_001 {
		t.Errorf("200,000 numbers are %d", n-first-1)
	}
}

// TestFilesInTheDirectory: a file that is there, named by the manifest or not, has a number
// that is not handed out.
func TestFilesInTheDirectory(t *testing.T) {
	r := newRig(t)
	o := r.open()
	r.check(o.close())
	next := r.recovered().NextFile
	for _, c := range []struct {
		name string
		want base.FileNum
	}{
		{"000500.sst", 501}, {"000600.wal", 601}, {"MANIFEST-000700", 601}, {"notes", 601},
	} {
		f, err := r.mem.Create(c.name)
		r.check(err)
		r.check(f.Close())
		st, err := manifest.Recover(r.mem, vfs.Top)
		r.check(err)
		names, err := r.mem.List(vfs.Top)
		r.check(err)
		o := newOpening(r.mem)
		o.Restore(st, names)
		if first, end := o.Numbers(); first != max(c.want, next) || end != first || o.NewFileNum() != first {
			t.Errorf("beside %s numbers begin at %d, want %d", c.name, first, c.want)
		}
	}
}

// TestJobsShareAReservation: jobs that find few numbers left at the same time make one edit.
func TestJobsShareAReservation(t *testing.T) {
	r := newRig(t)
	o := r.open()
	for range 60 {
		o.NewFileNum()
	}
	ops := r.mem.Ops()
	r.check(o.append(new(manifest.Edit)))
	edit := r.mem.Ops() - ops
	for range 60 {
		o.NewFileNum()
	}
	o.Lock()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := o.Reserve(); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(10 * time.Millisecond) // most of them wait for the lock by then
	ops = r.mem.Ops()
	o.Unlock()
	wg.Wait()
	if n := r.mem.Ops() - ops; n != edit {
		t.Errorf("they took %d operations, and an edit %d", n, edit)
	}
}
