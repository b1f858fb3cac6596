package reserve_test

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/reserve"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// create makes a file that may take the reserve.
func (r *rig) create(name string) vfs.File {
	r.Helper()
	f, err := r.Over(r.disk).Create(name)
	r.check(err)
	return f
}

// content fails the test unless a file holds want.
func (r *rig) content(name string, want []byte) {
	r.Helper()
	got, err := r.read(name)
	if err != nil || !bytes.Equal(got, want) {
		r.Errorf("%s holds %d bytes, of %d that were written, or others: %v", name, len(got), len(want), err)
	}
}

func (r *rig) read(name string) ([]byte, error) {
	f, err := r.mem.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size == 0 {
		return nil, err
	}
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	return b, err
}

// pattern is n bytes, of which no two neighbouring pieces are alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// TestTableTakesTheReserve: a write that does not fit takes the reserve, once, and
// continues after the bytes that did fit.
func TestTableTakesTheReserve(t *testing.T) {
	r := newRig(t, kept)
	f := r.create("000007.sst")
	b := pattern(kept + 60)
	_, err := f.Write(b[:10])
	r.check(err)
	r.fill(100)
	if n, err := f.Write(b[10:3000]); n != 2990 || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	if r.Lacking() == nil || r.there() {
		t.Error("the reserve was not taken")
	}
	if n, err := f.Write(b[3000:]); n != len(b)-3000 || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	r.content("000007.sst", b)
	// 50 bytes are free, and there is nothing more to take.
	n, err := f.Write(b[:60])
	if n != 50 || !vfs.IsNoSpace(err) {
		t.Errorf("Write on the full disk: %d, %v", n, err)
	}
	r.content("000007.sst", append(b, b[:50]...))
	r.check(f.Close())
	r.remove("filler")
	r.keeps(kept, capacity) // no use is left
}

// TestNothingToTake: without a reserve a failure is returned unchanged.
func TestNothingToTake(t *testing.T) {
	r := newRig(t, 0)
	f := r.create("000007.sst")
	fired := r.disk.Inject(faultfs.Rule{Op: faultfs.OpWrite, Err: syscall.ENOSPC, Count: 1})
	if n, err := f.Write(pattern(20)); n != 0 || !errors.Is(err, syscall.ENOSPC) || fired.Matched() != 1 {
		t.Errorf("Write: %d, %v after %d tries", n, err, fired.Matched())
	}
	r.fill(10)
	if n, err := f.Write(pattern(20)); n != 10 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Write: %d, %v", n, err)
	}
	if _, err := r.Over(r.disk).Create("000008.sst"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Create: %v", err)
	}
	r.content("000007.sst", pattern(10))
	if r.Lacking() != nil {
		t.Errorf("lacking what there never was: %v", r.Lacking())
	}
	r.remove("filler")
	r.keeps(kept, capacity)
}

// TestLogTakesItForItsHeader: the first write of a log may take the reserve, later ones
// only during Open.
func TestLogTakesItForItsHeader(t *testing.T) {
	r := newRig(t, kept)
	f := r.create("000007.wal")
	if _, err := f.Write(pattern(10)); err != nil {
		t.Fatal(err)
	}
	r.fill(5)
	if n, err := f.Write(pattern(20)); n != 5 || !vfs.IsNoSpace(err) {
		t.Errorf("the second write: %d, %v", n, err)
	}
	if !r.there() || r.Lacking() != nil {
		t.Errorf("a commit took the reserve; lacking: %v", r.Lacking())
	}
	r.remove("filler")
	r.fill(5)
	second := r.create("000008.wal")
	if n, err := second.Write(pattern(20)); n != 20 || err != nil {
		t.Errorf("the header: %d, %v", n, err)
	}
	if r.there() {
		t.Error("the header did not take the reserve")
	}

	r = openingRig(t, leftover)
	f = r.create("000007.wal")
	r.fill(5)
	for range 2 {
		if n, err := f.Write(pattern(20)); n != 20 || err != nil {
			t.Errorf("a write while Open goes on: %d, %v", n, err)
		}
	}
	r.content("000007.wal", append(pattern(20), pattern(20)...))

	r = openingRig(t, leftover)
	f = r.create("000007.wal")
	if _, err := f.Write(pattern(20)); err != nil {
		t.Fatal(err)
	}
	r.fill(5)
	if n, err := f.Write(pattern(20)); n != 20 || err != nil {
		t.Errorf("the second write while Open goes on: %d, %v", n, err)
	}
}

// TestCreateTakesTheReserve: on a disk without a free block the file is made all the
// same, in a directory below too.
func TestCreateTakesTheReserve(t *testing.T) {
	for _, name := range []string{"MANIFEST-000009", "000009.wal", "below/000009.wal"} {
		r := newRig(t, kept)
		r.check(r.mem.MkdirAll("below"))
		r.fill(0)
		f := r.create(name)
		r.check(f.Close())
		if r.there() || r.Lacking() == nil {
			t.Errorf("%s: the reserve is there still; lacking: %v", name, r.Lacking())
		}
	}
	r := newRig(t, kept)
	r.check(r.mem.MkdirAll("below"))
	f := r.create("below/000009.wal")
	_, err := f.Write(pattern(10))
	r.check(err)
	r.fill(0)
	if _, err := f.Write(pattern(10)); err == nil || !r.there() {
		t.Errorf("a log below is taken for no log: %v", err)
	}
}

// TestOnlyLackOfRoomTakesIt: any other failure is returned after one attempt.
func TestOnlyLackOfRoomTakesIt(t *testing.T) {
	for _, op := range []faultfs.OpKind{faultfs.OpCreate, faultfs.OpWrite, faultfs.OpRename} {
		for _, c := range []struct {
			err   error
			tries int
		}{{syscall.EIO, 1}, {syscall.EMFILE, 1}, {syscall.ENOSPC, 2}, {syscall.EDQUOT, 2}} {
			r := newRig(t, kept)
			r.check(r.create("old").Close())
			fired := r.disk.Inject(faultfs.Rule{Op: op, Err: c.err})
			over := r.Over(r.disk)
			err := over.Rename("old", "new")
			if err == nil {
				var f vfs.File
				if f, err = over.Create("000001.sst"); err == nil {
					_, err = f.Write([]byte("x"))
				}
			}
			if !errors.Is(err, c.err) || fired.Count() != c.tries {
				t.Errorf("operation %d: %v after %d tries, want %v after %d", op, err, fired.Count(), c.err, c.tries)
			}
			if r.there() != (c.tries == 1) {
				t.Errorf("operation %d, %v: the reserve is there: %v", op, c.err, r.there())
			}
		}
	}
}

// TestRenameTakesTheReserve: a rename that found no room is made with it.
func TestRenameTakesTheReserve(t *testing.T) {
	r := newRig(t, kept)
	r.check(r.create("old").Close())
	fired := r.disk.Inject(faultfs.Rule{Op: faultfs.OpRename, Err: syscall.ENOSPC, Count: 1})
	r.check(r.Over(r.disk).Rename("old", "new"))
	if fired.Count() != 1 || r.there() {
		t.Errorf("the rename failed %d times; the reserve is there: %v", fired.Count(), r.there())
	}
	r.content("new", nil)
}

// TestNotTakenBackFromAnAttempt: the keeper, which comes while the second attempt goes on,
// leaves the room to it.
func TestNotTakenBackFromAnAttempt(t *testing.T) {
	r := newRig(t, kept)
	r.fill(0)
	h := &hookFS{FS: r.disk}
	h.before = func() {
		if !r.there() {
			r.fails(kept, capacity)
			h.hits++
		}
	}
	f, err := r.Over(h).Create("000001.sst")
	r.check(err)
	r.check(f.Close())
	if h.hits != 1 {
		t.Errorf("the keeper came %d times", h.hits)
	}
}

// hookFS calls before ahead of each creation.
type hookFS struct {
	vfs.FS
	before func()
	hits   int
}

func (h *hookFS) Create(name string) (vfs.File, error) {
	h.before()
	return h.FS.Create(name)
}

// TestFrees: only a batch of nothing but deletes frees space, and is let through
// while the reserve lacks.
func TestFrees(t *testing.T) {
	k := []byte("k")
	del := func(b *batch.Batch) error { return b.Delete(0, k) }
	single := func(b *batch.Batch) error { return b.SingleDelete(0, k) }
	ranges := func(b *batch.Batch) error { return b.DeleteRange(3, k, []byte("l")) }
	put := func(b *batch.Batch) error { return b.Put(0, k, nil) }
	ttl := func(b *batch.Batch) error { return b.PutTTL(0, k, k, 99) }
	operand := func(b *batch.Batch) error { return b.Merge(3, k, k) }
	damage := func(b *batch.Batch) error { b.Data = b.Data[:len(b.Data)-1]; return nil }
	type step = func(*batch.Batch) error
	for name, c := range map[string]struct {
		steps []step
		frees bool
	}{
		"nothing":             {nil, true},
		"a delete":            {[]step{del}, true},
		"a single delete":     {[]step{single}, true},
		"a range":             {[]step{ranges}, true},
		"all three":           {[]step{del, single, ranges}, true},
		"a put":               {[]step{put}, false},
		"an expiry":           {[]step{ttl}, false},
		"an operand":          {[]step{operand}, false},
		"a put after deletes": {[]step{del, ranges, put}, false},
		"deletes after a put": {[]step{put, del, single}, false},
		"what cannot be read": {[]step{del, ranges, damage}, false},
	} {
		var b batch.Batch
		for _, s := range c.steps {
			if err := s(&b); err != nil {
				t.Fatal(err)
			}
		}
		if got := reserve.Frees(&b); got != c.frees {
			t.Errorf("%s: Frees is %v", name, got)
		}
		r := newRig(t, kept)
		if err := r.Refused(&b); err != nil {
			t.Errorf("%s is refused though nothing lacks: %v", name, err)
		}
		r.GiveUp(syscall.ENOSPC)
		if err := r.Refused(&b); (err == nil) != c.frees || err != nil && !errors.Is(err, base.ErrNoSpace) {
			t.Errorf("%s, while the reserve lacks: %v", name, err)
		}
	}
}

// TestBesideEachOther: files are written while the keeper, the end of Open and other users
// take the reserve, on a disk whose only room is the reserve. No write loses or doubles a
// byte, and at the end there is a reserve.
func TestBesideEachOther(t *testing.T) {
	const writers, rounds = 4, 60
	r := openingRig(t, nil)
	r.keeps(kept, capacity)
	r.fill(0)
	stop := make(chan struct{})
	var keeper, writing sync.WaitGroup
	keeper.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-r.Due():
				again, err := r.Keep(kept, capacity)
				if err != nil && !errors.Is(err, base.ErrNoSpace) {
					t.Errorf("Keep: %v", err)
				}
				if again {
					r.Wake()
				}
			}
		}
	})
	keeper.Go(func() { // which passes no lock but the reserve's
		for {
			select {
			case <-stop:
				return
			default:
				r.Opened()
				r.GiveUp(syscall.ENOSPC)
				runtime.Gosched()
			}
		}
	})
	var whole, lacking atomic.Int64
	for w := range writers {
		writing.Go(func() {
			for i := range rounds {
				whole.Add(r.writeOne(base.FileName([]base.FileType{base.FileTypeTable, base.FileTypeLog}[i%2], base.FileNum(1+w*rounds+i))))
				if r.Lacking() != nil {
					lacking.Add(1)
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	keeper.Wait()
	if whole.Load() == 0 || lacking.Load() == 0 {
		t.Errorf("%d files were written; the reserve lacked %d times", whole.Load(), lacking.Load())
	}
	r.remove("filler")
	r.keeps(kept, capacity)
	r.holds(kept)
}

// TestLogBesideTheEndOfOpen: a log that finds no room asks whether Open goes on, beside
// the end of that.
func TestLogBesideTheEndOfOpen(t *testing.T) {
	r := openingRig(t, nil)
	f := r.create("000007.wal")
	_, err := f.Write(pattern(10))
	r.check(err)
	r.fill(0)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 100 {
			r.Opened()
		}
	})
	for range 100 {
		if n, err := f.Write(pattern(10)); n != 0 || !vfs.IsNoSpace(err) {
			t.Errorf("Write: %d, %v", n, err)
		}
	}
	wg.Wait()
}

// writeOne makes a file in three writes and removes it again. It returns 1 if all had room.
func (r *rig) writeOne(name string) (whole int64) {
	f, err := r.Over(r.disk).Create(name)
	if err != nil {
		if !vfs.IsNoSpace(err) {
			r.Errorf("Create: %v", err)
		}
		return 0
	}
	const size = 1300 // so that two files do not fit
	b := pattern(3 * size)
	written := 0
	for written%size == 0 && written < len(b) {
		n, err := f.Write(b[written : written+size])
		if err != nil && !vfs.IsNoSpace(err) || (err == nil) != (n == size) {
			r.Errorf("Write: %d, %v", n, err)
		}
		if written += n; err != nil {
			break
		}
	}
	r.content(name, b[:written])
	if err := errors.Join(f.Close(), r.mem.Remove(name)); err != nil {
		r.Error(err)
	}
	if written == len(b) {
		return 1
	}
	return 0
}
