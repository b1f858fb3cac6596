package dbiter

import (
	"errors"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/generation"
	"github.com/seerdb-go/seerdb/internal/pins"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/writeset"
)

// rig is a store with what its iterators share.
type rig struct {
	*readstatetest.Rig
	env    Env
	pins   pins.List
	folded Folded
	merger base.Merger // of every keyspace
	shares bool        // Env.Share makes what it is asked for
	asked  int         // how often it was asked
}

// space is a keyspace of a rig.
type space struct {
	r  *rig
	id uint32
}

func (k space) ID() uint32          { return k.id }
func (k space) Merger() base.Merger { return k.r.merger }
func (k space) Describe() string    { return "the keyspace of a test" }

// newRig makes a rig whose iterators leave hints about three dead keys, and note what two
// operands came to. When the test ends no iterator may be listed.
func newRig(t testing.TB, o readstatetest.Options) *rig {
	t.Helper()
	r := &rig{Rig: readstatetest.New(t, o), merger: o.Merger, shares: true}
	r.pins.Init(r.Cache)
	r.env = Env{Store: r.Store, Pins: &r.pins, Folded: &r.folded, DeadMin: 3, FoldFrom: 2, Share: r.share}
	t.Cleanup(func() {
		if n, size := r.pins.Iterators(), r.pins.IterBytes(); !t.Failed() && (n != 0 || size != 0) {
			t.Errorf("%d iterators with %d bytes are listed", n, size)
		}
	})
	return r
}

func (r *rig) share(g *generation.Generation) bool {
	r.asked++
	return r.shares && g == r.Store.Current().Active && g.Mem.Share() == nil
}

// open is New on the state that a read at a moment looks at.
func (r *rig) open(id uint32, o Options, at readstate.Point, own *writeset.Set) *Iter {
	r.Helper()
	s, shard := r.Store.KeepAt(at)
	if s == nil {
		r.Fatal("the store is closed")
	}
	return New(&r.env, space{r, id}, s, shard, o, at, own)
}

// newest opens an iterator over the default keyspace.
func (r *rig) newest() *Iter {
	r.Helper()
	return r.open(0, Options{}, readstate.Newest, nil)
}

// flush moves all to level 0.
func (r *rig) flush() {
	r.Helper()
	r.Rotate()
	r.Flush()
}

// merges commits operands of a key of the default keyspace.
func (r *rig) merges(key string, operands ...string) {
	r.Helper()
	r.Commit(func(b *batch.Batch) {
		for _, o := range operands {
			r.Check(b.Merge(0, []byte(key), []byte(o)))
		}
	})
}

// deletes commits tombstones of keys of a keyspace.
func (r *rig) deletes(id uint32, keys ...string) {
	r.Helper()
	r.Commit(func(b *batch.Batch) {
		for _, k := range keys {
			r.Check(b.Delete(id, []byte(k)))
		}
	})
}

// own is what an open transaction wrote.
func (r *rig) own(fill func(b *batch.Batch)) *writeset.Set {
	r.Helper()
	b, o := new(batch.Batch), new(writeset.Set)
	fill(b)
	r.Check(b.Err())
	for rd := b.Reader(); ; {
		op, ok, err := rd.Next()
		r.Check(err)
		if !ok {
			return o
		}
		o.Add(&op)
	}
}

// rows are the keys and values that an iterator shows going one way, as key=value, and
// what ended the walk. Backward they come in the same order.
func rows(it *Iter, back bool) (list []string, err error) {
	ok := false
	if back {
		ok = it.Last()
	} else {
		ok = it.First()
	}
	for ok {
		key := string(it.Key())
		value := it.Value()
		if !it.Valid() {
			break
		}
		list = append(list, key+"="+string(value))
		if back {
			ok = it.Prev()
		} else {
			ok = it.Next()
		}
	}
	if back {
		slices.Reverse(list)
	}
	return list, it.Err()
}

// wants checks what an iterator shows in both directions, and closes it.
func (r *rig) wants(it *Iter, want ...string) {
	r.Helper()
	for _, back := range []bool{false, true, false} {
		if got, err := rows(it, back); err != nil || !slices.Equal(got, want) {
			r.Errorf("backward %v: shows %q, error %v, want %q", back, got, err, want)
		}
	}
	r.Check(it.Close())
}

// wantDamage checks that an error is damage of a file, and whether it was reported.
func (r *rig) wantDamage(err error, file string) {
	r.Helper()
	var c *base.CorruptionError
	if !errors.As(err, &c) || c.File != file {
		r.Errorf("the error is %v, want damage of %s", err, file)
	}
	if d := r.Damage(); !slices.ContainsFunc(d, func(e error) bool { return errors.Is(e, err) }) {
		r.Errorf("reported is %v, and the error %v", d, err)
	}
}

// point is a moment.
func point(seq base.SeqNum, time uint64) readstate.Point {
	return readstate.Point{Seq: seq, Time: time}
}

// fillOf puts keys of a keyspace, each with itself as the value.
func fillOf(r *rig, id uint32, keys ...string) func(b *batch.Batch) {
	return func(b *batch.Batch) {
		for _, k := range keys {
			r.Check(b.Put(id, []byte(k), []byte(k)))
		}
	}
}
