package reserve_test

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

const (
	reserveName = "RESERVE"
	capacity    = 10_000 // of the disk, in bytes
	kept        = 4_000  // by most tests
)

// rig is a reserve on a small disk in memory.
type rig struct {
	testing.TB
	reserve.Reserve
	mem  *memfs.FS
	disk *faultfs.FS // over mem
}

// openingRig is a reserve whose database is being opened, on a disk on which prepare,
// if not nil, left something.
func openingRig(t testing.TB, prepare func(vfs.FS)) *rig {
	t.Helper()
	r := &rig{TB: t, mem: memfs.New()}
	r.mem.SetCapacity(capacity)
	r.disk = faultfs.New(r.mem)
	if prepare != nil {
		prepare(r.mem)
	}
	r.Init()
	r.Adopt(r.disk)
	return r
}

// newRig is a reserve of so many bytes of an open database.
func newRig(t testing.TB, size int64) *rig {
	t.Helper()
	r := openingRig(t, nil)
	r.Opened()
	r.due()
	r.keeps(size, capacity)
	r.holds(size)
	return r
}

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// keeps calls Keep, which must find all well.
func (r *rig) keeps(want, most int64) {
	r.Helper()
	if again, err := r.Keep(want, most); again || err != nil {
		r.Fatalf("Keep(%d, %d): again %v, %v", want, most, again, err)
	}
	if err := r.Lacking(); err != nil {
		r.Fatalf("Keep(%d, %d) leaves the reserve lacking: %v", want, most, err)
	}
}

// fails calls Keep, which must lack room.
func (r *rig) fails(want, most int64) {
	r.Helper()
	again, err := r.Keep(want, most)
	if !again || !errors.Is(err, base.ErrNoSpace) {
		r.Fatalf("Keep(%d, %d) without room: again %v, %v", want, most, again, err)
	}
	if !errors.Is(r.Lacking(), base.ErrNoSpace) {
		r.Fatalf("Keep(%d, %d) lacks room, and Lacking is %v", want, most, r.Lacking())
	}
}

// holds fails the test unless all files take so many bytes.
func (r *rig) holds(bytes int64) {
	r.Helper()
	if n := r.mem.Used(); n != bytes {
		r.Fatalf("the files take %d bytes, want %d", n, bytes)
	}
}

// there reports whether the reserve's file is, which must have no bytes.
func (r *rig) there() bool {
	r.Helper()
	info, err := r.mem.Stat(reserveName)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	r.check(err)
	if info.Size() != 0 {
		r.Fatalf("the reserve has %d bytes", info.Size())
	}
	return true
}

// due reports whether the keeper is due, and resets that.
func (r *rig) due() bool {
	select {
	case <-r.Due():
		return true
	default:
		return false
	}
}

// fill makes a file that leaves so many bytes free.
func (r *rig) fill(free int64) {
	r.Helper()
	f, err := r.mem.Create("filler")
	r.check(err)
	_, err = f.Write(make([]byte, capacity-free-r.mem.Used()))
	r.check(err)
	r.check(f.Close())
}

func (r *rig) remove(name string) {
	r.Helper()
	r.check(r.mem.Remove(name))
}

// TestKeepSizes: the reserve is at least what is wanted, stays while it is larger by
// less than allowed, and has room and no bytes.
func TestKeepSizes(t *testing.T) {
	r := newRig(t, 0)
	for _, s := range []struct{ want, most, size int64 }{
		{0, 100, 0},
		{1000, 5000, 1000},
		{500, 5000, 1000},
		{1000, 1000, 1000},
		{3000, 6000, 3000},
		{100, 2999, 100},
		{0, 100, 100},
		{0, 99, 0},
		{capacity, capacity, capacity},
	} {
		r.keeps(s.want, s.most)
		r.holds(s.size)
		if r.there() != (s.size > 0) {
			t.Errorf("after Keep(%d, %d) the file is there: %v", s.want, s.most, r.there())
		}
	}
}

// TestFullDiskTakesTheReserve: giving the reserve up makes room. Commits are refused until
// it is taken back, which waits for room.
func TestFullDiskTakesTheReserve(t *testing.T) {
	r := newRig(t, kept)
	r.fill(0)
	if err := r.Lacking(); err != nil {
		t.Fatalf("lacking before anything failed: %v", err)
	}
	if !r.GiveUp(syscall.ENOSPC) {
		t.Fatal("there was nothing to give up")
	}
	r.holds(capacity - kept)
	if err := r.Lacking(); !errors.Is(err, base.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Lacking is %v", err)
	}
	if !r.due() {
		t.Error("the keeper is not due")
	}
	if r.GiveUp(syscall.ENOSPC) {
		t.Error("it was given up twice")
	}
	f, err := r.mem.Create("table")
	r.check(err)
	_, err = f.Write(make([]byte, kept/2))
	r.check(err)
	r.check(f.Close())
	r.fails(kept, capacity)
	r.remove("filler")
	r.keeps(kept, capacity)
	r.holds(kept/2 + kept)
}

// TestGrowthWithoutRoom: a reserve that cannot grow stays as it is, and can be given up.
func TestGrowthWithoutRoom(t *testing.T) {
	r := newRig(t, kept)
	r.fill(10)
	r.fails(kept+11, capacity)
	r.holds(capacity - 10)
	r.keeps(kept+10, capacity)
	r.holds(capacity)
	if !r.GiveUp(syscall.ENOSPC) {
		t.Error("there was nothing to give up")
	}
	r.holds(capacity - 10 - kept)
}

// TestWakeIsRemembered: the keeper is due once, however often it was woken.
func TestWakeIsRemembered(t *testing.T) {
	r := newRig(t, 0)
	if r.due() {
		t.Error("due for nothing")
	}
	for range 3 {
		r.Wake()
	}
	if !r.due() || r.due() {
		t.Error("three calls of Wake are not one look")
	}
}

// TestUseHoldsItBack: a reserve that was given up is not taken back while an operation uses
// it.
func TestUseHoldsItBack(t *testing.T) {
	r := newRig(t, kept)
	first, second := r.Use(), r.Use()
	r.keeps(kept+1, capacity) // it grows beside uses that took nothing
	r.GiveUp(syscall.ENOSPC)
	r.due()
	r.fails(kept, capacity)
	r.holds(0)
	first()
	r.fails(kept, capacity)
	r.due()
	second()
	if !r.due() {
		t.Error("the end of the last use does not wake the keeper")
	}
	r.keeps(kept, capacity)
	r.holds(kept)
	r.Use()()
	if r.due() {
		t.Error("the end of a use wakes the keeper though nothing lacks")
	}
}

// TestLend: a reserve is lent to several at a time, and where there is none, to none.
func TestLend(t *testing.T) {
	r := newRig(t, 0)
	if r.Lend(syscall.ENOSPC) != nil {
		t.Fatal("it lent what it does not have")
	}
	r.keeps(kept, capacity) // so that was no use
	first := r.Lend(syscall.ENOSPC)
	if first == nil {
		t.Fatal("it lent nothing")
	}
	r.holds(0)
	second := r.Lend(syscall.ENOSPC)
	if second == nil {
		t.Fatal("nothing for the second, though there may be some left")
	}
	first()
	r.fails(kept, capacity)
	second()
	r.keeps(kept, capacity)
	r.holds(kept)
}

// TestReasonsThatLast: where there can be no reserve the database works without one, and a
// foreign file with its name is left alone.
func TestReasonsThatLast(t *testing.T) {
	write := func(disk vfs.FS) {
		f, _ := disk.Create(reserveName)
		_, _ = f.Write([]byte("of a user"))
		_ = f.Close()
	}
	for name, c := range map[string]struct {
		prepare func(vfs.FS)
		rule    *faultfs.Rule
		used    int64
	}{
		"a file with bytes":      {write, nil, 9},
		"a directory":            {func(disk vfs.FS) { _ = disk.MkdirAll(reserveName) }, nil, 0},
		"no way to preallocate":  {nil, &faultfs.Rule{Op: faultfs.OpPreallocate, Err: syscall.EOPNOTSUPP}, 0},
		"nor by its other name":  {nil, &faultfs.Rule{Op: faultfs.OpPreallocate, Err: errors.ErrUnsupported}, 0},
		"the same, after a kill": {leftover, &faultfs.Rule{Op: faultfs.OpPreallocate, Err: errors.ErrUnsupported}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := openingRig(t, c.prepare)
			r.Opened()
			if c.rule != nil {
				r.disk.Inject(*c.rule)
			}
			r.keeps(kept, capacity)
			r.holds(c.used)
			r.disk.Clear()
			r.keeps(kept, capacity) // and it is not tried again
			r.holds(c.used)
			if r.GiveUp(syscall.ENOSPC) || r.Lend(syscall.ENOSPC) != nil || r.Lacking() != nil {
				t.Errorf("there is something to give up; lacking: %v", r.Lacking())
			}
			if _, err := r.mem.Stat(reserveName); (err == nil) != (c.rule == nil) {
				t.Errorf("the file: %v", err)
			}
		})
	}
}

// TestReasonsThatPass: a failure that may pass is tried again, and until then no commit is
// refused for it.
func TestReasonsThatPass(t *testing.T) {
	for _, op := range []faultfs.OpKind{faultfs.OpCreate, faultfs.OpPreallocate} {
		r := newRig(t, 0)
		r.fill(kept / 2)
		r.fails(kept, capacity)
		r.remove("filler")
		r.disk.Inject(faultfs.Rule{Op: op, Err: syscall.EMFILE})
		if op == faultfs.OpCreate {
			r.GiveUp(syscall.ENOSPC) // what the failed attempt has made
		}
		again, err := r.Keep(kept, capacity)
		if !again || err != nil || r.Lacking() != nil {
			t.Errorf("again %v, %v, lacking: %v", again, err, r.Lacking())
		}
		if r.there() {
			t.Error("a reserve that was not made has a file")
		}
		r.disk.Clear()
		r.keeps(kept, capacity)
		r.holds(kept)
		r.disk.Inject(faultfs.Rule{Op: op, Err: syscall.EMFILE})
		r.keeps(kept/2, capacity) // asks nothing of the disk
	}
}

// leftover leaves a reserve of a process that was killed.
func leftover(disk vfs.FS) {
	f, _ := disk.Create(reserveName)
	_ = f.Preallocate(kept)
	_ = f.Close()
}

// TestOpenTakesWhatIsLeft: Open may use a reserve that an earlier process left for any
// purpose, and no commit is refused for it.
func TestOpenTakesWhatIsLeft(t *testing.T) {
	r := openingRig(t, leftover)
	r.holds(kept)
	if !r.GiveUp(syscall.ENOSPC) || r.GiveUp(syscall.ENOSPC) {
		t.Error("it is not given up once")
	}
	r.holds(0)
	if r.Lacking() != nil || r.due() {
		t.Errorf("lacking before Open is done: %v", r.Lacking())
	}
	r.Opened()
	if !r.due() {
		t.Error("after Open the keeper does not look")
	}
	r.keeps(kept, capacity)
	r.holds(kept)
}

// TestLeftoverIsReplaced: the size of a reserve that an earlier process left is unknown, so
// Keep makes it anew, even if none is wanted; until then it can be given up.
func TestLeftoverIsReplaced(t *testing.T) {
	for _, want := range []int64{kept / 2, 2 * kept, 0} {
		r := openingRig(t, leftover)
		r.Opened()
		r.keeps(want, capacity)
		r.holds(want)
	}
	r := openingRig(t, leftover)
	r.Opened()
	if !r.GiveUp(syscall.ENOSPC) || !errors.Is(r.Lacking(), base.ErrNoSpace) {
		t.Errorf("given up after Open, lacking: %v", r.Lacking())
	}
	r.holds(0)
}

// TestCloseLeavesIt: the file stays for the next opening, and nothing takes it between.
func TestCloseLeavesIt(t *testing.T) {
	r := newRig(t, kept)
	r.Close()
	r.Close()
	if r.GiveUp(syscall.ENOSPC) || r.Lend(syscall.ENOSPC) != nil {
		t.Error("it is given up after Close")
	}
	r.keeps(2*kept, 2*kept)
	r.holds(kept)
	next := &rig{TB: t, mem: r.mem, disk: r.disk}
	next.Init()
	next.Adopt(r.disk)
	next.Opened()
	next.keeps(kept/2, kept)
	next.holds(kept / 2)
	next.Close()
	next.holds(kept / 2)
	unmade := newRig(t, 0)
	unmade.Close()
	unmade.keeps(kept, capacity)
	if unmade.there() {
		t.Error("one was made after Close")
	}
}
