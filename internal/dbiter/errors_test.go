package dbiter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/txn"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/merger"
)

// moves are all there are.
var moves = []struct {
	name string
	move func(it *Iter) bool
}{
	{"First", (*Iter).First},
	{"Last", (*Iter).Last},
	{"Next", (*Iter).Next},
	{"Prev", (*Iter).Prev},
	{"SeekGE", func(it *Iter) bool { return it.SeekGE([]byte("b")) }},
	{"SeekLT", func(it *Iter) bool { return it.SeekLT([]byte("c")) }},
	{"SeekLE", func(it *Iter) bool { return it.SeekLE([]byte("b")) }},
}

// nothing checks that an iterator shows nothing.
func nothing(t *testing.T, what string, it *Iter) {
	t.Helper()
	if it.Valid() || it.Key() != nil || it.Value() != nil || it.ValueLen() != 0 || it.Expiry() != 0 {
		t.Errorf("%s: %q is shown", what, it.Key())
	}
}

// TestClosedStore: once the database is closed no move shows anything, whether the
// iterator stood somewhere or not, and no value is read; what the iterator pinned it lets
// go, and a second Close says that it is closed.
func TestClosedStore(t *testing.T) {
	for _, m := range moves {
		for at, placed := range []func(*Iter) bool{(*Iter).Valid, (*Iter).First, (*Iter).Last} {
			r := newRig(t, readstatetest.Options{})
			r.Put("a", "1", "b", "2", "c", "3")
			it := r.newest()
			shown := placed(it)
			r.Store.MarkClosed()
			if v, err := it.AppendValue([]byte("x")); string(v) != "x" || !errors.Is(err, base.ErrClosed) {
				t.Errorf("AppendValue: %q, %v", v, err)
			}
			if it.Valid() != shown {
				t.Error("Close moves an iterator")
			}
			if m.move(it) || !errors.Is(it.Err(), base.ErrClosed) {
				t.Errorf("%s from place %d: shows %q, error %v", m.name, at, it.Key(), it.Err())
			}
			nothing(t, m.name, it)
			if _, err := it.AppendValue(nil); !errors.Is(err, base.ErrClosed) {
				t.Errorf("AppendValue behind %s: %v", m.name, err)
			}
			if err := it.Close(); !errors.Is(err, base.ErrClosed) {
				t.Errorf("Close: %v", err)
			}
			r.Close()
		}
	}
}

// TestClosedIter: an iterator that was closed shows nothing, and says so once more.
func TestClosedIter(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	r.Put("a", "1", "b", "2", "c", "3")
	it := r.newest()
	it.First()
	r.Check(it.Close())
	for _, m := range moves {
		if m.move(it) {
			t.Errorf("%s moves", m.name)
		}
		nothing(t, m.name, it)
	}
	for range 2 {
		if err := it.Close(); !errors.Is(err, base.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
	}
}

// TestKeysOnly: an iterator over keys shows them without a value, those that are made of
// operands too, though there is no merge operator, and knows when they expire.
func TestKeysOnly(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	r.Commit(func(b *batch.Batch) {
		r.Check(b.Put(0, []byte("a"), []byte("1")))
		r.Check(b.Merge(0, []byte("b"), []byte("2")))
		r.Check(b.PutTTL(0, []byte("c"), []byte("3"), r.Time()+7))
		r.Check(b.PutTTL(0, []byte("d"), []byte("4"), r.Time()))
	})
	it := r.open(0, Options{KeysOnly: true}, readstate.Newest, nil)
	for _, back := range []bool{false, true} {
		if got, err := rows(it, back); err != nil || !slices.Equal(got, []string{"a=", "b=", "c="}) {
			t.Errorf("shows %q, %v", got, err)
		}
	}
	for key, expiry := range map[string]uint64{"a": 0, "b": 0, "c": r.Time() + 7} {
		for _, ok := range []bool{it.SeekGE([]byte(key)), it.SeekLE([]byte(key))} {
			if v, err := it.AppendValue([]byte("x")); !ok || string(v) != "x" || !errors.Is(err, base.ErrInvalidOptions) {
				t.Errorf("%s: AppendValue is %q, %v", key, v, err)
			}
			if it.Value() != nil || it.ValueLen() != 0 || it.Expiry() != expiry || it.Err() != nil {
				t.Errorf("%s: value %q of %d, expiry %d, error %v", key, it.Value(), it.ValueLen(), it.Expiry(), it.Err())
			}
		}
	}
	r.Check(it.Close())
}

// TestDamagedPages: damage in a table ends the walk behind what came before it, in both
// directions, is reported, and stays the answer of Next, Prev and Close.
func TestDamagedPages(t *testing.T) {
	r := newRig(t, readstatetest.Options{PageSize: 128})
	var all []string
	r.Commit(func(b *batch.Batch) {
		for i := range 100 {
			all = append(all, fmt.Sprintf("key%02d=value", i))
			r.Check(b.Put(0, []byte(all[i][:5]), []byte("value")))
		}
	})
	r.flush()
	name := r.Store.Current().Levels(0)[0][0].Tables[0].Meta.FileName()
	r.Flip(name, 700)
	for _, back := range []bool{false, true} {
		it := r.newest()
		for range 2 { // the first key is shown again
			got, err := rows(it, back)
			part := all[:len(got)]
			if back {
				part = all[len(all)-len(got):]
			}
			if n := len(got); n == 0 || n == len(all) || !slices.Equal(got, part) {
				t.Errorf("backward %v: shows %q", back, got)
			}
			r.wantDamage(err, name)
			nothing(t, "behind damage", it)
			if it.Next() || it.Prev() || it.Err() != err {
				t.Errorf("the walk goes on, or the error is %v", it.Err())
			}
			if v, err := it.AppendValue([]byte("x")); string(v) != "x" || !errors.Is(err, it.Err()) {
				t.Errorf("AppendValue: %q, %v", v, err)
			}
		}
		if err := it.Err(); it.Close() != err {
			t.Error("Close hides the error")
		}
	}
}

// busy is a rig with everything in tables, and what it shows.
func busy(t *testing.T) (*rig, []string) {
	r := newRig(t, readstatetest.Options{PageSize: 128, TableSize: 1000, ValuesFrom: 20, KeepAll: true, OpenFiles: 4})
	r.merger = merger.Append{Sep: "+"}
	want := map[string]string{}
	keys := make([]string, 60)
	for i := range keys {
		keys[i] = fmt.Sprintf("key%02d", i)
	}
	for round := range 4 {
		r.Commit(func(b *batch.Batch) {
			for i, k := range keys {
				v := fmt.Sprint(round, k, strings.Repeat("v", 15*(i%3)))
				switch (i + round) % 5 {
				case 0:
					r.Check(b.Delete(0, []byte(k)))
					delete(want, k)
				case 1:
					r.Check(b.Merge(0, []byte(k), []byte(v)))
					if old, ok := want[k]; ok {
						v = old + "+" + v
					}
					want[k] = v
				case 2:
					r.Check(b.PutTTL(0, []byte(k), []byte(v), r.Time()+10))
					want[k] = v
				default:
					for range 1 + i%12 {
						r.Check(b.Put(0, []byte(k), []byte(v)))
					}
					want[k] = v
				}
			}
			lo := 15 * round
			r.Check(b.DeleteRange(0, []byte(keys[lo]), []byte(keys[lo+5])))
			for _, k := range keys[lo : lo+5] {
				delete(want, k)
			}
		})
		r.flush()
		if round == 1 {
			r.Compact(0, 0, 1)
		}
	}
	var list []string
	for _, k := range keys {
		if v, ok := want[k]; ok {
			list = append(list, k+"="+v)
		}
	}
	return r, list
}

// TestFailedReads: whichever read of a file fails, a walk shows what there is up to
// somewhere, and says why it ended; nothing is left out, and nothing older shows through.
func TestFailedReads(t *testing.T) {
	reads := 0
	for _, op := range []faultfs.OpKind{faultfs.OpRead, faultfs.OpOpen} {
		for _, back := range []bool{false, true} {
			for skip := 0; ; skip++ {
				r, want := busy(t)
				it := r.newest()
				fault := r.FS.Inject(faultfs.Rule{Op: op, Skip: skip, Count: 1})
				got, err := rows(it, back)
				fired := fault.Count() > 0
				part := want
				switch {
				case !back && len(got) < len(want):
					part = want[:len(got)]
				case back && len(got) < len(want):
					part = want[len(want)-len(got):]
				}
				if (err != nil) != fired || err == nil && len(got) < len(want) || !slices.Equal(got, part) || err != nil && !errors.Is(err, syscall.EIO) {
					t.Fatalf("operation %d after %d, backward %v: error %v, shows %q of %q", op, skip, back, err, got, want)
				}
				fault.Remove()
				if got, err := rows(it, !back); err != nil || !slices.Equal(got, want) {
					t.Fatalf("operation %d after %d, backward %v: then it shows %q, %v", op, skip, back, got, err)
				}
				r.Check(it.Close())
				r.Close()
				if !fired {
					break
				}
				if err != nil {
					reads++
				}
				if testing.Short() {
					skip += 14
				}
			}
		}
	}
	if reads < 10 {
		t.Errorf("only %d walks failed", reads)
	}
}

// TestFailedReadsBehindOperands: a deleted key with operands under its tombstone stays deleted
// where a walk back reads the operands and fails to read on, once.
func TestFailedReadsBehindOperands(t *testing.T) {
	var want []string
	for i := 0; i < 60; i += 2 {
		want = append(want, fmt.Sprintf("key%02d=x", i))
	}
	for skip, fired := 0, true; fired; skip++ {
		r := newRig(t, readstatetest.Options{PageSize: 128, TableSize: 1000, KeepAll: true})
		r.merger = merger.Append{}
		for i := range 60 {
			r.merges(fmt.Sprintf("key%02d", i), "x")
		}
		r.flush()
		for i := 1; i < 60; i += 2 {
			r.deletes(0, fmt.Sprintf("key%02d", i))
		}
		r.flush()
		it := r.newest()
		fault := r.FS.Inject(faultfs.Rule{Op: faultfs.OpRead, Skip: skip, Count: 1})
		got, err := rows(it, true)
		fired = fault.Count() > 0
		if len(got) > len(want) || !slices.Equal(got, want[len(want)-len(got):]) || (err != nil) != fired {
			t.Errorf("read %d fails: error %v, shows %q", skip, err, got)
		}
		fault.Remove()
		_ = it.Close()
		r.Close()
	}
}

// TestDamagedTableOfRanges: a table that does not open, and whose range tombstones a walk
// needs, ends it: what they delete is not shown. So it is too where the walk over the
// entries of the table passed it before, and it left memory since.
func TestDamagedTableOfRanges(t *testing.T) {
	for _, passed := range []bool{false, true} {
		for _, back := range []bool{false, true} {
			r := newRig(t, readstatetest.Options{})
			r.Put("a", "1", "m", "2", "z", "3")
			r.flush()
			r.Commit(func(b *batch.Batch) {
				r.Check(b.DeleteRange(0, []byte("b"), []byte("y")))
				r.Check(b.Put(0, []byte("mm"), []byte("4")))
			})
			r.flush()
			name := r.Store.Current().Levels(0)[0][0].Tables[0].Meta.FileName()
			r.Flip(name, -10)
			it := r.open(0, Options{Lower: []byte("b"), Upper: []byte("y")}, readstate.Newest, nil)
			if passed {
				it.runs[0].Init(nil, sstable.IterOptions{}, nil)
			}
			got, err := rows(it, back)
			if len(got) > 0 {
				t.Errorf("backward %v: shows %q", back, got)
			}
			r.wantDamage(err, name)
			nothing(t, "a table that does not open", it)
			if err := it.Err(); it.Close() != err {
				t.Error("Close hides the error")
			}
		}
	}
}

// TestDamagedValues: a value that cannot be read ends the walk, whether it is asked for,
// appended, or lies under operands, and the damage is reported.
func TestDamagedValues(t *testing.T) {
	for _, back := range []bool{false, true} {
		r := newRig(t, readstatetest.Options{ValuesFrom: 10})
		r.merger = merger.Append{}
		r.Put("a", "1", "b", "0123456789", "c", "0123456789", "d", "3")
		r.flush()
		r.merges("c", "x")
		name := base.FileName(base.FileTypeValues, r.Version.SortedValues()[0].Num)
		r.Rewrite(name, func(data []byte) []byte { // the file still opens
			return bytes.ReplaceAll(data, []byte("0123456789"), []byte("0123456780"))
		})
		seek := (*Iter).SeekGE
		if back {
			seek = (*Iter).SeekLE
		}
		it := r.newest()
		if !seek(it, []byte("b")) || it.ValueLen() != 10 {
			t.Errorf("%q of %d is shown, %v", it.Key(), it.ValueLen(), it.Err())
		}
		if v, err := it.AppendValue([]byte("x")); string(v) != "x" || err == nil || err != it.Err() {
			t.Errorf("AppendValue is %q, %v, and Err %v", v, err, it.Err())
		}
		r.wantDamage(it.Err(), name)
		nothing(t, "AppendValue", it)
		if !seek(it, []byte("b")) || it.Value() != nil {
			t.Error("Value reads damage")
		}
		r.wantDamage(it.Err(), name)
		nothing(t, "Value", it)
		if seek(it, []byte("c")) {
			t.Errorf("%q=%q is shown", it.Key(), it.Value())
		}
		r.wantDamage(it.Err(), name)
		nothing(t, "operands", it)
		if !seek(it, []byte("d")) || string(it.Value()) != "3" || it.Err() != nil {
			t.Errorf("behind the damage: %q, %v", it.Key(), it.Err())
		}
		r.Check(it.Close())
		_, _, err := r.newest().TakeValue(nil, []byte("b"))
		r.wantDamage(err, name)
	}
}

// TestEntriesThatAreNone: an entry of an unknown kind, an expiry that is too short, and
// what is no pointer, end the walk, also where operands lie on them.
func TestEntriesThatAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		kind  base.Kind
		value string
		shown bool // the key is, without its value
	}{
		"alien":        {9, "", false},
		"short expiry": {base.KindPutTTL, "1234", false},
		"pointer":      {base.KindPutPointer, "junk", true},
	} {
		r := newRig(t, readstatetest.Options{})
		r.merger = merger.Append{}
		r.AddTable(1, func(w *sstable.Writer) {
			r.Check(w.Add([]byte("a"), base.MakeTrailer(1, base.KindPut), []byte("1")))
			r.Check(w.Add([]byte("b"), base.MakeTrailer(1, c.kind), []byte(c.value)))
			r.Check(w.Add([]byte("c"), base.MakeTrailer(1, base.KindPut), []byte("3")))
		}, nil)
		r.Seq = 1
		r.Publish()
		for _, operands := range []bool{false, true} {
			if operands {
				r.merges("b", "+", "+", "+")
			}
			for _, back := range []bool{false, true} {
				it := r.newest()
				got, err := rows(it, back)
				if want := map[bool]string{false: "a=1", true: "c=3"}[back]; !slices.Equal(got, []string{want}) {
					t.Errorf("%s: shows %q", name, got)
				}
				if !errors.Is(err, base.ErrCorruption) || it.Next() || it.Prev() {
					t.Errorf("%s, operands %v, backward %v: %v", name, operands, back, err)
				}
				if ok := it.SeekGE([]byte("b")); ok != (c.shown && !operands) {
					t.Errorf("%s, operands %v: shown is %v", name, operands, ok)
				} else if ok && (it.ValueLen() != 0 || it.Err() == nil) {
					t.Errorf("%s has the length %d", name, it.ValueLen())
				}
				if err := it.Close(); !errors.Is(err, base.ErrCorruption) || len(r.Damage()) == 0 {
					t.Errorf("%s: Close: %v, or nothing was reported", name, err)
				}
			}
		}
	}
}

// TestNoMerger: a key with operands ends the walk where there is no merge operator. The
// error names both.
func TestNoMerger(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	r.Put("a", "1", "c", "3")
	r.merges("b", "x")
	for _, back := range []bool{false, true} {
		it := r.newest()
		got, err := rows(it, back)
		if want := map[bool]string{false: "a=1", true: "c=3"}[back]; !slices.Equal(got, []string{want}) {
			t.Errorf("shows %q", got)
		}
		if !errors.Is(err, base.ErrInvalidOptions) || !strings.Contains(err.Error(), `"b"`) || !strings.Contains(err.Error(), "the keyspace of a test") {
			t.Errorf("the error is %v", err)
		}
		nothing(t, "operands", it)
		if !it.SeekGE([]byte("c")) || it.Err() != nil {
			t.Error("the error stays")
		}
		r.Check(it.Close())
	}
	if d := r.Damage(); len(d) > 0 {
		t.Errorf("it counts as damage: %v", d)
	}
}

var errMerge = errors.New("the operator fails")

// failing is a merge operator that fails, or panics, where a test wants that.
type failing struct {
	merger.Append
	fails, panics bool
}

func (f *failing) Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	switch {
	case f.panics:
		panic(errMerge)
	case f.fails:
		return nil, errMerge
	}
	return f.Append.Full(dst, key, existing, exists, operands)
}

// TestFailingMerger: a merge operator that fails ends the walk with its error, which is no
// damage, and the next try is as good as any.
func TestFailingMerger(t *testing.T) {
	m := &failing{fails: true}
	r := newRig(t, readstatetest.Options{})
	r.merger = m
	r.Put("a", "1", "c", "3")
	r.merges("b", "x", "y", "z")
	it := r.newest()
	for _, back := range []bool{false, true} {
		got, err := rows(it, back)
		if want := map[bool]string{false: "a=1", true: "c=3"}[back]; !slices.Equal(got, []string{want}) || !errors.Is(err, errMerge) || !strings.Contains(err.Error(), `"b"`) {
			t.Errorf("shows %q, error %v", got, err)
		}
		nothing(t, "an operator that fails", it)
	}
	if _, n, err := r.newest().TakeValue(nil, []byte("b")); !errors.Is(err, errMerge) || n != 0 {
		t.Errorf("TakeValue: %d operands, %v", n, err)
	}
	m.fails = false
	r.wants(it, "a=1", "b=xyz", "c=3")
	if d := r.Damage(); len(d) > 0 {
		t.Errorf("it counts as damage: %v", d)
	}
}

// TestPanickingMerger: when a merge operator panics the iterator can be closed, TakeValue
// closes it, and the transaction has what it went through before.
func TestPanickingMerger(t *testing.T) {
	m := &failing{panics: true}
	r := newRig(t, readstatetest.Options{})
	r.merger = m
	r.Put("a", "1", "c", "3")
	r.merges("b", "x", "y", "z")
	panics := func(call func()) {
		t.Helper()
		defer func() {
			if v := recover(); v != errMerge {
				t.Errorf("recovered %v", v)
			}
		}()
		call()
	}
	panics(func() { _, _, _ = r.newest().TakeValue(nil, []byte("b")) })
	if n := r.pins.Iterators(); n != 0 {
		t.Errorf("TakeValue leaves %d iterators", n)
	}
	tr := newTrail(r, 1<<20)
	it := r.newest()
	it.Track(&tr.x.ReadSet)
	if !it.First() {
		t.Error(it.Err())
	}
	panics(func() { it.Next() })
	if err := it.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	tr.wants(txn.Range{Lo: []byte{}, Hi: []byte("a\x00")})
	m.panics = false
	r.wants(r.newest(), "a=1", "b=xyz", "c=3")
}

// TestTakeValue: a value is appended, with how many operands it was made of, or there is
// none; the iterator is closed.
func TestTakeValue(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	r.merger = merger.Append{}
	r.Put("a", "1", "c", "3")
	r.merges("b", "x", "y", "z")
	for key, want := range map[string]int{"a": 0, "b": 3, "bb": -1, "z": -1} {
		v, n, err := r.newest().TakeValue([]byte("."), []byte(key))
		value := map[string]string{"a": ".1", "b": ".xyz"}[key]
		switch {
		case want < 0 && (!errors.Is(err, base.ErrNotFound) || string(v) != ".") || want >= 0 && (err != nil || string(v) != value || n != want):
			t.Errorf("%s: %q of %d operands, %v", key, v, n, err)
		}
	}
	it := r.newest()
	r.Store.MarkClosed()
	if _, _, err := it.TakeValue(nil, []byte("a")); !errors.Is(err, base.ErrClosed) {
		t.Errorf("a closed store: %v", err)
	}
}
