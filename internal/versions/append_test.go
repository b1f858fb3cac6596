package versions_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// edits are the ways in which a manifest changes. Each makes one edit.
var edits = map[string]func(o *opening) error{
	"Append": func(o *opening) error {
		return o.append(&manifest.Edit{SetKeyspaces: []manifest.Keyspace{{ID: o.Manifest().State().NextKeyspace, Name: "new"}}})
	},
	"AppendLater": func(o *opening) error { return o.keyspace() },
	"Reserve": func(o *opening) error {
		for first, next := o.Numbers(); next < first+60; next++ {
			o.NewFileNum()
		}
		return o.Reserve()
	},
}

// figures are what a Set says of its manifest.
func (o *opening) figures() string {
	st := o.Manifest().State()
	reserved := base.FileNum(0)
	for o.Reserved(reserved) {
		reserved++
	}
	return fmt.Sprint(st.NextFile, reserved, keyspaces(st), st.NextKeyspace, o.DurableKeyspaces())
}

// TestFullDisk: an edit for which there is no room has not happened: not in this process,
// not after a crash. It can be tried again, and the database is healthy.
func TestFullDisk(t *testing.T) {
	for name, edit := range edits {
		r := newRig(t)
		o := r.open()
		r.check(o.keyspace())
		r.check(o.append(new(manifest.Edit)))
		before, room := o.figures(), int64(0)
		for ; ; room++ {
			r.mem.SetCapacity(r.mem.Used() + room)
			err := edit(o)
			if err == nil {
				break
			}
			if !errors.Is(err, base.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), "manifest: ") {
				t.Fatalf("%s with room for %d bytes: %v", name, room, err)
			}
			if now := o.figures(); now != before || len(o.poisons) > 0 || o.Appendable() != nil {
				t.Fatalf("%s with room for %d bytes: %s, was %s; poisoned by %v", name, room, now, before, o.poisons)
			}
			for i, c := range crashes(int(room), 1) {
				st, err := manifest.Recover(r.mem.CrashClone(c), "")
				r.check(err)
				if len(st.Keyspaces) != 1 {
					t.Fatalf("%s with room for %d bytes, crash %d: there are %q", name, room, i, keyspaces(st))
				}
			}
		}
		if room < 16 || o.figures() == before {
			t.Errorf("%s took room for %d bytes, and made %s", name, room, o.figures())
		}
		r.mem.SetCapacity(0)
		r.check(o.SyncKeyspaces())
		if st := r.recovered(); st.NextFile != o.Manifest().State().NextFile || len(st.Keyspaces) != len(o.Manifest().State().Keyspaces) {
			t.Errorf("%s: a crash leaves %+v", name, st)
		}
	}
}

// TestErrorsPoison: after an error that leaves open what is durable nothing is written any
// more, and every refusal names the first cause.
func TestErrorsPoison(t *testing.T) {
	full := faultfs.Rule{Op: faultfs.OpWrite, Err: syscall.ENOSPC, Short: true, Count: 1}
	for fault, rules := range map[string][]faultfs.Rule{
		"write":                 {{Op: faultfs.OpWrite, Err: syscall.EIO, Count: 1}},
		"full, and no way back": {full, {Op: faultfs.OpTruncate, Err: syscall.EIO, Count: 1}},
		"sync":                  {{Op: faultfs.OpSync, Err: syscall.EIO, Count: 1}},
		"sync of a full disk":   {{Op: faultfs.OpSync, Err: syscall.ENOSPC, Count: 1}},
	} {
		for name, edit := range edits {
			if name == "AppendLater" && strings.HasPrefix(fault, "sync") {
				edit = func(o *opening) error { return errors.Join(o.keyspace(), o.SyncKeyspaces()) }
			}
			r := newRig(t)
			o := r.open()
			before := o.DurableKeyspaces()
			for _, rule := range rules {
				r.disk.Inject(rule)
			}
			err := edit(o)
			cause := rules[len(rules)-1].Err
			if !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, cause) || errors.Is(err, base.ErrNoSpace) {
				t.Errorf("%s, %s: %v", fault, name, err)
			}
			if len(o.poisons) != 1 || !errors.Is(o.poisons[0], cause) || !strings.HasPrefix(o.poisons[0].Error(), "manifest: MANIFEST-") {
				t.Errorf("%s, %s: poisoned by %v", fault, name, o.poisons)
			}
			if o.DurableKeyspaces() != before {
				t.Errorf("%s, %s: keyspaces below %d are durable, were below %d", fault, name, o.DurableKeyspaces(), before)
			}
			o.latch.Set(errors.New("a later cause"))
			ops := r.mem.Ops()
			for again, edit := range edits {
				if err := edit(o); !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, cause) {
					t.Errorf("%s, %s, then %s: %v", fault, name, again, err)
				}
			}
			o.Lock()
			if err := o.Sync(); !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, cause) {
				t.Errorf("%s, %s, then Sync: %v", fault, name, err)
			}
			o.Unlock()
			if r.mem.Ops() != ops || len(o.poisons) != 1 {
				t.Errorf("%s, %s: something was written after it; poisoned by %v", fault, name, o.poisons)
			}
			r.check(o.close())
		}
	}
}

// TestImpossibleEdit: an edit that does not fit the version is a fault of this process, which
// takes no more writes. It was not written.
func TestImpossibleEdit(t *testing.T) {
	for _, later := range []bool{false, true} {
		r := newRig(t)
		o := r.open()
		ops, before := r.mem.Ops(), o.figures()
		edit := &manifest.Edit{DropKeyspaces: []uint32{9}}
		o.Lock()
		err := o.AppendLater(edit)
		if !later {
			err = o.Append(edit)
		}
		o.Unlock()
		if !errors.Is(err, base.ErrReadOnly) || !strings.Contains(err.Error(), "does not fit the current version") || len(o.poisons) == 0 {
			t.Errorf("%v; poisoned by %v", err, o.poisons)
		}
		if r.mem.Ops() != ops || o.figures() != before {
			t.Errorf("it was written: %s", o.figures())
		}
	}
}

// TestPoisonedByOthers: a cause that was there before is the one that refusals name, also
// that of the edit that fails then.
func TestPoisonedByOthers(t *testing.T) {
	r := newRig(t)
	o := r.open()
	first := errors.New("a log failed")
	o.Lock()
	r.check(o.Appendable())
	o.latch.Set(first) // by another goroutine
	r.disk.Inject(faultfs.Rule{Op: faultfs.OpWrite, Err: syscall.EIO})
	err := o.Append(new(manifest.Edit))
	o.Unlock()
	if !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, first) || errors.Is(err, syscall.EIO) {
		t.Errorf("Append: %v", err)
	}
	if err := o.Reserve(); err != nil {
		t.Errorf("where enough is reserved: %v", err)
	}
	if err := edits["Reserve"](o); !errors.Is(err, base.ErrReadOnly) || !errors.Is(err, first) {
		t.Errorf("Reserve: %v", err)
	}
}

// TestAppendReserves: each edit reserves numbers if few are left, so that none is made for
// that alone.
func TestAppendReserves(t *testing.T) {
	r := newRig(t)
	o := r.open()
	for i := range 200 {
		for range 10 {
			o.NewFileNum()
		}
		r.check(o.append(new(manifest.Edit)))
		ops := r.mem.Ops()
		r.check(o.Reserve())
		if r.mem.Ops() != ops {
			t.Fatalf("Reserve makes an edit after edit %d", i)
		}
	}
}

// TestSyncKeyspaces: a keyspace that is created is there for this process, and durable from
// the next Append or SyncKeyspaces on, not before; those that are durable cost no sync.
func TestSyncKeyspaces(t *testing.T) {
	for name, settle := range map[string]func(o *opening) error{
		"SyncKeyspaces": func(o *opening) error { return o.SyncKeyspaces() },
		"Append":        func(o *opening) error { return o.append(new(manifest.Edit)) },
		"Sync":          func(o *opening) error { o.Lock(); defer o.Unlock(); return o.Sync() },
	} {
		r := newRig(t)
		o := r.open()
		var made []string
		for round := range 3 {
			durable, ops := o.DurableKeyspaces(), r.mem.Ops()
			o.Lock() // by an edit, for which a sync of the log does not wait
			r.check(o.SyncKeyspaces())
			o.Unlock()
			if r.mem.Ops() != ops {
				t.Fatalf("%s: a sync in round %d for nothing", name, round)
			}
			for range 2 {
				made = append(made, fmt.Sprint("k", o.Manifest().State().NextKeyspace))
				r.check(o.keyspace())
			}
			if now := o.DurableKeyspaces(); now != durable {
				t.Errorf("%s: keyspaces below %d pass for durable, and those below %d are", name, now, durable)
			}
			if got := keyspaces(o.Manifest().State()); !slices.Equal(got, made) {
				t.Errorf("%s: there are %q, want %q", name, got, made)
			}
			if got := keyspaces(r.recovered()); !slices.Equal(got, made[:2*round]) {
				t.Errorf("%s: before it a crash leaves %q of %q", name, got, made)
			}
			r.check(settle(o))
			if got := keyspaces(r.recovered()); !slices.Equal(got, made) || o.DurableKeyspaces() != uint32(len(made)+1) {
				t.Errorf("%s: a crash leaves %q of %q; those below %d are durable", name, got, made, o.DurableKeyspaces())
			}
		}
	}
}

// TestClosed: after Close nothing is recorded, and what would be answers ErrClosed.
func TestClosed(t *testing.T) {
	r := newRig(t)
	o := r.open()
	r.check(o.keyspace())
	r.check(o.close())
	ops := r.mem.Ops()
	r.check(o.close())
	if o.Manifest() != nil {
		t.Error("there is still a manifest")
	}
	for range 100 {
		o.NewFileNum()
	}
	for name, call := range map[string]func() error{
		"Appendable": o.Appendable, "Reserve": o.Reserve, "SyncKeyspaces": o.SyncKeyspaces,
		"Sync": func() error { o.Lock(); defer o.Unlock(); return o.Sync() },
	} {
		if err := call(); !errors.Is(err, base.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r.mem.Ops() != ops || len(o.poisons) > 0 {
		t.Errorf("something was written, or poisons: %v", o.poisons)
	}
	o = r.open()
	r.disk.Inject(faultfs.Rule{Op: faultfs.OpClose, Err: syscall.EIO})
	if err := o.close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a file that does not close: %v", err)
	}
}

// TestLyingDevice is the negative control: the check of crashes can fail.
func TestLyingDevice(t *testing.T) {
	r := newRig(t)
	o := r.open()
	r.mem.SetLyingSync(true)
	r.check(o.keyspace())
	r.check(o.SyncKeyspaces())
	st, err := manifest.Recover(r.mem.CrashClone(memfs.CrashOptions{}), "")
	r.check(err)
	if len(st.Keyspaces) > 0 {
		t.Error("a device that syncs nothing was not found out")
	}
}
