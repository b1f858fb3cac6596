package dbiter

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/writeset"
	"github.com/seerdb-go/seerdb/merger"
)

// counting is lone, and counts what it is given.
type counting struct {
	lone
	operands int
}

func (c *counting) Full(dst, key, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	c.operands += len(operands)
	return c.lone.Full(dst, key, existing, exists, operands)
}

// counter is a rig with one key, n.
type counter struct {
	*rig
	m *counting
}

func newCounter(t *testing.T, o readstatetest.Options) *counter {
	r := newRig(t, o)
	c := &counter{r, new(counting)}
	r.merger = c.m
	return c
}

// takes reads n, and checks its value and how many operands were merged for it.
func (c *counter) takes(what string, it *Iter, want string, merged int) {
	c.Helper()
	before := c.m.operands
	v, _, err := it.TakeValue(nil, []byte("n"))
	if err != nil || string(v) != want {
		c.Errorf("%s: %q, %v, want %q", what, v, err, want)
	}
	if n := c.m.operands - before; n != merged {
		c.Errorf("%s: %d operands were merged, want %d", what, n, merged)
	}
}

func (c *counter) at(seq base.SeqNum) *Iter {
	c.Helper()
	return c.open(0, Options{}, point(seq, 0), nil)
}

// TestFolded: what many operands came to is merged once; later reads merge what came on
// top, and reads at an earlier sequence all that they see, which changes nothing for the
// others. How many a value is made of counts all.
func TestFolded(t *testing.T) {
	c := newCounter(t, readstatetest.Options{})
	c.Put("n", "0")
	c.takes("no operand", c.newest(), "0", 0)
	c.merges("n", "1")
	c.takes("few", c.newest(), "01", 1)
	c.takes("few, again", c.newest(), "01", 1)
	c.merges("n", "2", "3", "4")
	early := c.Seq - 1
	c.takes("first", c.newest(), "01234", 4)
	c.takes("second", c.newest(), "01234", 0)
	c.takes("earlier", c.at(early), "0123", 3)
	c.takes("third", c.newest(), "01234", 0)
	c.merges("n", "5", "6", "7")
	c.takes("on top", c.newest(), "01234567", 3)
	c.takes("on top, again", c.newest(), "01234567", 0)
	if _, n, err := c.newest().TakeValue(nil, []byte("n")); n != 7 || err != nil {
		t.Errorf("made of %d operands, %v", n, err)
	}
	for _, back := range []bool{false, true} {
		it, before := c.newest(), c.m.operands
		if got, err := rows(it, back); err != nil || len(got) != 1 || got[0] != "n=01234567" || c.m.operands != before {
			t.Errorf("backward %v: %q, %v, %d operands", back, got, err, c.m.operands-before)
		}
		c.Check(it.Close())
	}
	c.Rotate()
	c.takes("another memtable", c.newest(), "01234567", 0)
	c.merges("n", "8")
	c.takes("one in another memtable", c.newest(), "012345678", 1) // which is not worth noting
	c.merges("n", "9", "a")
	c.takes("more in another memtable", c.newest(), "0123456789a", 3)
	c.takes("more in another memtable, again", c.newest(), "0123456789a", 0)
}

// TestFoldedUnderOtherThings: what came to lie between is not passed over, for later
// operands begin there.
func TestFoldedUnderOtherThings(t *testing.T) {
	c := newCounter(t, readstatetest.Options{})
	again := func(what, under string) {
		t.Helper()
		c.merges("n", "x", "y", "z")
		c.takes(what, c.newest(), under+"xyz", 3)
		c.takes(what+", again", c.newest(), under+"xyz", 0)
	}
	again("nothing", "")
	c.deletes(0, "n")
	again("a delete", "")
	c.Put("n", "0")
	again("a put", "0")
	c.Commit(func(b *batch.Batch) { c.Check(b.DeleteRange(0, []byte("a"), []byte("z"))) })
	again("a range delete", "")
	c.flush()
	c.Commit(func(b *batch.Batch) { c.Check(b.DeleteRange(0, []byte("a"), nil)) })
	again("a range delete over a table", "")
}

// TestFoldedBehindAFlush: a flush makes one operand of several, older and newer ones. What
// is known of some of them is of no use then.
func TestFoldedBehindAFlush(t *testing.T) {
	c := newCounter(t, readstatetest.Options{Merger: merger.Append{}})
	c.merges("n", "1", "2", "3")
	c.takes("some", c.newest(), "123", 3)
	c.merges("n", "4")
	c.flush()
	c.merges("n", "5", "6")
	c.takes("one operand of four", c.newest(), "123456", 3)
	c.takes("one operand of four, again", c.newest(), "123456", 0)
	c.flush()
	c.Compact(0, 0, 1)
	c.merges("n", "7", "8", "9")
	c.takes("one of six", c.newest(), "123456789", 3) // all of it is in tables, and nothing newer
	c.merges("n", "a")
	c.flush()
	c.merges("n", "b", "c")
	c.takes("two flushes later", c.newest(), "123456789abc", 4)
}

// TestFoldedOfAnOlderState: a reader of an older state does without what others know of a
// newer one: its other keys do not go with that.
func TestFoldedOfAnOlderState(t *testing.T) {
	c := newCounter(t, readstatetest.Options{})
	c.merges("n", "1", "2", "3")
	older, shard := c.Store.Keep()
	c.Rotate()
	c.merges("n", "4", "5", "6")
	c.takes("newer state", c.newest(), "123456", 6)
	c.takes("older state", New(&c.env, space{c.rig, 0}, older, shard, Options{}, readstate.Newest, nil), "123", 3)
	c.takes("newer state, again", c.newest(), "123456", 0)
}

// TestFoldedBesideFilters: what is known of a key goes when a filter takes effect, and
// does not come back by a reader of the state before.
func TestFoldedBesideFilters(t *testing.T) {
	c := newCounter(t, readstatetest.Options{})
	c.Put("n", "0")
	c.flush()
	c.merges("n", "1", "2", "3")
	c.takes("before", c.newest(), "0123", 3)
	snap := c.Store.Snapshots.Take(new(readstate.Hold))
	early := func() *Iter { return c.open(0, Options{}, snap, nil) }
	c.takes("snapshot", early(), "0123", 0)
	c.Filter = func(_, _ []byte) (compaction.FilterVerdict, []byte, error) {
		return compaction.FilterRemove, nil, nil
	}
	c.Compact(0, 0, 1)
	c.takes("the snapshot, still", early(), "0123", 0)
	c.takes("behind the filter", c.newest(), "123", 3)
	c.takes("the snapshot, behind that", early(), "0123", 3)
	c.takes("behind the filter, again", c.newest(), "123", 0)
	c.Store.Snapshots.Drop(snap)
}

// TestFoldedOnWhatExpires: what lies on a value that expires is not noted, whether it
// has expired or not; nor is what is known since it expired for reads at an earlier time.
func TestFoldedOnWhatExpires(t *testing.T) {
	c := newCounter(t, readstatetest.Options{Expire: true, ValuesFrom: 10})
	ends := c.Time() + 10
	for _, long := range []string{"0", "0123456789"} { // in a value file
		c.SetTime(ends - 10)
		c.Commit(func(b *batch.Batch) { c.Check(b.PutTTL(0, []byte("n"), []byte(long), ends)) })
		c.flush()
		c.merges("n", "x", "y", "z")
		c.takes("before", c.newest(), long+"xyz", 3)
		c.takes("before, again", c.newest(), long+"xyz", 3)
		early := c.newest()
		second := c.newest()
		c.SetTime(ends)
		c.takes("expired", c.newest(), "xyz", 3)
		c.takes("expired, again", c.newest(), "xyz", 3)
		c.takes("at an earlier time", c.open(0, Options{}, point(base.SeqNumMax, ends-1), nil), long+"xyz", 3)
		c.Compact(0, 0, 1) // takes it away
		c.takes("gone", c.newest(), "xyz", 3)
		c.takes("gone, again", c.newest(), "xyz", 0)
		c.takes("an iterator from before", early, long+"xyz", 3)
		c.takes("another one", second, long+"xyz", 3)
		c.takes("gone, still", c.newest(), "xyz", 0)
		c.deletes(0, "n")
		ends += 100
	}
}

// TestFoldedUnderOwnWrites: a transaction's own operands are not noted, nor does it use
// what is.
func TestFoldedUnderOwnWrites(t *testing.T) {
	c := newCounter(t, readstatetest.Options{KeepAll: true})
	c.merges("n", "1", "2", "3")
	own := c.own(func(b *batch.Batch) {
		for range 3 {
			c.Check(b.Merge(0, []byte("n"), []byte("+")))
		}
	})
	at := func(own *writeset.Set) *Iter { return c.open(0, Options{}, readstate.Newest, own) }
	c.takes("own", at(own), "123+++", 6)
	c.takes("without", at(nil), "123", 3)
	c.takes("own, again", at(own), "123+++", 6)
	c.takes("without, again", at(nil), "123", 0)
	early := point(c.Seq, 0)
	c.merges("n", "4", "5") // lie between its own and what its snapshot shows
	for range 20 {
		c.merges("n", "6")
	}
	for range 2 {
		c.takes("own, with commits since", c.open(0, Options{}, early, own), "123+++", 6)
		it := c.open(0, Options{}, early, own)
		if !it.Last() || string(it.Value()) != "123+++" {
			t.Errorf("backward: %q, %v", it.Value(), it.Err())
		}
		c.Check(it.Close())
		c.flush()
	}
}

// TestFoldedRoom: large values are not noted, and of many keys not all; keyspaces and
// keys do not meet.
func TestFoldedRoom(t *testing.T) {
	c := newCounter(t, readstatetest.Options{})
	large := strings.Repeat("v", foldedMax/2)
	c.merges("n", large, large, "x")
	for range 2 {
		c.takes("large", c.newest(), large+large+"x", 3)
	}
	const keys = 2 * foldedKeys
	for i := range keys {
		c.Commit(func(b *batch.Batch) {
			for j := range 3 {
				for _, id := range []uint32{0, 5} { // in turns, so that their sequences mix
					c.Check(b.Merge(id, fmt.Append(nil, i), fmt.Append(nil, id, i, j, ",")))
				}
			}
		})
	}
	for range 2 {
		for i := range keys {
			for _, id := range []uint32{0, 5} {
				v, _, err := c.open(id, Options{}, readstate.Newest, nil).TakeValue(nil, fmt.Append(nil, i))
				if want := fmt.Append(fmt.Append(fmt.Append(nil, id, i, 0, ","), id, i, 1, ","), id, i, 2, ","); err != nil || !bytes.Equal(v, want) {
					t.Fatalf("%d in %d: %q, %v, want %q", i, id, v, err, want)
				}
			}
		}
		if n := len(c.folded.at); n != foldedKeys {
			t.Errorf("%d keys are known", n)
		}
	}
}
