package testkit

import (
	"fmt"
	"math"
	"strings"
)

// Weights are how often Commit draws each kind of operation. Weight 0 disables
// a kind.
type Weights [kinds]int

// DefaultWeights draws all kinds.
var DefaultWeights = Weights{Put: 40, Delete: 12, SingleDelete: 8, Merge: 24, DeleteRange: 6, PutTTL: 10}

// queueSize is the length at which a queue starts over, which keeps the number
// of keys in a model low.
const queueSize = 400

// queue is a queue that programs keep in a keyspace: Puts append to its end,
// DeleteRanges remove from its front.
type queue struct{ front, end int }

func queueKey(i int) string { return fmt.Sprintf("queue%06d", i) }

// drawer is Gen's memory, for drawing operations that meet.
type drawer struct {
	recent [24]keyRef // drawn recently
	drawn  int
	wrong  []keyRef     // where an operand was written that an operator may refuse
	spans  map[int]Span // the last range that was deleted, by keyspace
	queues map[int]*queue
}

// Commit draws the operations of one commit, across keyspaces, for a model that
// has all earlier ones. There may be none, if the weights allow nothing else.
// They may use any key of the model: a test with keys of its own writes those
// last in each commit.
func (g *Gen) Commit(m *Model) []Op {
	n := 1
	if g.IntN(5) == 0 {
		n = 1 + g.IntN(20)
	}
	ops := make([]Op, 0, n+1) // room for one more, which tests like to add
	for range n {
		ops = g.AppendOp(ops, m)
	}
	return ops
}

// AppendOp draws one more operation for a commit or a transaction with ops.
func (g *Gen) AppendOp(ops []Op, m *Model) []Op {
	for range 8 {
		if op, ok := g.op(g.kind(), m, ops); ok {
			g.note(&op)
			return append(ops, op)
		}
	}
	return ops
}

// kind draws a kind by weight.
func (g *Gen) kind() Kind {
	total := 0
	for _, w := range g.Weights {
		total += w
	}
	n := g.IntN(total)
	for k, w := range g.Weights {
		if n -= w; n < 0 {
			return Kind(k)
		}
	}
	panic("unreachable")
}

// op draws an operation of a kind, if one is possible.
func (g *Gen) op(kind Kind, m *Model, ops []Op) (op Op, ok bool) {
	if n := len(g.wrong); n > 0 && (kind == Put || kind == Delete) && g.IntN(20) == 0 {
		at := g.wrong[n-1] // overwrite it, so that scans are not stopped for ever
		g.wrong = g.wrong[:n-1]
		if m.Live(at.keyspace) {
			return Op{Kind: kind, Keyspace: at.keyspace, Key: at.key, Value: g.value(m.Merger(at.keyspace), kind == Delete)}, true
		}
	}
	op = Op{Kind: kind, Keyspace: g.Keyspace(m)}
	switch kind {
	case DeleteRange:
		g.span(m, &op)
		return op, true
	case SingleDelete:
		return g.singleDelete(m, ops)
	case Merge:
		return g.merge(m, ops)
	case Put:
		if g.Queue > 0 && g.IntN(g.Queue) == 0 {
			op.Key, op.Value = g.push(op.Keyspace), g.value(m.Merger(op.Keyspace), false)
			return op, true
		}
	case PutTTL:
		op.Expiry = m.Now() + g.TTL()
	}
	op.Key = g.KeyOf(m, op.Keyspace)
	op.Value = g.value(m.Merger(op.Keyspace), kind == Delete)
	return op, true
}

// note remembers an operation.
func (g *Gen) note(op *Op) {
	if op.Kind == DeleteRange {
		g.spans[op.Keyspace] = op.Span()
		return
	}
	g.recent[g.drawn%len(g.recent)] = keyRef{op.Keyspace, op.Key}
	g.drawn++
}

// Keyspace draws an existing keyspace, often the default one.
func (g *Gen) Keyspace(m *Model) int {
	if ids := m.Keyspaces(); len(ids) > 1 && g.IntN(3) > 0 {
		return ids[g.IntN(len(ids))]
	}
	return Default
}

// KeyOf draws a key of a keyspace: any, or one used recently, in this or
// another keyspace, or one at a bound of the last range deleted, or the front
// of the queue.
func (g *Gen) KeyOf(m *Model, keyspace int) string {
	switch g.IntN(16) {
	case 0:
		if s, ok := g.spans[keyspace]; ok {
			return s.Lo
		}
	case 1:
		if s, ok := g.spans[keyspace]; ok && !s.NoEnd {
			return s.Hi
		}
	case 2:
		if q := g.queues[keyspace]; q != nil {
			return queueKey(q.front)
		}
	case 3, 4, 5, 6, 7:
		if g.drawn > 0 {
			return g.recent[g.IntN(min(g.drawn, len(g.recent)))].key
		}
	case 8:
		if keys := m.space(keyspace).keys; len(keys) > 0 {
			return keys[g.IntN(len(keys))].key
		}
	}
	return g.Key()
}

// singleDelete looks for a key for which the promise holds, first among those
// used recently.
func (g *Gen) singleDelete(m *Model, ops []Op) (Op, bool) {
	for range 12 {
		at := g.recent[g.IntN(len(g.recent))]
		if !m.Live(at.keyspace) || g.IntN(2) == 0 {
			at.keyspace = g.Keyspace(m)
			if keys := m.space(at.keyspace).keys; len(keys) > 0 {
				at.key = keys[g.IntN(len(keys))].key
			}
		}
		if m.MaySingleDelete(ops, at.keyspace, at.key) {
			return Op{Kind: SingleDelete, Keyspace: at.keyspace, Key: at.key}, true
		}
	}
	return Op{}, false
}

// merge draws a merge in one of the keyspaces that take them, on few keys, so
// that operands pile up to at most MaxOperands.
func (g *Gen) merge(m *Model, ops []Op) (Op, bool) {
	for range 6 {
		op := Op{Kind: Merge, Keyspace: g.Keyspace(m)}
		merger := m.Merger(op.Keyspace)
		if merger == nil {
			continue
		}
		if op.Key = g.KeyOf(m, op.Keyspace); g.IntN(3) == 0 {
			op.Key = fmt.Sprintf("merged%d", g.IntN(8))
		}
		h := m.history(m.Commits(), ops, op.Keyspace, op.Key)
		n := under(h)
		if len(h)-1-n >= g.MaxOperands || n >= 0 && h[n].kind == PutTTL && !g.MergeOnTTL {
			continue
		}
		if op.Value = g.Operand(merger); g.odd() {
			op.Value = g.oddOperand(merger)
			g.wrong = append(g.wrong, keyRef{op.Keyspace, op.Key})
		}
		return op, true
	}
	return Op{}, false
}

// odd reports whether to write an operand that an operator may refuse.
func (g *Gen) odd() bool { return g.Odd > 0 && g.IntN(g.Odd) == 0 }

// value draws a value for the operator of a keyspace.
func (g *Gen) value(merger *Merger, none bool) string {
	switch {
	case none:
		return ""
	case merger == Counter || merger == Union:
		return g.Operand(merger)
	}
	return g.Value()
}

// Operand draws a valid operand.
func (g *Gen) Operand(merger *Merger) string {
	switch merger {
	case Counter:
		return Number(int64(g.IntN(2001) - 1000))
	case Union:
		elements := make([]string, g.IntN(4))
		for i := range elements {
			elements[i] = fmt.Sprint("e", g.IntN(30))
		}
		return string(AppendSet(nil, elements...))
	}
	v := g.Value()
	return v[:min(len(v), 40)] // operands add up in length
}

// oddOperand draws an operand of wrong form, or a number with which the sum may
// overflow, or fit again.
func (g *Gen) oddOperand(merger *Merger) string {
	switch {
	case merger == Counter && g.IntN(3) > 0:
		return Number([]int64{math.MaxInt64, math.MinInt64, math.MaxInt64 - 1000, -math.MaxInt64}[g.IntN(4)])
	case merger == Counter:
		return strings.Repeat("\x01", []int{0, 7, 9}[g.IntN(3)])
	case merger == Union:
		return []string{"\x05abc", "\x01b\x01a", "\x01a\x01a", "\x80"}[g.IntN(4)]
	}
	return g.Operand(merger)
}

// TTL draws a time to live in milliseconds.
func (g *Gen) TTL() int64 {
	return []int64{1, 2, 10, 100, 1000, 60_000, 1 << 40}[g.IntN(7)] + int64(g.IntN(3))
}

// Tick draws how far to advance the time of a model, often to the expiry of a
// key or just before it.
func (g *Gen) Tick(m *Model) int64 {
	for range 4 {
		keys := m.space(g.Keyspace(m)).keys
		if len(keys) == 0 {
			continue
		}
		h := keys[g.IntN(len(keys))].history
		for i := len(h) - 1; i >= 0 && h[i].kind != Put; i-- {
			if wait := h[i].expiry - m.Now(); wait > 0 && wait < 100_000 {
				return wait - int64(g.IntN(2))
			}
		}
	}
	return []int64{0, 1, 3, 20, 200, 2000}[g.IntN(6)]
}

// push appends to the queue of a keyspace.
func (g *Gen) push(keyspace int) (key string) {
	q := g.queues[keyspace]
	if q == nil || q.end == queueSize {
		q = &queue{}
		g.queues[keyspace] = q
	}
	q.end++
	return queueKey(q.end - 1)
}

// span draws the range of a DeleteRange: mostly narrow ones, around, within and
// beside others, and some of the extremes.
func (g *Gen) span(m *Model, op *Op) {
	var s Span
	last, again := g.spans[op.Keyspace]
	switch n := g.IntN(40); {
	case n == 0: // everything
		s.NoEnd = true
	case n == 1: // half of everything
		lo, hi := g.Bounds()
		s = NewSpan(lo, hi)
	case n < 4: // an empty range, or almost
		s = Span{Lo: g.KeyOf(m, op.Keyspace)}
		s.Hi = s.Lo[:len(s.Lo)-min(len(s.Lo), g.IntN(2))]
	case n < 10:
		s = KeySpan(g.KeyOf(m, op.Keyspace))
	case n < 13:
		s = PrefixSpan(g.KeyOf(m, op.Keyspace))
	case n < 22: // the front of the queue, perhaps with everything before it
		s = g.pop(op.Keyspace)
	case n < 25 && again: // the same range
		s = last
	case n < 28 && again: // from or to the same key
		s = g.narrow(m, op.Keyspace)
		if g.IntN(2) == 0 {
			s.Lo = min(s.Lo, last.Lo)
		} else if !last.NoEnd {
			s.Hi = max(s.Hi, last.Hi)
		}
	case n < 31 && again: // next to the last range
		if s = g.narrow(m, op.Keyspace); !last.NoEnd {
			s.Lo = last.Hi
		}
	default:
		s = g.narrow(m, op.Keyspace)
	}
	op.Key, op.Hi, op.NoEnd = s.Lo, s.Hi, s.NoEnd
}

// pop draws a range at the front of the queue. It does not always begin at the
// first key there: queues may delete from the beginning of their key range.
func (g *Gen) pop(keyspace int) Span {
	q := g.queues[keyspace]
	if q == nil {
		return KeySpan(queueKey(0))
	}
	from := q.front
	q.front = min(q.end, q.front+1+g.IntN(8))
	if g.IntN(2) == 0 {
		from = 0
	}
	return Span{Lo: queueKey(from), Hi: queueKey(q.front)}
}

// narrow returns a range of a few keys that the model knows, with bounds at
// keys or just after them.
func (g *Gen) narrow(m *Model, keyspace int) Span {
	keys := m.space(keyspace).keys
	if len(keys) == 0 {
		return KeySpan(g.Key())
	}
	i := g.IntN(len(keys))
	j := min(i+1+g.IntN(20), len(keys)-1)
	s := Span{Lo: keys[i].key, Hi: keys[j].key}
	if g.IntN(3) == 0 {
		s.Lo += "\x00"
	}
	if g.IntN(3) == 0 {
		s.Hi += "\x00"
	}
	return s
}

// Create draws a keyspace to create, if there is room for one, from few names,
// so that names of dropped ones return.
func (g *Gen) Create(m *Model) (name string, merger *Merger, ok bool) {
	name = fmt.Sprint("space", g.IntN(g.MaxKeyspaces))
	if _, live := m.Find(name); live {
		return "", nil, false
	}
	return name, g.Merger(), true
}

// Drop draws a keyspace to drop, if there is one.
func (g *Gen) Drop(m *Model) (id int, ok bool) {
	ids := m.Keyspaces()
	if len(ids) == 1 {
		return 0, false
	}
	return ids[1+g.IntN(len(ids)-1)], true
}

// Merger draws a merge operator, or none.
func (g *Gen) Merger() *Merger {
	return []*Merger{Counter, Union, Max, Min, AppendComma, AppendBare, nil}[g.IntN(7)]
}

// Spanned draws the span of a scan: bounded, unbounded, or a prefix.
func (g *Gen) Spanned(m *Model, keyspace int) Span {
	switch g.IntN(4) {
	case 0:
		key := g.KeyOf(m, keyspace)
		return PrefixSpan(key[:g.IntN(len(key)+1)])
	case 1:
		return g.narrow(m, keyspace)
	}
	lo, hi := g.Bounds()
	return NewSpan(lo, hi)
}
