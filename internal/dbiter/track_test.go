package dbiter

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/readstate"
	"github.com/seerdb-go/seerdb/internal/readstate/readstatetest"
	"github.com/seerdb-go/seerdb/internal/txn"
)

// trail is an open transaction whose set can be listed: it is the tree that CheckTree
// asks.
type trail struct {
	r      *rig
	t      *txn.Tracker
	x      txn.Txn
	ranges []txn.Range
}

func newTrail(r *rig, limit int) *trail {
	tr := &trail{r: r, t: txn.New(1 << 20)}
	tr.t.Begin(&tr.x, r.Seq, limit, nil)
	return tr
}

func (tr *trail) NewestSeq(keyspace uint32, key []byte) (base.SeqNum, error) {
	tr.r.Errorf("key %q of %d was read", key, keyspace)
	return 0, nil
}

func (tr *trail) AnyNewer(keyspace uint32, lo, hi []byte, _ base.SeqNum) (bool, error) {
	tr.ranges = append(tr.ranges, txn.Range{Keyspace: keyspace, Lo: lo, Hi: hi})
	return false, nil
}

// wants seals the set, and checks what it has.
func (tr *trail) wants(want ...txn.Range) {
	tr.r.Helper()
	tr.r.Check(tr.x.Seal())
	_, err := tr.x.CheckTree(tr)
	tr.r.Check(err)
	describe := func(list []txn.Range) (out []string) {
		for _, g := range list {
			out = append(out, fmt.Sprintf("%d: %q to %q, end %v", g.Keyspace, g.Lo, g.Hi, g.Hi == nil))
		}
		return out
	}
	if got, want := describe(tr.ranges), describe(want); !slices.Equal(got, want) {
		tr.r.Errorf("read was %q, want %q", got, want)
	}
	tr.t.End(&tr.x)
}

// none is no bound.
const none = "none"

// part is a range of keyspace 300.
func part(lo, hi string) txn.Range {
	g := txn.Range{Keyspace: 300, Lo: []byte(lo), Hi: []byte(hi)}
	if hi == none {
		g.Hi = nil
	}
	return g
}

type list = []func(*Iter) bool

func ge(key string) func(*Iter) bool { return func(it *Iter) bool { return it.SeekGE([]byte(key)) } }
func lt(key string) func(*Iter) bool { return func(it *Iter) bool { return it.SeekLT([]byte(key)) } }
func le(key string) func(*Iter) bool { return func(it *Iter) bool { return it.SeekLE([]byte(key)) } }

var first, last, next, prev = (*Iter).First, (*Iter).Last, (*Iter).Next, (*Iter).Prev

// trails are moves over the keys b, d and f, and what they read.
var trails = []struct {
	name         string
	lower, upper string
	moves        list
	want         []txn.Range
}{
	{"nothing", none, none, nil, nil},
	{"First", none, none, list{first}, []txn.Range{part("", "b\x00")}},
	{"First from a bound", "c", none, list{first}, []txn.Range{part("c", "d\x00")}},
	{"First to a bound", "b1", "c", list{first}, []txn.Range{part("b1", "c")}},
	{"First and Next", none, none, list{first, next}, []txn.Range{part("", "d\x00")}},
	{"Next alone", none, none, list{next}, []txn.Range{part("", "b\x00")}},
	{"to the end", none, none, list{first, next, next, next}, []txn.Range{part("", none)}},
	{"behind the end", none, "x", list{first, next, next, next, next}, []txn.Range{part("", "x")}},
	{"Last", none, none, list{last}, []txn.Range{part("f", none)}},
	{"Prev alone", none, none, list{prev}, []txn.Range{part("f", none)}},
	{"Last below a bound", none, "e", list{last}, []txn.Range{part("d", "e")}},
	{"Last and Prev", none, none, list{last, prev}, []txn.Range{part("d", none)}},
	{"to the beginning", none, none, list{last, prev, prev, prev}, []txn.Range{part("", none)}},
	{"to a bound", "a", "z", list{last, prev, prev, prev, prev}, []txn.Range{part("a", "z")}},
	{"SeekGE", none, none, list{ge("c")}, []txn.Range{part("c", "d\x00")}},
	{"SeekGE of a key", none, none, list{ge("d")}, []txn.Range{part("d", "d\x00")}},
	{"SeekGE below a bound", "c", none, list{ge("a")}, []txn.Range{part("c", "d\x00")}},
	{"SeekGE behind all", none, none, list{ge("g")}, []txn.Range{part("g", none)}},
	{"SeekLT", none, none, list{lt("e")}, []txn.Range{part("d", "e")}},
	{"SeekLT of a key", none, none, list{lt("d")}, []txn.Range{part("b", "d")}},
	{"SeekLT above a bound", none, "e", list{lt("x")}, []txn.Range{part("d", "e")}},
	{"SeekLT before all", none, none, list{lt("a")}, []txn.Range{part("", "a")}},
	{"SeekLT of the empty key", none, none, list{lt("")}, nil},
	{"SeekLE", none, none, list{le("d")}, []txn.Range{part("d", "d\x00")}},
	{"there and back", none, none, list{ge("c"), next, prev, prev}, []txn.Range{part("b", "f\x00")}},
	{"back from the end", none, none, list{ge("f"), next, prev}, []txn.Range{part("f", none)}},
	{"ahead from the beginning", none, none, list{lt("b"), next}, []txn.Range{part("", "b\x00")}},
	{"jumps", none, none, list{ge("f"), lt("c")}, []txn.Range{part("b", "c"), part("f", "f\x00")}},
}

// TestTrack: of each kind of move it is known from where to where the iterator looked: up
// to the key that it shows, or the bound where there is none; steps extend that.
func TestTrack(t *testing.T) {
	for _, c := range trails {
		for _, closes := range []bool{true, false} {
			r := newRig(t, readstatetest.Options{})
			r.Commit(fillOf(r, 300, "b", "d", "f", "dead"))
			r.deletes(300, "dead")
			o := Options{}
			if c.lower != none {
				o.Lower = []byte(c.lower)
			}
			if c.upper != none {
				o.Upper = []byte(c.upper)
			}
			it := r.open(300, o, readstate.Newest, nil)
			tr := newTrail(r, 1<<20)
			it.Track(&tr.x.ReadSet)
			for _, m := range c.moves {
				m(it)
			}
			r.Check(it.Err())
			if closes { // else the transaction commits before
				r.Check(it.Close())
			}
			t.Run(c.name, func(t *testing.T) { tr.wants(c.want...) })
			if !closes {
				if it.First() || !errors.Is(it.Err(), base.ErrTxnDone) {
					t.Errorf("%s: an iterator goes on behind its transaction: %v", c.name, it.Err())
				}
				nothing(t, c.name, it)
				if err := it.Close(); !errors.Is(err, base.ErrTxnDone) {
					t.Errorf("%s: Close: %v", c.name, err)
				}
			}
			r.Close()
		}
	}
}

// TestTrailTooLong: a set that cannot take what an iterator went through ends the walk,
// and fails the transaction.
func TestTrailTooLong(t *testing.T) {
	for _, back := range []bool{false, true} {
		r := newRig(t, readstatetest.Options{})
		r.Put("a", "1", "c", "3", "e", "5")
		tr := newTrail(r, txn.KeySize+10)
		it := r.newest()
		it.Track(&tr.x.ReadSet)
		jump := func(key string) bool {
			if back {
				return it.SeekLE([]byte(key))
			}
			return it.SeekGE([]byte(key))
		}
		if !jump("a") || !jump("c") { // the first enters the set with the second
			t.Fatal(it.Err())
		}
		if jump("e") || !errors.Is(it.Err(), base.ErrTxnTooLarge) {
			t.Errorf("shows %q, error %v", it.Key(), it.Err())
		}
		nothing(t, "a set that is full", it)
		if err := it.Close(); !errors.Is(err, base.ErrTxnTooLarge) {
			t.Errorf("Close: %v", err)
		}
		if err := tr.x.Seal(); !errors.Is(err, base.ErrTxnTooLarge) {
			t.Errorf("Seal: %v", err)
		}
		// The limit may be met by Close alone.
		small := newTrail(r, 10)
		it = r.newest()
		it.Track(&small.x.ReadSet)
		it.First()
		if err := it.Close(); !errors.Is(err, base.ErrTxnTooLarge) {
			t.Errorf("Close of a short walk: %v", err)
		}
	}
}
