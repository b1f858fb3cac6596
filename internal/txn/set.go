package txn

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
)

// point is one key of a set.
type point struct {
	hash     uint64
	key      []byte
	keyspace uint32
	asked    bool // read with the intent to write
	written  bool // under snapshot isolation: written
}

// ReadSet is what a transaction depends on. One goroutine adds to it. Once
// sealed it does not change, and any goroutine may read it.
type ReadSet struct {
	points  []point
	table   []uint32 // index+1 into points by hash, open addressing; nil for few points
	ranges  []Range  // the first tidy are sorted and disjoint, the rest are in order of arrival
	tidy    int
	walks   []*ReadRange // the open ones
	bytes   int
	limit   int
	asks    int  // points that were asked for
	writer  bool // points that were not asked for are written
	sealed  bool
	ordered bool  // points are sorted, for the tree or a watcher
	err     error // sticky: an incomplete set must not be validated

	pointKeys, rangeKeys arena
}

// KeySize is what a key or a range counts towards the limit of a set in
// addition to its bytes.
const KeySize = 96

const (
	// pointSize and rangeSize are what a key and a range count in addition to
	// their bytes: the struct, the table, and the slack of both.
	pointSize = KeySize
	rangeSize = KeySize
	// fewPoints is the number of points up to which a search needs no hash table.
	fewPoints = 8
	// untidyMin is how many unmerged ranges may accumulate at least.
	untidyMin  = 32
	pointsKeep = 128
	arenaMin   = 512
	arenaMax   = 64 << 10
	arenaKeep  = 8 << 10
)

// arena is the chunk that keys are copied to. It keeps no full chunks, which
// live as long as a key in them.
type arena []byte

// copy copies b to memory that does not move.
func (a *arena) copy(b []byte) []byte {
	if len(b) > cap(*a)-len(*a) {
		*a = make(arena, 0, max(len(b), min(arenaMax, max(arenaMin, 2*cap(*a)))))
	}
	n := len(*a)
	*a = append(*a, b...)
	return (*a)[n:len(*a):len(*a)]
}

// again returns the arena for reuse when nothing in it is needed.
func (a arena) again() arena {
	if cap(a) > arenaKeep {
		return nil
	}
	return a[:0]
}

// Key adds a key that was read, whether it exists or not. If the set would
// exceed its limit, this and all later calls return base.ErrTxnTooLarge.
func (s *ReadSet) Key(keyspace uint32, key []byte) error {
	_, err := s.add(keyspace, key)
	return err
}

// Ask is Key for a key that was read with the intent to write, which is
// validated under snapshot isolation too.
func (s *ReadSet) Ask(keyspace uint32, key []byte) error {
	p, err := s.add(keyspace, key)
	if err == nil && !p.asked {
		p.asked = true
		s.asks++
	}
	return err
}

// add returns the point of a key, which is valid until the next add.
func (s *ReadSet) add(keyspace uint32, key []byte) (*point, error) {
	hash := keyHash(keyspace, key)
	if p := s.point(hash, keyspace, key); p != nil {
		return p, s.err
	}
	if err := s.charge(pointSize + len(key)); err != nil {
		return nil, s.fail(err)
	}
	s.points = append(s.points, point{hash: hash, key: s.pointKeys.copy(key), keyspace: keyspace})
	if n := len(s.points); n > fewPoints {
		if 4*n > 3*len(s.table) {
			s.index(2 * len(s.table))
		} else {
			s.enter(n - 1)
		}
	}
	return &s.points[len(s.points)-1], nil
}

// Range adds all keys in [lo, hi), whether they exist or not. A nil hi is no
// end.
func (s *ReadSet) Range(keyspace uint32, lo, hi []byte) error {
	if hi != nil && bytes.Compare(lo, hi) >= 0 {
		return s.err
	}
	if n := len(s.ranges); n > 0 && s.ranges[n-1].contains(&Range{keyspace, lo, hi}) {
		return s.err
	}
	if err := s.charge(rangeSize + len(lo) + len(hi)); err != nil {
		// Ranges that were read twice count twice until they are merged.
		if s.err != nil || s.tidy == len(s.ranges) {
			return s.fail(err)
		}
		s.merge()
		if err := s.charge(rangeSize + len(lo) + len(hi)); err != nil {
			return s.fail(err)
		}
	}
	g := Range{Keyspace: keyspace, Lo: s.rangeKeys.copy(lo)}
	if hi != nil {
		g.Hi = s.rangeKeys.copy(hi)
	}
	s.ranges = append(s.ranges, g)
	if len(s.ranges)-s.tidy > untidyMin+s.tidy {
		s.merge()
	}
	return nil
}

// Batch adds the keys that a batch writes, for snapshot isolation.
func (s *ReadSet) Batch(b *batch.Batch) error {
	s.writer = true
	for r := b.Reader(); ; {
		op, ok, err := r.Next()
		switch {
		case err != nil || !ok:
			return err
		case op.Kind != base.KindRangeDelete:
			var p *point
			if p, err = s.add(op.Keyspace, op.Key); err == nil {
				p.written = true
			}
		default:
			err = s.Range(op.Keyspace, op.Key, upper(op.Value))
		}
		if err != nil {
			return err
		}
	}
}

// Bytes returns what the set counts towards its limit.
func (s *ReadSet) Bytes() int { return s.bytes }

// Empty reports whether nothing was added.
func (s *ReadSet) Empty() bool { return len(s.points)+len(s.ranges)+len(s.walks) == 0 }

func (s *ReadSet) charge(n int) error {
	switch {
	case s.err != nil:
		return s.err
	case s.sealed:
		return base.ErrTxnDone
	case n > s.limit-s.bytes:
		return base.ErrTxnTooLarge
	}
	s.bytes += n
	return nil
}

func (s *ReadSet) fail(err error) error {
	if s.err == nil && err == base.ErrTxnTooLarge {
		s.err = err
	}
	return err
}

// index rebuilds the table.
func (s *ReadSet) index(size int) {
	s.table = make([]uint32, max(4*fewPoints, size))
	for i := range s.points {
		s.enter(i)
	}
}

func (s *ReadSet) enter(i int) {
	mask := uint64(len(s.table) - 1)
	at := s.points[i].hash & mask
	for s.table[at] != 0 {
		at = (at + 1) & mask
	}
	s.table[at] = uint32(i + 1)
}

func (p *point) is(hash uint64, keyspace uint32, key []byte) bool {
	return p.hash == hash && p.keyspace == keyspace && bytes.Equal(p.key, key)
}

// point returns the point of a key, or nil.
func (s *ReadSet) point(hash uint64, keyspace uint32, key []byte) *point {
	if len(s.points) <= fewPoints {
		for i := range s.points {
			if p := &s.points[i]; p.is(hash, keyspace, key) {
				return p
			}
		}
		return nil
	}
	mask := uint64(len(s.table) - 1)
	for at := hash & mask; s.table[at] != 0; at = (at + 1) & mask {
		if p := &s.points[s.table[at]-1]; p.is(hash, keyspace, key) {
			return p
		}
	}
	return nil
}

// has reports whether a write of a key touches the sealed set.
func (s *ReadSet) has(hash uint64, keyspace uint32, key []byte) bool {
	if s.point(hash, keyspace, key) != nil {
		return true
	}
	return s.inRange(keyspace, key)
}

// inRange reports whether a range of the sealed set contains a key.
func (s *ReadSet) inRange(keyspace uint32, key []byte) bool {
	if len(s.ranges) == 0 {
		return false
	}
	i := s.endsAfter(keyspace, key)
	return i < len(s.ranges) && s.ranges[i].Keyspace == keyspace && bytes.Compare(s.ranges[i].Lo, key) <= 0
}

// endsAfter returns the first range of the sealed set that ends after a key.
func (s *ReadSet) endsAfter(keyspace uint32, key []byte) int {
	i, _ := slices.BinarySearchFunc(s.ranges, 0, func(g Range, _ int) int {
		if g.Keyspace != keyspace {
			return cmp.Compare(g.Keyspace, keyspace)
		}
		if g.Hi == nil || bytes.Compare(g.Hi, key) > 0 {
			return 1
		}
		return -1
	})
	return i
}

// overlaps reports whether a range delete touches the sealed set.
func (s *ReadSet) overlaps(g *Range) bool {
	if i := s.endsAfter(g.Keyspace, g.Lo); i < len(s.ranges) && s.ranges[i].Keyspace == g.Keyspace &&
		(g.Hi == nil || bytes.Compare(s.ranges[i].Lo, g.Hi) < 0) {
		return true
	}
	if !s.ordered {
		return slices.ContainsFunc(s.points, func(p point) bool { return g.holds(p.keyspace, p.key) })
	}
	i, _ := slices.BinarySearchFunc(s.points, point{key: g.Lo, keyspace: g.Keyspace}, comparePoints)
	return i < len(s.points) && g.holds(s.points[i].keyspace, s.points[i].key)
}

func comparePoints(a, b point) int {
	if c := cmp.Compare(a.keyspace, b.keyspace); c != 0 {
		return c
	}
	return bytes.Compare(a.key, b.key)
}

// merge sorts the ranges and joins those that overlap or touch. If few are left
// it copies them, so that the chunks of the others become free.
func (s *ReadSet) merge() {
	was := len(s.ranges)
	slices.SortFunc(s.ranges, func(a, b Range) int {
		if c := cmp.Compare(a.Keyspace, b.Keyspace); c != 0 {
			return c
		}
		return bytes.Compare(a.Lo, b.Lo)
	})
	out := s.ranges[:0]
	for _, g := range s.ranges {
		if n := len(out); n > 0 && out[n-1].Keyspace == g.Keyspace && (out[n-1].Hi == nil || bytes.Compare(g.Lo, out[n-1].Hi) <= 0) {
			last := &out[n-1]
			s.bytes -= rangeSize + len(last.Hi) + len(g.Lo) + len(g.Hi)
			if last.Hi != nil && (g.Hi == nil || bytes.Compare(g.Hi, last.Hi) > 0) {
				last.Hi = g.Hi
			}
			s.bytes += len(last.Hi)
			continue
		}
		out = append(out, g)
	}
	clear(s.ranges[len(out):])
	s.ranges, s.tidy = out, len(out)
	if len(out) > was/2 {
		return
	}
	s.rangeKeys = nil
	for i := range out {
		g := &out[i]
		g.Lo = s.rangeKeys.copy(g.Lo)
		if g.Hi != nil {
			g.Hi = s.rangeKeys.copy(g.Hi)
		}
	}
}

// seal completes the set.
func (s *ReadSet) seal() error {
	for len(s.walks) > 0 {
		if err := s.walks[0].Close(); err != nil {
			return err
		}
	}
	if s.err != nil {
		return s.err
	}
	if s.tidy < len(s.ranges) {
		s.merge()
	}
	s.sealed = true
	return nil
}

// order sorts the points of a set before it is compared with the tree, where
// neighbours are cheaper, or with range deletes.
func (s *ReadSet) order() {
	if s.ordered {
		return
	}
	slices.SortFunc(s.points, comparePoints)
	if s.table != nil {
		s.index(len(s.table))
	}
	s.ordered = true
}

// reset empties the set and keeps a little memory.
func (s *ReadSet) reset(limit int) {
	for _, w := range s.walks {
		w.set = nil
	}
	clear(s.points)
	clear(s.ranges)
	*s = ReadSet{
		points: s.points[:0], ranges: s.ranges[:0], walks: s.walks[:0],
		pointKeys: s.pointKeys.again(), rangeKeys: s.rangeKeys.again(), limit: limit,
	}
	if cap(s.points) > pointsKeep {
		s.points = nil
	}
	if cap(s.ranges) > pointsKeep {
		s.ranges = nil
	}
}
