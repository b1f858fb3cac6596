package compaction

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/rangedel"
)

// joiner is a merger whose values are lists: an operand is appended to what is
// there. What has an exclamation mark in it is refused, and some neighbours do
// not combine.
type joiner struct {
	apart func(older, newer []byte) bool
}

var errJoin = errors.New("joiner: refused")

func (joiner) Name() string { return "join" }

func (joiner) Full(dst, _, existing []byte, exists bool, operands [][]byte) ([]byte, error) {
	if bytes.IndexByte(existing, '!') >= 0 {
		return nil, errJoin
	}
	if exists {
		dst = append(dst, existing...)
	}
	for _, o := range operands {
		if bytes.IndexByte(o, '!') >= 0 {
			return nil, errJoin
		}
		dst = append(dst, o...)
	}
	return dst, nil
}

func (j joiner) Partial(dst, _, older, newer []byte) ([]byte, bool, error) {
	if j.apart != nil && j.apart(older, newer) {
		return nil, false, nil
	}
	if bytes.IndexByte(newer, '!') >= 0 {
		return nil, false, errJoin
	}
	return append(append(dst, older...), newer...), true, nil
}

// world is versions and range tombstones, which are all there is of a database.
type world struct {
	entries []entry // with their users' values; those with an expiry keep it before the value
	ranges  []rangedel.Fragment
}

func (w *world) add(o world) {
	w.entries = append(w.entries, o.entries...)
	w.ranges = append(w.ranges, o.ranges...)
}

func (w *world) sort() { slices.SortStableFunc(w.entries, compareEntries) }

// cover is the newest tombstone over a key that a read at s sees.
func (w *world) cover(key string, s base.SeqNum) (newest base.SeqNum) {
	for _, f := range w.ranges {
		if f.Contains([]byte(key)) {
			newest = max(newest, f.Cover(s))
		}
	}
	return newest
}

// read is the reference: what a read of key finds at a sequence and a time.
func (w *world) read(key string, s base.SeqNum, now uint64) string {
	cover := w.cover(key, s)
	i, _ := slices.BinarySearchFunc(w.entries, entry{key, base.SeekTrailer(s), nil}, compareEntries)
	var operands [][]byte
	value, exists := []byte(nil), false
	for ; i < len(w.entries) && w.entries[i].key == key && !exists; i++ {
		e := w.entries[i]
		if e.t.Seq() < cover {
			break
		}
		if e.t.Kind() == base.KindMerge {
			operands = append(operands, e.value)
			continue
		}
		if e.t.Kind() == base.KindPut {
			value, exists = e.value, true
		} else if e.t.Kind() == base.KindPutTTL && expiryOf(e.value) > now {
			value, exists = e.value[base.ExpirySize:], true
		}
		break
	}
	if len(operands) > 0 {
		slices.Reverse(operands)
		v, err := joiner{}.Full(nil, nil, value, exists, operands)
		if err != nil {
			return "error"
		}
		value, exists = v, true
	}
	if !exists {
		return "nothing"
	}
	return "value " + string(value)
}

// newestOf is the newest change of a key.
func (w *world) newestOf(key string) base.SeqNum {
	newest := w.cover(key, base.SeqNumMax)
	for _, e := range w.entries {
		if e.key == key {
			newest = max(newest, e.t.Seq())
		}
	}
	return newest
}

// overlaps reports whether anything lies in [lo, hi).
func (w *world) overlaps(lo, hi []byte) bool {
	beyond := func(k []byte) bool { return hi != nil && bytes.Compare(k, hi) >= 0 }
	return slices.ContainsFunc(w.entries, func(e entry) bool { return e.key >= string(lo) && !beyond([]byte(e.key)) }) ||
		slices.ContainsFunc(w.ranges, func(f rangedel.Fragment) bool {
			return (f.Hi == nil || bytes.Compare(f.Hi, lo) > 0) && !beyond(f.Lo)
		})
}

// reader is a snapshot.
type reader struct {
	seq base.SeqNum
	now uint64
}

// kindsSim is a history and the runs that it went into.
type kindsSim struct {
	t     *testing.T
	rnd   *rand.Rand
	shop  *shop
	all   world     // everything that was ever written
	runs  []kindRun // newest first
	seq   base.SeqNum
	now   uint64
	snaps []reader // ascending
	// visible is what was visible when the last job began.
	visible base.SeqNum
	puts    map[string]int
	stats   Stats
	apart   func(older, newer []byte) bool
}

// kindRun is a run, as stored and as its user knows it.
type kindRun struct {
	stored []entry
	plain  world
}

const kindKeys = 8

func kindKey(n int) string { return fmt.Sprintf("k%02d", n) }

func (s *kindsSim) text(n int) []byte {
	v := fmt.Appendf(nil, "%d.", s.seq)
	if s.rnd.IntN(12) == 0 {
		v = append(v, '!')
	}
	return append(v, bytes.Repeat([]byte{'x'}, s.rnd.IntN(n))...)
}

// write makes one more version. The first two keys are single deleted, as one
// may do that.
func (s *kindsSim) write(fresh *world) {
	s.seq++
	n := s.rnd.IntN(kindKeys)
	key := kindKey(n)
	put := func(k base.Kind, v []byte) {
		fresh.entries = append(fresh.entries, entry{key, base.MakeTrailer(s.seq, k), v})
	}
	r := s.rnd.IntN(20)
	switch {
	case r == 0:
		lo, hi := s.rnd.IntN(kindKeys), s.rnd.IntN(kindKeys+2)
		f := rangedel.Fragment{Lo: []byte(kindKey(lo)), Hi: []byte(kindKey(hi)), Seqs: []base.SeqNum{s.seq}}
		if hi > kindKeys {
			f.Hi = nil
		}
		if f.Hi == nil || lo < hi {
			fresh.ranges = append(fresh.ranges, f)
		}
	case n < 2 && s.puts[key] > 0:
		s.puts[key] = 0
		put(base.KindSingleDelete, nil)
	case n < 2:
		s.puts[key]++
		put(base.KindPut, s.text(50))
	case r < 9:
		put(base.KindMerge, s.text(10))
	case r < 13:
		put(base.KindPutTTL, append(binary.LittleEndian.AppendUint64(nil, s.now+uint64(s.rnd.IntN(30))), s.text(50)...))
	case r < 16:
		put(base.KindDelete, nil)
	default:
		put(base.KindPut, s.text(50))
	}
}

// options are for a Run that leaves deeper as it is.
func (s *kindsSim) options(deeper *world) *RunOptions {
	o := s.shop.randomOptions(s.rnd, 100)
	o.Guards = nil
	for i := range kindKeys {
		if s.rnd.IntN(6) == 0 {
			o.Guards = append(o.Guards, []byte(kindKey(i)))
		}
	}
	o.Snapshots = nil
	o.ExpireAt = s.now
	for _, r := range s.snaps {
		o.Snapshots = append(o.Snapshots, r.seq)
		o.ExpireAt = min(o.ExpireAt, r.now)
	}
	s.visible = max(s.visible, s.seq-min(s.seq, base.SeqNum(s.rnd.IntN(4))))
	if len(s.snaps) > 0 {
		s.visible = max(s.visible, s.snaps[len(s.snaps)-1].seq)
	}
	o.Snapshots = slices.Compact(append(o.Snapshots, s.visible))
	o.Elide = func(key []byte) bool { return !deeper.overlaps(key, append(bytes.Clone(key), 0)) }
	o.ElideRange = func(lo, hi []byte) bool { return !deeper.overlaps(lo, hi) }
	switch s.rnd.IntN(8) { // not to know is always right
	case 0:
		o.Elide = nil
	case 1:
		o.ElideRange = nil
	}
	if s.rnd.IntN(8) > 0 {
		o.Merger = joiner{s.apart}
	}
	rewrite := s.rnd.IntN(2)
	o.Values.Rewrite = func(n base.FileNum) bool { return int(n)%2 == rewrite }
	return o
}

// run streams entries and range tombstones through a Run.
func (s *kindsSim) run(in kindRun, o *RunOptions) kindRun {
	slices.SortFunc(in.stored, compareEntries)
	o.Input = &sliceIter{entries: in.stored}
	var lists []*rangedel.List
	for _, f := range in.plain.ranges {
		l := rangedel.FromFragments([]rangedel.Fragment{f})
		lists = append(lists, &l)
	}
	ranges := rangedel.Merge(lists...)
	o.Ranges = &ranges
	res, err := Run(context.Background(), *o)
	if err != nil {
		s.t.Fatal(err)
	}
	st := res.Stats
	if gone := st.Shadowed + st.Duplicates + st.Tombstones + st.RangeCovered + st.Merged; st.EntriesIn != st.EntriesOut+gone {
		s.t.Fatalf("the account does not agree: %+v", st)
	}
	if st.SingleDeleteMisuse > 0 {
		s.t.Fatalf("misuse: %v", in.stored)
	}
	s.count(st)
	return s.collect(res, o)
}

func (s *kindsSim) count(st Stats) {
	s.stats.Merged += st.Merged
	s.stats.Expired += st.Expired
	s.stats.RangeCovered += st.RangeCovered
	s.stats.MergeFailures += st.MergeFailures
	s.stats.Rewritten += st.Rewritten
	s.stats.Tombstones += st.Tombstones
}

// collect reads what a Run made.
func (s *kindsSim) collect(res Result, o *RunOptions) (out kindRun) {
	out.stored = s.shop.checkShape(res, o)
	for _, m := range res.Tables {
		out.plain.ranges = append(out.plain.ranges, s.shop.ranges(m.Num)...)
	}
	for _, e := range out.stored {
		out.plain.entries = append(out.plain.entries, s.shop.follow(e))
	}
	return out
}

func (s *kindsSim) flush() {
	var fresh world
	for range 1 + s.rnd.IntN(30) {
		s.write(&fresh)
		if s.rnd.IntN(10) == 0 {
			s.snaps = append(s.snaps, reader{s.seq, s.now})
		}
		s.now += uint64(s.rnd.IntN(2))
	}
	s.all.add(fresh)
	s.all.sort()
	o := s.options(&world{})
	o.Elide, o.ElideRange, o.ZeroSeq = nil, nil, false
	fresh.sort()
	out := s.run(kindRun{fresh.entries, fresh}, o)
	s.runs = slices.Insert(s.runs, 0, out)
}

// compact merges some neighbouring runs.
func (s *kindsSim) compact() {
	i := s.rnd.IntN(len(s.runs))
	j := i + 1 + s.rnd.IntN(len(s.runs)-i)
	var in kindRun
	var deeper world
	for _, r := range s.runs[i:j] {
		in.stored = append(in.stored, r.stored...)
		in.plain.add(r.plain)
	}
	for _, e := range in.stored {
		if s.rnd.IntN(20) == 0 {
			in.stored = append(in.stored, e) // what comes twice counts once
		}
	}
	for _, r := range s.runs[j:] {
		deeper.add(r.plain)
	}
	out := s.run(in, s.options(&deeper))
	s.runs = slices.Replace(s.runs, i, j, out)
}

// check reads everything at every snapshot, and as it will be read later.
func (s *kindsSim) check(seed int) {
	var is world
	for _, r := range s.runs {
		is.add(r.plain)
	}
	is.sort()
	readers := slices.Clone(s.snaps)
	for _, later := range []uint64{0, 3, 10, 100} {
		for at := s.visible; at <= s.seq; at++ {
			readers = append(readers, reader{at, s.now + later})
		}
	}
	for n := range kindKeys {
		key := kindKey(n)
		for _, r := range readers {
			if got, want := is.read(key, r.seq, r.now), s.all.read(key, r.seq, r.now); got != want {
				s.t.Fatalf("seed %d: %s at %d, time %d: %s, want %s\nis  %v %v\nwas %v %v\nsnapshots %v", seed, key, r.seq, r.now, got, want,
					is.entries, is.ranges, s.all.entries, s.all.ranges, s.snaps)
			}
			if n >= 2 && (is.newestOf(key) > r.seq) != (s.all.newestOf(key) > r.seq) {
				s.t.Fatalf("seed %d: whether %s changed after %d is lost", seed, key, r.seq)
			}
		}
	}
}

// TestRunKinds writes, takes snapshots, lets time pass, flushes and compacts at
// random, and reads everything after each step (hazards: resurrected deletes,
// dropped merge operands, snapshots that move).
func TestRunKinds(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	var total kindsSim
	for seed := range rounds {
		s := kindsSim{t: t, rnd: rand.New(rand.NewPCG(uint64(seed), 7)), shop: newShop(t), now: 1000, puts: map[string]int{}}
		if seed%3 > 0 {
			s.apart = func(older, newer []byte) bool { return (len(older)+len(newer))%(seed%3+1) == 0 }
		}
		for range 25 {
			s.step()
			s.check(seed)
		}
		total.count(s.stats)
	}
	if st := total.stats; st.Merged == 0 || st.Expired == 0 || st.RangeCovered == 0 || st.MergeFailures == 0 || st.Rewritten == 0 || st.Tombstones == 0 {
		t.Errorf("something never happened: %+v", st)
	}
	t.Logf("%+v", total.stats)
}

func (s *kindsSim) step() {
	switch r := s.rnd.IntN(10); {
	case len(s.runs) == 0 || r < 3:
		s.flush()
	case r < 5 && len(s.snaps) > 0:
		i := s.rnd.IntN(len(s.snaps))
		s.snaps = slices.Delete(s.snaps, i, i+1)
		s.compact()
	default:
		s.now += uint64(s.rnd.IntN(8))
		s.compact()
	}
}
