package dbiter

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/memtable"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
)

// listed are fragments of hints, as their ends and newest sequence.
func listed(v memtable.Ranges) (list []string) {
	var room memtable.RangeRoom
	for key := []byte{}; !v.None(); {
		f, _ := v.Next(key, &room)
		if f == nil {
			break
		}
		list = append(list, fmt.Sprintf("%s to %s at %d", after(f.Lo), after(f.Hi), f.Seqs[0]))
		if f.Hi == nil {
			break
		}
		key = bytes.Clone(f.Hi)
	}
	return list
}

// after writes the first key after another one with a plus.
func after(key []byte) []byte { return bytes.ReplaceAll(key, []byte{0}, []byte("+")) }

// hints are those that the active generation has of a keyspace: of deleted keys, and of
// keys of which some expired, for a read at the time.
func (r *rig) hints(id uint32) (deleted, expired []string) {
	m := r.Store.Current().Active.Mem
	return listed(m.Hints(id)), listed(m.ExpiredHints(id, r.Time()))
}

// wantHints checks the hints about deleted keys. Of no keyspace is there one about
// expired keys.
func (r *rig) wantHints(what string, id uint32, want ...string) {
	r.Helper()
	deleted, expired := r.hints(id)
	if !slices.Equal(deleted, want) || expired != nil {
		r.Errorf("%s: hints %q and %q, want %q", what, deleted, expired, want)
	}
}

// queue makes a rig with keys a to h, of which b to f are deleted; all lies in tables if
// flushed is true. The keys are of a keyspace.
func queue(t *testing.T, id uint32, flushed bool) *rig {
	r := newRig(t, readstatetest.Options{KeepAll: true})
	r.Commit(fillOf(r, id, "a", "b", "c", "d", "e", "f", "g", "h"))
	r.deletes(id, "b", "c", "d", "e", "f")
	if flushed {
		r.flush()
	}
	return r
}

// TestHintsLeft: an iterator leaves a hint about the dead keys that one step passed, if
// they were enough: exactly them, and what lies between and behind them up to where it
// went. The next iterator jumps over them, either way.
func TestHintsLeft(t *testing.T) {
	step := func(move func(*Iter, []byte) bool, key string) func(*Iter) {
		return func(it *Iter) { move(it, []byte(key)) }
	}
	ge, lt := (*Iter).SeekGE, (*Iter).SeekLT
	for _, c := range []struct {
		name         string
		lower, upper string
		move         func(*Iter)
		want         string // its ends
	}{
		{"forward", "", "", step(ge, "b"), "b to g"},
		{"from the middle", "", "", step(ge, "c1"), "d to g"},
		{"by Next", "", "", func(it *Iter) { it.First(); it.Next() }, "b to g"},
		{"to a bound", "", "e", step(ge, "aa"), "b to d+"},
		{"backward", "", "", step(lt, "g"), "a+ to f+"},
		{"back from the middle", "", "", step(lt, "e"), "a+ to d+"},
		{"by Prev", "", "", func(it *Iter) { it.SeekGE([]byte("g")); it.Prev() }, "a+ to f+"},
		{"back to a bound", "aa", "", step(lt, "f"), "aa to e+"},
		{"two only", "", "", step(ge, "e"), ""},
		{"two only, backward", "", "", step(lt, "d"), ""},
		{"two only to a bound", "", "d", step(ge, "aa"), ""},
	} {
		for _, flushed := range []bool{false, true} {
			for _, id := range []uint32{0, 7} {
				r := queue(t, id, flushed)
				o := Options{}
				if c.lower != "" {
					o.Lower = []byte(c.lower)
				}
				if c.upper != "" {
					o.Upper = []byte(c.upper)
				}
				it := r.open(id, o, readstate.Newest, nil)
				c.move(it)
				r.Check(it.Err())
				r.Check(it.Close())
				var want []string
				if c.want != "" {
					want = []string{fmt.Sprintf("%s at %d", c.want, r.Seq)}
				}
				r.wantHints(c.name, id, want...)
				for _, back := range []bool{false, true} {
					if want == nil {
						break
					}
					it := r.open(id, o, readstate.Newest, nil)
					it.hit = hit{}
					if back {
						it.SeekLT([]byte("e"))
					} else {
						it.SeekGE([]byte("d"))
					}
					if it.hit.frag == nil {
						t.Errorf("%s: the next iterator finds no hint", c.name)
					}
					r.Check(it.Close())
				}
				r.wants(r.open(id, Options{}, readstate.Newest, nil), "a=a", "g=g", "h=h")
				r.Commit(fillOf(r, id, "d")) // newer than the hint over it
				r.wants(r.open(id, Options{}, readstate.Newest, nil), "a=a", "d=d", "g=g", "h=h")
				r.Close()
			}
		}
	}
}

// TestHintsAreForLaterReads: a read before the sequence of a hint does without, and leaves
// one that is for reads as early.
func TestHintsAreForLaterReads(t *testing.T) {
	r := newRig(t, readstatetest.Options{})
	r.Put("a", "1", "b", "2", "c", "3", "d", "4", "e", "5")
	r.deletes(0, "a", "b", "c")
	early := r.Seq
	r.deletes(0, "d")
	r.Put("x", "6")
	r.wants(r.newest(), "e=5", "x=6")
	r.wantHints("newest", 0, fmt.Sprintf(" to a at %d", r.Seq), fmt.Sprintf("a to e at %d", r.Seq))
	r.wants(r.open(0, Options{}, point(early, 0), nil), "d=4", "e=5")
	r.wants(r.open(0, Options{}, point(early-3, 0), nil), "a=1", "b=2", "c=3", "d=4", "e=5")
}

// TestNoHints: an iterator leaves no hint where something that it does not see may come
// to lie below: none behind the back of a newer state, none at a sequence before its
// generation began, none about what only a transaction deleted.
func TestNoHints(t *testing.T) {
	t.Run("older state", func(t *testing.T) {
		r := queue(t, 0, false)
		it := r.newest()
		r.Rotate()
		r.wants(it, "a=a", "g=g", "h=h")
		for _, g := range r.Store.Current().Generations() {
			if !g.Mem.Hints(0).None() {
				t.Error("a hint was left")
			}
		}
		r.wants(r.newest(), "a=a", "g=g", "h=h")
		if deleted, _ := r.hints(0); len(deleted) == 0 {
			t.Error("the newer state has none")
		}
	})
	t.Run("before the generation", func(t *testing.T) {
		r := queue(t, 0, true)
		after := r.Store.Current().Active.After
		r.Put("i", "9")
		r.wants(r.open(0, Options{}, point(after-1, 0), nil), "a=a", "f=f", "g=g", "h=h")
		r.wantHints("before", 0)
		r.wants(r.open(0, Options{}, point(after, 0), nil), "a=a", "g=g", "h=h")
		if deleted, _ := r.hints(0); len(deleted) == 0 {
			t.Error("from its first sequence on there is none")
		}
	})
	t.Run("own writes", func(t *testing.T) {
		r := newRig(t, readstatetest.Options{})
		r.Commit(fillOf(r, 0, "a", "b", "c", "d", "e"))
		own := r.own(func(b *batch.Batch) {
			for _, k := range []string{"a", "b", "c", "d"} {
				r.Check(b.Delete(0, []byte(k)))
			}
		})
		r.wants(r.open(0, Options{}, readstate.Newest, own), "e=e")
		r.wantHints("own deletes", 0)
		own = r.own(func(b *batch.Batch) { r.Check(b.DeleteRange(0, []byte("a"), []byte("e"))) })
		r.env.DeadMin = 1
		r.wants(r.open(0, Options{}, readstate.Newest, own), "e=e")
		r.wantHints("own range delete", 0)
		own = r.own(func(b *batch.Batch) { r.Check(b.Delete(9, []byte("a"))) }) // of another keyspace
		r.wants(r.open(0, Options{}, readstate.Newest, own), "a=a", "b=b", "c=c", "d=d", "e=e")
	})
	t.Run("damage", func(t *testing.T) {
		r := newRig(t, readstatetest.Options{PageSize: 64})
		var keys []string
		for i := range 40 {
			keys = append(keys, fmt.Sprintf("key%02d", i))
		}
		r.Commit(fillOf(r, 0, keys...))
		r.deletes(0, keys...)
		r.flush()
		r.Flip(r.Store.Current().Levels(0)[0][0].Tables[0].Meta.FileName(), 400)
		for _, back := range []bool{false, true} {
			it := r.newest()
			if _, err := rows(it, back); err == nil {
				t.Error("no damage was met")
			}
			_ = it.Close()
		}
		r.wantHints("a walk that damage ended", 0)
	})
}

// TestHintsOfSharedMemory: of a keyspace whose half of the memtable is not there yet a
// hint is left only if that can be made; the default keyspace never asks.
func TestHintsOfSharedMemory(t *testing.T) {
	r := queue(t, 7, true)
	r.shares = false
	r.wants(r.open(7, Options{}, readstate.Newest, nil), "a=a", "g=g", "h=h")
	r.wantHints("a commit is in the way", 7)
	if r.asked == 0 {
		t.Error("Share was not called")
	}
	r.shares, r.asked = true, 0
	it := r.open(7, Options{}, readstate.Newest, nil)
	it.First()
	it.Next()
	r.Check(it.Close())
	r.wantHints("none is", 7, fmt.Sprintf("b to g at %d", r.Seq))
	if r.asked != 1 {
		t.Errorf("Share was called %d times", r.asked)
	}
	r = queue(t, 0, true)
	r.wants(r.newest(), "a=a", "g=g", "h=h")
	if r.asked != 0 {
		t.Error("the default keyspace asks")
	}
}

// TestExpiredHints: a run with keys that expired is known to reads at its time and later;
// what deletes alone made dead is known to all. A run that contains another is as that is.
func TestExpiredHints(t *testing.T) {
	for _, back := range []bool{false, true} {
		r := newRig(t, readstatetest.Options{})
		early := r.Time()
		ends := early + 10
		var all []string
		r.Commit(func(b *batch.Batch) {
			for _, k := range []string{"b", "c", "d", "e"} {
				r.Check(b.PutTTL(0, []byte(k), []byte(k), ends))
				all = append(all, k+"="+k)
			}
			r.Check(b.Put(0, []byte("a"), []byte("a")))
			r.Check(b.Put(0, []byte("z"), []byte("z")))
		})
		all = slices.Concat([]string{"a=a"}, all, []string{"z=z"})
		r.wants(r.newest(), all...)
		r.wantHints("before they expire", 0)
		r.SetTime(ends)
		show := func(time uint64, want ...string) (jumped bool) {
			t.Helper()
			it := r.open(0, Options{}, point(base.SeqNumMax, time), nil)
			it.hit = hit{}
			if got, err := rows(it, back); err != nil || !slices.Equal(got, want) {
				t.Errorf("at %d: shows %q, error %v, want %q", time, got, err, want)
			}
			jumped = it.hit.frag != nil
			r.Check(it.Close())
			return jumped
		}
		if show(0, "a=a", "z=z") {
			t.Error("there was a hint before")
		}
		deleted, expired := r.hints(0)
		if len(deleted) > 0 || len(expired) != 1 {
			t.Errorf("hints %q, %q", deleted, expired)
		}
		if show(early, all...) || show(ends-1, all...) {
			t.Error("a read at an earlier time uses the hint")
		}
		if !show(ends, "a=a", "z=z") || !show(ends+1, "a=a", "z=z") {
			t.Error("a read at that time, or later, does not use the hint")
		}
		r.SetTime(ends + 1)
		r.deletes(0, "a0", "a1", "a2", "e1", "e2", "e3")
		show(0, "a=a", "z=z") // jumps over them, on its way over dead keys
		if deleted, _ := r.hints(0); len(deleted) > 0 {
			t.Errorf("a run that has expired keys in it became %q", deleted)
		}
		show(early, all...)
		r.SetTime(ends + 2)
		r.deletes(0, "f1", "f2", "f3", "f4")
		it := r.open(0, Options{Lower: []byte("f")}, readstate.Newest, nil)
		if back {
			it.SeekLT([]byte("z"))
		} else {
			it.First()
		}
		r.Check(it.Close())
		want := fmt.Sprintf("f1 to z at %d", r.Seq)
		if back {
			want = fmt.Sprintf("f to f4+ at %d", r.Seq)
		}
		if deleted, _ := r.hints(0); !slices.Contains(deleted, want) {
			t.Errorf("a run of deleted keys alone made %q", deleted)
		}
		show(early, all...)
	}
}

// TestHintsBesideFilters: what a filter took away is dead to reads of the state that it
// left, and not to a snapshot that keeps the one before.
func TestHintsBesideFilters(t *testing.T) {
	for _, open := range []bool{false, true} { // whether the iterator is there before the filter
		r := newRig(t, readstatetest.Options{})
		r.Put("a", "1", "b", "2", "c", "3", "d", "4", "e", "5")
		r.flush()
		snap := r.Store.Snapshots.Take(new(readstate.Hold))
		var it *Iter
		if open {
			it = r.open(0, Options{}, snap, nil)
		}
		r.Filter = func(key, _ []byte) (compaction.FilterVerdict, []byte, error) {
			if string(key) == "e" {
				return compaction.FilterKeep, nil, nil
			}
			return compaction.FilterRemove, nil, nil
		}
		r.Compact(0, 0, 1)
		r.wants(r.newest(), "e=5")
		if deleted, _ := r.hints(0); len(deleted) == 0 {
			t.Error("no hint was left")
		}
		if !open {
			it = r.open(0, Options{}, snap, nil)
		}
		r.wants(it, "a=1", "b=2", "c=3", "d=4", "e=5")
		r.Store.Snapshots.Drop(snap)
	}
}

// TestWithin: bounds narrow, and never widen.
func TestWithin(t *testing.T) {
	b := func(s string) []byte {
		if s == "-" {
			return nil
		}
		return []byte(s)
	}
	for _, c := range [][6]string{
		{"-", "-", "-", "-", "-", "-"},
		{"-", "-", "b", "c", "b", "c"},
		{"b", "c", "-", "-", "b", "c"},
		{"b", "y", "a", "z", "b", "y"},
		{"b", "y", "c", "x", "c", "x"},
		{"b", "y", "a", "x", "b", "x"},
		{"b", "y", "", "", "b", ""},
	} {
		o := Options{Lower: b(c[0]), Upper: b(c[1]), Bulk: true}.Within(b(c[2]), b(c[3]))
		if !same(o.Lower, b(c[4])) || !same(o.Upper, b(c[5])) || !o.Bulk {
			t.Errorf("%q: %q to %q", c, o.Lower, o.Upper)
		}
	}
}
