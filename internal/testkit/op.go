package testkit

import "fmt"

// Kind is a kind of operation.
type Kind uint8

// The kinds of operations.
const (
	Put Kind = iota
	Delete
	SingleDelete
	Merge
	DeleteRange
	PutTTL
	kinds // their number
)

var kindNames = [kinds]string{"put", "delete", "singledelete", "merge", "deleterange", "putttl"}

func (k Kind) String() string { return kindNames[k] }

// Op is one operation of a commit. Handwritten ones may set Delete instead of a
// kind.
type Op struct {
	Kind     Kind
	Delete   bool   // the kind is Delete
	Keyspace int    // an id of the model
	Key      string // of a DeleteRange: its beginning
	Value    string // of a Merge: the operand
	Hi       string // of a DeleteRange: its end, exclusive
	NoEnd    bool   // of a DeleteRange: it has no end, and Hi is ignored
	Expiry   int64  // of a PutTTL: the first millisecond at which the value is gone
}

func (op *Op) kind() Kind {
	if op.Delete {
		return Delete
	}
	return op.Kind
}

// Span returns the keys that the operation touches.
func (op *Op) Span() Span {
	if op.kind() != DeleteRange {
		return KeySpan(op.Key)
	}
	return Span{op.Key, op.Hi, op.NoEnd}
}

// Range returns the bounds of a DeleteRange for the engine: a nil hi is no end.
// lo is never nil, but may be the empty key.
func (op *Op) Range() (lo, hi []byte) { return op.Span().Bounds() }

// String returns an operation as text for failing tests.
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

// Span is the keys from Lo to before Hi or, with NoEnd, all keys from Lo on.
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

// Empty reports whether the span has no keys.
func (s Span) Empty() bool { return !s.NoEnd && s.Lo >= s.Hi }

// Contains reports whether a key is in the span.
func (s Span) Contains(key string) bool { return key >= s.Lo && (s.NoEnd || key < s.Hi) }

// Overlaps reports whether a key can be in both spans.
func (s Span) Overlaps(o Span) bool {
	return !s.Empty() && !o.Empty() && (s.NoEnd || o.Lo < s.Hi) && (o.NoEnd || s.Lo < o.Hi)
}
