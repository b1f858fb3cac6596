package testkit

import "fmt"

// Kind is what an operation does.
type Kind uint8

// The kinds of operations.
const (
	Put Kind = iota
	Delete
	SingleDelete
	Merge
	DeleteRange
	PutTTL
	kinds // how many there are
)

var kindNames = [kinds]string{"put", "delete", "singledelete", "merge", "deleterange", "putttl"}

func (k Kind) String() string { return kindNames[k] }

// Op is one operation of a commit. Those that are made by hand may say Delete
// in place of a kind.
type Op struct {
	Kind     Kind
	Delete   bool   // the kind is Delete
	Keyspace int    // an id of the model
	Key      string // of a DeleteRange: where it begins
	Value    string // of a Merge: the operand
	Hi       string // of a DeleteRange: where it ends, exclusive
	NoEnd    bool   // of a DeleteRange: it has no end, Hi is not looked at
	Expiry   int64  // of a PutTTL: the first millisecond at which it is gone
}

func (op *Op) kind() Kind {
	if op.Delete {
		return Delete
	}
	return op.Kind
}

// Span returns what the operation touches.
func (op *Op) Span() Span {
	if op.kind() != DeleteRange {
		return KeySpan(op.Key)
	}
	return Span{op.Key, op.Hi, op.NoEnd}
}

// Range returns the bounds of a DeleteRange as the engine takes them: nil is
// no bound. It never says nil for the beginning, which is the empty key.
func (op *Op) Range() (lo, hi []byte) { return op.Span().Bounds() }

// String returns how a failing test shows an operation.
func (op Op) String() string {
	s := fmt.Sprintf("%v %d/%q", op.kind(), op.Keyspace, op.Key)
	switch op.kind() {
	case Put, Merge:
		s += fmt.Sprintf("=%q", op.Value)
	case PutTTL:
		s += fmt.Sprintf("=%q until %d", op.Value, op.Expiry)
	case DeleteRange:
		if op.NoEnd {
			return s + " and on"
		}
		s += fmt.Sprintf(" to %q", op.Hi)
	}
	return s
}

// Span is the keys from Lo on and before Hi; with NoEnd, all from Lo on.
type Span struct {
	Lo, Hi string
	NoEnd  bool
}

// NewSpan returns the span between two bounds; nil is no bound.
func NewSpan(lo, hi []byte) Span { return Span{string(lo), string(hi), hi == nil} }

// KeySpan returns the span of one key.
func KeySpan(key string) Span { return Span{Lo: key, Hi: key + "\x00"} }

// PrefixSpan returns the span of the keys that begin with prefix.
func PrefixSpan(prefix string) Span {
	last := len(prefix) - 1
	for last >= 0 && prefix[last] == 0xff {
		last--
	}
	if last < 0 {
		return Span{Lo: prefix, NoEnd: true}
	}
	return Span{Lo: prefix, Hi: prefix[:last] + string([]byte{prefix[last] + 1})}
}

// Bounds returns the bounds as slices; hi is nil when there is no end.
func (s Span) Bounds() (lo, hi []byte) {
	if s.NoEnd {
		return []byte(s.Lo), nil
	}
	return []byte(s.Lo), []byte(s.Hi)
}

// Empty reports that no key can be in it.
func (s Span) Empty() bool { return !s.NoEnd && s.Lo >= s.Hi }

// Contains reports whether a key is in it.
func (s Span) Contains(key string) bool { return key >= s.Lo && (s.NoEnd || key < s.Hi) }

// Overlaps reports whether a key could be in both.
func (s Span) Overlaps(o Span) bool {
	return !s.Empty() && !o.Empty() && (s.NoEnd || o.Lo < s.Hi) && (o.NoEnd || s.Lo < o.Hi)
}
