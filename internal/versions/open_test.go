package versions_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// TestUndo: whichever operation of an opening fails, Undo leaves the directory byte for byte as
// it was, unless CURRENT names the new manifest, or may: then all that it names stays.
func TestUndo(t *testing.T) {
	installed, undone := 0, 0
	ops := faultfs.OpMutations | faultfs.OpOpen | faultfs.OpList
	for _, after := range []bool{false, true} {
		if after {
			ops &^= faultfs.OpCreate // a file that was made all the same is not known to be there
		}
		for skip := 0; ; skip++ {
			r := newRig(t)
			first := r.open()
			r.check(first.keyspace())
			r.check(first.file(base.FileTypeTable))
			r.check(first.SyncKeyspaces())
			r.check(first.close())
			before := r.contents()
			fired := r.disk.Inject(faultfs.Rule{Op: ops, Err: syscall.EIO, After: after, Skip: skip, Count: 1})
			o := newOpening(r.disk)
			err := o.open()
			if err != nil && !errors.Is(err, syscall.EIO) {
				t.Fatalf("operation %d: %v", skip, err)
			}
			o.Undo(r.disk)
			at := fmt.Sprintf("operation %d, done all the same (%v): %v", skip, after, err)
			st, rerr := manifest.Recover(r.mem, vfs.Top)
			r.check(rerr)
			if st.Incarnation == o.Incarnation() {
				installed++
				for _, n := range o.used {
					if now := r.contents(); !has(now, n) {
						t.Fatalf("%s: file %d is gone", at, n)
					}
				}
			} else {
				undone++
				if now := r.contents(); !maps.Equal(now, before) {
					t.Fatalf("%s: there are %d files, were %d: %q", at, len(now), len(before), now)
				}
			}
			if len(st.Keyspaces) != 1 {
				t.Fatalf("%s: there are %q", at, keyspaces(st))
			}
			r.disk.Clear()
			r.check(newOpening(r.disk).open())
			if fired.Count() == 0 {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
	if installed < 4 || undone < 20 {
		t.Errorf("%d openings were installed, %d undone", installed, undone)
	}
}

// has reports whether a file has the number n.
func has(files map[string]string, n base.FileNum) bool {
	for name := range files {
		if t, num, ok := base.ParseFileName(name); ok && num == n && (t == base.FileTypeTable || t == base.FileTypeLog) {
			return true
		}
	}
	return false
}

// TestUndoKeepsWhatIsInstalled: once CURRENT names the manifest nothing is undone: neither what
// was made before, nor what is made from then on, nor what Create made.
func TestUndoKeepsWhatIsInstalled(t *testing.T) {
	r := newRig(t)
	for range 2 {
		o := r.open()
		r.check(o.file(base.FileTypeTable))
		before := r.contents()
		o.Undo(r.disk)
		if now := r.contents(); !maps.Equal(now, before) {
			t.Errorf("%q are left of %q", now, before)
		}
		r.check(o.append(new(manifest.Edit)))
		r.check(o.close())
	}
}

// TestUndoOfNothing: an opening that fails before it has written anything removes nothing.
func TestUndoOfNothing(t *testing.T) {
	r := newRig(t)
	newOpening(r.disk).Undo(r.disk)
	r.check(r.open().close())
	before := r.contents()
	names, err := r.mem.List(vfs.Top)
	r.check(err)
	st, err := manifest.Recover(r.mem, vfs.Top)
	r.check(err)
	o := newOpening(r.disk)
	o.Restore(st, names)
	o.Undo(r.disk)
	if now := r.contents(); !maps.Equal(now, before) {
		t.Errorf("%q are left of %q", now, before)
	}
}

// TestBeginOnce: replay and the end of Open begin the same manifest.
func TestBeginOnce(t *testing.T) {
	r := newRig(t)
	r.check(r.open().close())
	st, err := manifest.Recover(r.mem, vfs.Top)
	r.check(err)
	o := newOpening(r.disk)
	o.Restore(st, nil)
	r.check(o.Begin(r.disk, st))
	log, ops := o.Manifest(), r.mem.Ops()
	r.check(o.Begin(r.disk, st))
	if o.Manifest() != log || r.mem.Ops() != ops {
		t.Error("it began another one")
	}
	if st, err := manifest.Recover(r.mem, vfs.Top); err != nil || st.Incarnation == o.Incarnation() {
		t.Errorf("CURRENT names it before Install: %v", err)
	}
	// By which the next opening knows what this one left half written.
	id := base.Identity{DB: o.DB(), Type: base.FileTypeManifest, Num: log.State().ManifestNum, Incarnation: o.Incarnation()}
	n := o.NewFileNum()
	if first, next := manifest.Reserved(r.mem, vfs.Top, id); n < first || n >= next || !o.Reserved(n) {
		t.Errorf("the manifest reserves %d to %d; replay made %d", first, next, n)
	}
	r.check(o.Install())
	if st := r.recovered(); st.Incarnation != o.Incarnation() || st.DBID != o.DB() {
		t.Errorf("CURRENT names the manifest of %x, want %x", st.Incarnation, o.Incarnation())
	}
}

// TestCreateAnywhere: a Create that fails leaves a directory in which another one works, or
// a database. Its error says what was tried.
func TestCreateAnywhere(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for skip := 0; ; skip++ {
			r := newRig(t)
			fired := r.disk.Inject(faultfs.Rule{Op: faultfs.OpMutations, Err: cause, Skip: skip, Count: 1})
			o := newOpening(r.disk)
			v, err := o.Create(r.disk)
			if fired.Count() == 0 {
				if err != nil || v == nil || v.Tables() != 0 || skip < 5 {
					t.Fatalf("%v, after %d failures", err, skip)
				}
				break
			}
			if err == nil {
				continue // what failed was only to tidy up
			}
			if !errors.Is(err, cause) || !strings.Contains(err.Error(), "cannot create the manifest") || o.Manifest() != nil {
				t.Fatalf("operation %d: %v", skip, err)
			}
			o.Undo(r.disk)
			r.disk.Clear()
			next := newOpening(r.disk)
			r.check(next.open())
			if next.DB() == 0 {
				t.Error("the database has no number")
			}
		}
	}
}

// TestIdentities: files carry the database, the opening, and a number of their own.
func TestIdentities(t *testing.T) {
	r := newRig(t)
	o := r.open()
	want := base.Identity{DB: o.DB(), Type: base.FileTypeValues, Num: 2, Incarnation: o.Incarnation()}
	if id := o.NewIdentity(base.FileTypeValues); id != want {
		t.Errorf("%v, want %v", id, want)
	}
	if id := o.NewIdentity(base.FileTypeTable); id.Num != 3 || id.Type != base.FileTypeTable {
		t.Errorf("then %v", id)
	}
	if n := o.NewFileNum(); n != 4 {
		t.Errorf("then %d", n)
	}
	if first, next := o.Numbers(); first != 1 || next != 5 {
		t.Errorf("Numbers: %d, %d", first, next)
	}
}
