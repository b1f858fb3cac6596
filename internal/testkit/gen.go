package testkit

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Gen draws keys, values and commits. Equal seeds draw equal sequences. It uses
// only a model's methods for reading, and does not change it.
type Gen struct {
	*rand.Rand
	keys   int // number of different keys of each shape
	values int // the longest common value

	// Settings of Commit; tests may change them at any time.

	Weights      Weights
	Queue        int  // one Put in this many appends to a queue; 0 for none
	Odd          int  // one operand in this many is one that its operator may refuse; 0 for none
	MaxOperands  int  // most operands on top of each other
	MergeOnTTL   bool // merge onto values that expire
	MaxKeyspaces int  // most keyspaces

	drawer
}

// NewGen returns a generator for a space of roughly keys keys.
func NewGen(seed uint64, keys, values int) *Gen {
	return &Gen{
		Rand: rand.New(rand.NewPCG(seed, 0x5eed)), keys: keys, values: values,
		Weights: DefaultWeights, Queue: 10, Odd: 200, MaxOperands: 50, MergeOnTTL: true, MaxKeyspaces: 5,
		drawer: drawer{spans: map[int]Span{}, queues: map[int]*queue{}},
	}
}

// Key draws a key: mostly from one crowded space, so that versions pile up,
// and some of the shapes that have broken engines: empty, prefixes of one
// another, runs of 0x00 and 0xFF, equal 8-byte windows, long ones.
func (g *Gen) Key() string {
	n := g.IntN(g.keys)
	switch g.IntN(20) {
	case 0:
		return ""
	case 1:
		return strings.Repeat("\x00", n%12)
	case 2:
		return strings.Repeat("\xff", n%12)
	case 3, 4:
		return strings.Repeat("ab", n%10) + strings.Repeat("\x00", g.IntN(3))
	case 5:
		return fmt.Sprintf("samewindow%s%03d", strings.Repeat("x", 12), n)
	case 6:
		return fmt.Sprintf("long/%s/%d", strings.Repeat("p", 300), n%10)
	case 7:
		return fmt.Sprintf("https://example.org/a/%d/b/%d", n%7, n)
	}
	return fmt.Sprintf("key%06d", n*7919%1000003)
}

// Value draws a value, sometimes empty or long.
func (g *Gen) Value() string {
	n := g.IntN(g.values + 1)
	switch g.IntN(16) {
	case 0:
		return ""
	case 1:
		n = g.IntN(8 * (g.values + 1))
	}
	var b strings.Builder
	word := fmt.Sprintf("v%d-", g.IntN(1000))
	for b.Len() < n {
		if g.IntN(4) == 0 {
			b.WriteByte(byte(g.Uint32()))
		} else {
			b.WriteString(word)
		}
	}
	return b.String()[:n]
}

// Ops draws the operations of one commit that only puts and deletes, in the
// default keyspace.
func (g *Gen) Ops() []Op {
	n := 1
	if g.IntN(5) == 0 {
		n = 1 + g.IntN(20)
	}
	ops := make([]Op, n)
	for i := range ops {
		ops[i].Key = g.Key()
		if ops[i].Delete = g.IntN(4) == 0; !ops[i].Delete {
			ops[i].Value = g.Value()
		}
	}
	return ops
}

// Bounds draws the bounds of a scan; nil is no bound, and lo may exceed hi.
func (g *Gen) Bounds() (lo, hi []byte) {
	if g.IntN(3) > 0 {
		lo = []byte(g.Key())
	}
	if g.IntN(3) > 0 {
		hi = []byte(g.Key())
	}
	return lo, hi
}
