package testkit

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// naive is the model implemented again, without regard for cost: a log of all operations,
// which every query replays from the beginning.
type naive struct {
	log     []naiveOp
	commits int
	mergers map[int]*Merger // of the keyspaces that exist
}

type naiveOp struct {
	Op
	commit int
}

func (n *naive) commit(ops []Op) {
	n.commits++
	for _, op := range ops {
		n.log = append(n.log, naiveOp{op, n.commits})
	}
}

// upTo is the database as it was after a commit, with operations on top.
func (n *naive) upTo(commit int, overlay []Op) *naive {
	out := &naive{commits: commit, mergers: n.mergers}
	for _, op := range n.log {
		if op.commit <= commit {
			out.log = append(out.log, op)
		}
	}
	out.commit(overlay)
	return out
}

// covers says whether an operation concerns a key.
func (op naiveOp) covers(keyspace int, key string) bool {
	switch {
	case op.Keyspace != keyspace:
		return false
	case op.Kind == DeleteRange:
		return op.Key <= key && (op.NoEnd || key < op.Hi)
	}
	return op.Key == key
}

// get replays the log for one key.
func (n *naive) get(v View, keyspace int, key string) (value string, exists bool, err error) {
	var operands []string
	for _, op := range n.log {
		if op.commit > v.Commit || !op.covers(keyspace, key) {
			continue
		}
		switch op.Kind {
		case Put:
			value, exists, operands = op.Value, true, nil
		case PutTTL:
			value, exists, operands = op.Value, v.Now < op.Expiry, nil
		case Delete, SingleDelete, DeleteRange:
			value, exists, operands = "", false, nil
		case Merge:
			operands = append(operands, op.Value)
		}
	}
	if !exists {
		value = ""
	}
	if len(operands) > 0 {
		value, err = naiveMerge(n.mergers[keyspace], value, exists, operands)
		exists = true
	}
	return value, exists, err
}

// expiry is that of a key that is there: of its last operation.
func (n *naive) expiry(v View, keyspace int, key string) (expiry int64) {
	for _, op := range n.log {
		if op.commit > v.Commit || !op.covers(keyspace, key) {
			continue
		}
		if expiry = 0; op.Kind == PutTTL {
			expiry = op.Expiry
		}
	}
	return expiry
}

// naiveMerge implements the merge operators again, in another way than merger.go.
func naiveMerge(merger *Merger, value string, exists bool, operands []string) (string, error) {
	if !exists {
		value, operands = operands[0], operands[1:]
		if merger == Counter || merger == Union { // its form is checked even if it is alone
			operands = append([]string{map[*Merger]string{Counter: "\x00\x00\x00\x00\x00\x00\x00\x00"}[merger]}, operands...)
		}
	}
	switch merger {
	case Counter:
		return naiveSum(append(operands, value))
	case Union:
		return naiveUnion(append(operands, value))
	}
	for _, o := range operands {
		switch {
		case merger == AppendComma:
			value += ", " + o
		case merger == AppendBare:
			value += o
		case merger == Max && o > value || merger == Min && o < value:
			value = o
		}
	}
	return value, nil
}

func naiveSum(numbers []string) (string, error) {
	sum := new(big.Int)
	for _, s := range numbers {
		b := []byte(s)
		slices.Reverse(b)
		n := new(big.Int).SetBytes(b)
		if len(b) == 8 && b[0] >= 0x80 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), 64))
		}
		if len(b) != 8 {
			return "", ErrMerge
		}
		sum.Add(sum, n)
	}
	if !sum.IsInt64() {
		return "", ErrMerge
	}
	b := new(big.Int).And(sum, new(big.Int).SetUint64(1<<64-1)).FillBytes(make([]byte, 8))
	slices.Reverse(b)
	return string(b), nil
}

// naiveUnion knows that the generator's elements are short.
func naiveUnion(sets []string) (string, error) {
	found := map[string]bool{}
	for _, s := range sets {
		last := ""
		for s != "" {
			if s[0] >= 0x80 || len(s) < int(s[0])+1 {
				return "", ErrMerge
			}
			e := s[1 : s[0]+1]
			if last != "" && e <= last {
				return "", ErrMerge
			}
			found[e], last, s = true, e, s[s[0]+1:]
		}
	}
	var all []string
	for e := range found {
		all = append(all, e)
	}
	slices.Sort(all)
	out := ""
	for _, e := range all {
		out += string(rune(len(e))) + e
	}
	return out, nil
}

// rows asks for every key that was ever named.
func (n *naive) rows(v View, keyspace int, s Span) []Row {
	var keys []string
	for _, op := range n.log {
		if op.Keyspace == keyspace && op.Kind != DeleteRange {
			keys = append(keys, op.Key)
		}
	}
	slices.Sort(keys)
	var out []Row
	for _, k := range slices.Compact(keys) {
		if k < s.Lo || !s.NoEnd && k >= s.Hi {
			continue
		}
		if value, exists, err := n.get(v, keyspace, k); exists {
			out = append(out, Row{k, value, err, n.expiry(v, keyspace, k)})
		}
	}
	return out
}

// promised replays the log for the promise of a SingleDelete.
func (n *naive) promised(keyspace int, key string) bool {
	puts, others := 0, 0
	for _, op := range n.log {
		if !op.covers(keyspace, key) {
			continue
		}
		switch op.Kind {
		case Put:
			puts++
		case Merge, PutTTL, Delete:
			others++
		default:
			puts, others = 0, 0
		}
	}
	return puts == 1 && others == 0
}

// both is a model and its naive twin, driven by the same history.
type both struct {
	*testing.T
	g     *Gen
	m     *Model
	n     *naive
	views []View
	count map[string]int // what happened, to see that all of it did
}

func newBoth(t *testing.T, seed uint64) *both {
	b := &both{T: t, g: NewGen(seed, 20, 12), m: NewModel(), n: &naive{mergers: map[int]*Merger{}}, count: map[string]int{}}
	b.g.Odd = 15
	merger := b.g.Merger()
	b.m.UseMerger(Default, merger)
	b.n.mergers[Default] = merger
	return b
}

// step performs something.
func (b *both) step() {
	switch n := b.g.IntN(100); {
	case n < 70:
		b.commit(b.g.Commit(b.m))
	case n < 80:
		b.m.Advance(b.g.Tick(b.m))
	case n < 88:
		b.views = append(b.views, b.m.View())
	case n < 92:
		b.crash(b.m.Commits() - b.g.IntN(min(b.m.Commits()+1, 6)))
	case n < 97:
		if name, merger, ok := b.g.Create(b.m); ok {
			b.n.mergers[b.m.CreateKeyspace(name, merger)] = merger
			b.count["create"]++
		}
	default:
		if id, ok := b.g.Drop(b.m); ok {
			b.m.DropKeyspace(id)
			delete(b.n.mergers, id)
			b.count["drop"]++
		}
	}
}

func (b *both) commit(ops []Op) {
	b.Helper()
	for i, op := range ops {
		b.count[op.Kind.String()]++
		if op.Kind == SingleDelete && !b.n.upTo(b.n.commits, ops[:i]).promised(op.Keyspace, op.Key) {
			b.Fatalf("%v breaks the promise", op)
		}
	}
	b.n.commit(ops)
	if got := b.m.Commit(ops); got != b.n.commits {
		b.Fatalf("commit %d is called %d", b.n.commits, got)
	}
}

func (b *both) crash(commit int) {
	b.count["crash"]++
	b.n = b.n.upTo(commit, nil)
	b.n.commits--
	b.m.Truncate(commit)
	b.views = slices.DeleteFunc(b.views, func(v View) bool { return v.Commit > commit })
}

// compare asks both everything.
func (b *both) compare(v View) {
	b.Helper()
	ids := b.m.Keyspaces()
	if len(ids) != len(b.n.mergers) {
		b.Fatalf("keyspaces %v, want %v", ids, b.n.mergers)
	}
	for _, id := range ids {
		span := b.g.Spanned(b.m, id)
		got, want := b.m.Scan(v, id, span), b.n.rows(v, id, span)
		if !slices.EqualFunc(got, want, sameRow) {
			b.Fatalf("%+v of keyspace %d in %+v: rows\n%v, want\n%v\n%s", v, id, span, got, want, b.story())
		}
		b.count["rows"] += len(got)
		key := b.g.KeyOf(b.m, id)
		value, exists, err := b.m.Lookup(v, id, key)
		wantValue, wantExists, wantErr := b.n.get(v, id, key)
		if value != wantValue || exists != wantExists || (err == nil) != (wantErr == nil) || b.m.Has(v, id, key) != exists {
			b.Fatalf("%+v of %d/%q: %q, %v, %v; want %q, %v, %v\n%s", v, id, key, value, exists, err, wantValue, wantExists, wantErr, b.story())
		}
		if err != nil {
			b.count["error"]++
		}
		if got, want := b.m.MaySingleDelete(nil, id, key), b.n.promised(id, key); got != want {
			b.Fatalf("single delete of %d/%q: %v, want %v\n%s", id, key, got, want, b.story())
		}
	}
}

func (b *both) story() string {
	var s strings.Builder
	for _, op := range b.n.log {
		fmt.Fprintf(&s, "%d: %v\n", op.commit, op.Op)
	}
	return s.String()
}
