package readstate_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
)

// threeFiles are a table with a file of its own, one in a pack and a value file, of which
// none was opened: what to read for each, and its name.
func threeFiles(t *testing.T, packed, values bool) (r *readstatetest.Rig, name string) {
	t.Helper()
	r = newRig(t, readstatetest.Options{Packed: packed, ValuesFrom: 10})
	tab := flushed(r, "a", "0123456789", "b", "1")
	name = tab.Meta.FileName()
	if values {
		name = base.FileName(base.FileTypeValues, r.Version.SortedValues()[0].Num)
	}
	return r, name
}

// eachFile runs a test for each sort of file.
func eachFile(t *testing.T, run func(t *testing.T, r *readstatetest.Rig, name string)) {
	for _, c := range []struct {
		name           string
		packed, values bool
	}{{"table", false, false}, {"pack", true, false}, {"value file", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			r, name := threeFiles(t, c.packed, c.values)
			run(t, r, name)
		})
	}
}

// TestMissingFiles: a file that the manifest names and that is missing is damage with its
// name; it is another error when the directory is gone, or the database closed. The next
// read tries again.
func TestMissingFiles(t *testing.T) {
	eachFile(t, func(t *testing.T, r *readstatetest.Rig, name string) {
		aside := "aside"
		r.Check(r.FS.Rename(name, aside))
		f, err := read(r.Store, 0, "a", readstate.Newest)
		if f.out != readstate.Failed && f.out != readstate.Pointer || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("outcome %d, error %v", f.out, err)
		}
		wantDamage(r, err, name, true)
		if f.out == readstate.Pointer { // a read that is no Query reports it too
			s, shard := r.Store.Keep()
			_, err = s.AppendValue(nil, pointerOf(r, onlyTable(r), "a"), []byte("a"))
			s.LetGo(shard)
			wantDamage(r, err, name, true)
		}
		gone := r.FS.Inject(faultfs.Rule{Op: faultfs.OpList, Err: fs.ErrNotExist})
		if _, err = read(r.Store, 0, "a", readstate.Newest); errors.Is(err, base.ErrCorruption) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "rig") {
			t.Errorf("the directory is gone: %v", err)
		}
		if gone.Count() == 0 || r.Store.Reach() == nil {
			t.Error("the directory was not looked at")
		}
		gone.Remove()
		r.Damage()
		r.Check(r.FS.Rename(aside, name))
		want(r, "a", readstate.Newest, "0123456789")
	})
}

// TestFilesOfAClosedDatabase: a file that cannot be opened any more after Close is no
// damage.
func TestFilesOfAClosedDatabase(t *testing.T) {
	eachFile(t, func(t *testing.T, r *readstatetest.Rig, name string) {
		r.Check(r.FS.Remove(name))
		r.Store.MarkClosed()
		if _, err := read(r.Store, 0, "a", readstate.Newest); !errors.Is(err, base.ErrClosed) || errors.Is(err, base.ErrCorruption) {
			t.Error(err)
		}
	})
}

// TestRefusedDescriptors: a file that the system does not open is no damage, and is read
// when there are descriptors again.
func TestRefusedDescriptors(t *testing.T) {
	eachFile(t, func(t *testing.T, r *readstatetest.Rig, name string) {
		rule := r.FS.Inject(faultfs.Rule{Op: faultfs.OpOpen, Path: name, Err: syscall.EMFILE})
		if _, err := read(r.Store, 0, "a", readstate.Newest); !errors.Is(err, syscall.EMFILE) || errors.Is(err, base.ErrCorruption) {
			t.Error(err)
		}
		if rule.Count() == 0 {
			t.Error("the fault did not fire")
		}
		rule.Remove()
		want(r, "a", readstate.Newest, "0123456789")
	})
}

// TestOneDescriptor: with one descriptor all is read that lies in many files.
func TestOneDescriptor(t *testing.T) {
	r := newRig(t, readstatetest.Options{OpenFiles: 1, ValuesFrom: 4, TableSize: 1500, PageSize: 128})
	for i := range 5 {
		r.Commit(func(b *batch.Batch) {
			for j := range 100 {
				r.Check(b.Put(0, fmt.Appendf(nil, "%04d", j*5+i), fmt.Append(nil, "value", i)))
			}
		})
		r.Rotate()
		r.Flush()
	}
	for j := range 500 {
		want(r, fmt.Sprintf("%04d", j), readstate.Newest, fmt.Sprint("value", j%5))
	}
	if s := r.Files.Stats(); s.Open > 1 || s.Opens < 10 {
		t.Errorf("files: %+v", s)
	}
	rep, bad := verify(r)
	if len(bad) > 0 || rep.Tables < 10 || rep.ValueFiles < 5 || rep.Entries != 500 {
		t.Errorf("Verify finds %v; %+v", bad, rep)
	}
}

// TestDamagedTables: every sort of read says which file is damaged, whether that is in a
// page or in what is read when the table is opened.
func TestDamagedTables(t *testing.T) {
	for _, at := range []int{10, -10} { // the first page, the footer
		for name, call := range map[string]func(s *readstate.State) error{
			"newest sequence": func(s *readstate.State) error { _, err := s.NewestSeq(0, []byte("a")); return err },
			"anything newer":  func(s *readstate.State) error { _, err := s.AnyNewer(0, nil, nil, 0); return err },
			"run": func(s *readstate.State) error {
				it := new(readstate.RunIter)
				it.Init(s.Levels(0)[0][0].Tables, sstable.IterOptions{}, nil)
				if it.First() != nil || it.Last() != nil || it.Next() != nil || it.Prev() != nil {
					t.Error("a damaged table shows something")
				}
				if err := it.Err(); it.Close() != err {
					t.Error("Close hides the error")
				}
				return it.Err()
			},
			"estimate": func(s *readstate.State) error {
				_, err := s.Estimate(0, []byte("b"), nil)
				return err
			},
			"indexes": func(s *readstate.State) error { _, err := s.IndexMetrics(context.Background()); return err },
		} {
			r, file := threeFiles(t, false, false)
			r.Flip(file, at)
			opens := name == "estimate" || name == "indexes"
			s, shard := r.Store.Keep()
			switch err := call(s); {
			case at > 0 && opens && err != nil:
				t.Errorf("%s reads a page: %v", name, err)
			case at < 0 || !opens:
				wantDamage(r, err, file, at < 0)
			}
			s.LetGo(shard)
			if _, err := read(r.Store, 0, "a", readstate.Newest); at > 0 || err != nil {
				wantDamage(r, err, file, true)
			} else {
				t.Error("a damaged table is read")
			}
		}
	}
}

// TestRangesOfDamagedTables: the range tombstones of a table that does not open are left
// out, and of the others are there.
func TestRangesOfDamagedTables(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	for range 2 {
		r.Commit(func(b *batch.Batch) { r.Check(b.DeleteRange(0, []byte("a"), []byte("c"))) })
		r.Rotate()
		r.Flush()
	}
	flushed(r, "a", "1")
	runs := r.Store.Current().Levels(0)[0]
	bad, good := runs[1].Tables[0].Meta, runs[2].Tables[0].Meta
	r.Flip(bad.FileName(), -10)
	lists := map[base.FileNum]*rangedel.List{}
	for i := range runs {
		runs[i].RangeLists(lists)
	}
	if len(lists) != 1 || lists[good.Num] == nil || lists[good.Num].Find([]byte("b")) == nil {
		t.Errorf("range tombstones: %v", lists)
	}
}

// TestRunIterOpensWhatItNeeds: an iterator opens no table behind its end, nor one that the
// place it seeks is not in. One that does not open ends the walk until the next seek.
func TestRunIterOpensWhatItNeeds(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	add := func(run uint64, key string) *readstate.Table {
		m := r.AddTable(1, func(w *sstable.Writer) {
			for _, k := range []string{key, key + "5"} {
				r.Check(w.Add([]byte(k), base.MakeTrailer(1, base.KindPut), []byte(k)))
			}
		}, nil)
		return r.Store.Table(m.Num)
	}
	a, b, c, d := add(1, "a"), add(1, "b"), add(1, "c"), add(1, "d")
	tables := []*readstate.Table{a, b, c, d}
	s, shard := r.Store.Keep()
	defer s.LetGo(shard)
	it := new(readstate.RunIter)
	show := func(kv *base.KV, want string) {
		t.Helper()
		if kv == nil && want != "" || kv != nil && string(kv.Key) != want {
			t.Errorf("shows %v, want %q; error %v", kv, want, it.Err())
		}
	}
	it.Init(tables, sstable.IterOptions{}, []byte("b"))
	show(it.Next(), "a")
	show(it.Next(), "a5")
	show(it.Next(), "")
	show(it.SeekGE([]byte("aa"), base.TrailerMax), "")
	show(it.SeekLT([]byte("b")), "a5")
	if b.Reader() != nil || c.Reader() != nil {
		t.Error("tables behind the end were opened")
	}
	it.Init(tables, sstable.IterOptions{}, nil)
	show(it.SeekLT([]byte("c")), "b5")
	if c.Reader() != nil {
		t.Error("the table that begins with the key was opened")
	}
	fault := r.FS.Inject(faultfs.Rule{Op: faultfs.OpOpen, Path: c.Meta.FileName(), Err: syscall.EIO})
	show(it.Next(), "")
	if !errors.Is(it.Err(), syscall.EIO) || fault.Count() == 0 {
		t.Errorf("the error is %v", it.Err())
	}
	show(it.Next(), "")
	show(it.Prev(), "")
	show(it.Last(), "d5")
	show(it.Prev(), "d")
	show(it.Prev(), "")
	show(it.Next(), "")
	show(it.SeekGE([]byte("a5"), base.TrailerMax), "a5")
	show(it.Next(), "b")
	if it.Err() != nil {
		t.Errorf("the error stays: %v", it.Err())
	}
	fault.Remove()
	show(it.SeekGE([]byte("c5"), base.TrailerMax), "c5")
	show(it.Next(), "d")
	show(it.SeekGE([]byte("d6"), base.TrailerMax), "")
	show(it.Prev(), "d5")
	r.Check(it.Close())
}

// TestValuesThatAreNone: what stands in the place of a pointer, of a value with an expiry,
// and an entry of a kind that is not known, are damage.
func TestValuesThatAreNone(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	entries := []struct {
		key   string
		kind  base.Kind
		value []byte
		in    string // the file that is named; "" is the table
	}{
		{"alien", 9, nil, "-"},
		{"junk", base.KindPutPointer, []byte("junk"), ""},
		{"lost", base.KindPutPointer, valuelog.AppendPointer(nil, valuelog.Pointer{File: 77, Length: 30, RawLength: 5}), base.FileName(base.FileTypeValues, 77)},
		{"short", base.KindPutTTL, []byte("1234"), "-"},
		{"shortp", base.KindPutTTLPointer, append(make([]byte, 7), 255, 255, 255, 255, 255, 255, 255, 255, 255), ""},
	}
	m := r.AddTable(1, func(w *sstable.Writer) {
		for _, e := range entries {
			r.Check(w.Add([]byte(e.key), base.MakeTrailer(1, e.kind), e.value))
		}
	}, nil)
	r.Seq = 1
	r.Publish()
	for _, e := range entries {
		f, err := read(r.Store, 0, e.key, readstate.Newest)
		switch {
		case e.in == "-":
			if f.out != readstate.Failed || err == nil {
				t.Errorf("%s: %v %v", e.key, f, err)
			}
			wantDamage(r, err, "database", true)
			continue
		case e.in == "":
			e.in = m.FileName()
		}
		wantDamage(r, err, e.in, true)
		var c *base.CorruptionError
		if e.key == "junk" && errors.As(err, &c) && (string(c.Lo) != e.key || string(c.Hi) != e.key) {
			t.Errorf("the damage is said to be of %q to %q", c.Lo, c.Hi)
		}
	}
	s, shard := r.Store.Keep()
	defer s.LetGo(shard)
	_, err := s.ValueLen([]byte("junk"), []byte("junk"))
	wantDamage(r, err, m.FileName(), false)
	_, err = s.AppendValue(nil, []byte("other"), []byte("zzz")) // no table has that
	wantDamage(r, err, base.FileName(base.FileTypeTable, 0), false)
	if _, err := s.Fetch(nil, valuelog.Pointer{File: 77}); !errors.Is(err, base.ErrCorruption) {
		t.Errorf("a value file that is not named: %v", err)
	}
}
