package keycodec

// Pair, Triple and Quad are keys of several elements. They are ordered by the
// first element that differs.
type (
	Pair[A, B any] struct {
		First  A
		Second B
	}
	Triple[A, B, C any] struct {
		First  A
		Second B
		Third  C
	}
	Quad[A, B, C, D any] struct {
		First  A
		Second B
		Third  C
		Fourth D
	}
)

// A tuple is the concatenation of its elements, all except the last in the
// inner form; in its own inner form the last one too.

// PairOf returns the codec of pairs.
func PairOf[A, B any](a Codec[A], b Codec[B]) PairCodec[A, B] { return PairCodec[A, B]{a, b} }

// TripleOf returns the codec of triples.
func TripleOf[A, B, C any](a Codec[A], b Codec[B], c Codec[C]) TripleCodec[A, B, C] {
	return TripleCodec[A, B, C]{a, b, c}
}

// QuadOf returns the codec of quads. For longer tuples, make a tuple an
// element.
func QuadOf[A, B, C, D any](a Codec[A], b Codec[B], c Codec[C], d Codec[D]) QuadCodec[A, B, C, D] {
	return QuadCodec[A, B, C, D]{a, b, c, d}
}

// PairCodec is the codec of pairs.
type PairCodec[A, B any] struct {
	a Codec[A]
	b Codec[B]
}

// First returns the prefix of the pairs with this first element.
func (c PairCodec[A, B]) First(a A) Prefix[Pair[A, B]] {
	return Prefix[Pair[A, B]]{c.a.AppendInner(nil, a)}
}

// Append implements Codec.
func (c PairCodec[A, B]) Append(dst []byte, k Pair[A, B]) []byte {
	return c.b.Append(c.a.AppendInner(dst, k.First), k.Second)
}

// AppendInner implements Codec.
func (c PairCodec[A, B]) AppendInner(dst []byte, k Pair[A, B]) []byte {
	return c.b.AppendInner(c.a.AppendInner(dst, k.First), k.Second)
}

// Decode implements Codec.
func (c PairCodec[A, B]) Decode(b []byte) (k Pair[A, B], err error) {
	if k.First, b, err = c.a.DecodeInner(b); err == nil {
		k.Second, err = c.b.Decode(b)
	}
	return orZero(k, err)
}

// DecodeInner implements Codec.
func (c PairCodec[A, B]) DecodeInner(b []byte) (k Pair[A, B], rest []byte, err error) {
	if k.First, rest, err = c.a.DecodeInner(b); err == nil {
		k.Second, rest, err = c.b.DecodeInner(rest)
	}
	k, err = orZero(k, err)
	return k, rest, err
}

// orZero returns the zero K if err is not nil, so that no tuple is half
// decoded.
func orZero[K any](k K, err error) (K, error) {
	if err != nil {
		var zero K
		return zero, err
	}
	return k, nil
}

// TripleCodec is the codec of triples.
type TripleCodec[A, B, C any] struct {
	a Codec[A]
	b Codec[B]
	c Codec[C]
}

// First returns the prefix of the triples with this first element.
func (c TripleCodec[A, B, C]) First(a A) Prefix[Triple[A, B, C]] {
	return Prefix[Triple[A, B, C]]{c.a.AppendInner(nil, a)}
}

// FirstTwo returns the prefix of the triples with these first two elements.
func (c TripleCodec[A, B, C]) FirstTwo(a A, b B) Prefix[Triple[A, B, C]] {
	return Prefix[Triple[A, B, C]]{c.b.AppendInner(c.a.AppendInner(nil, a), b)}
}

func (c TripleCodec[A, B, C]) appendTwo(dst []byte, k Triple[A, B, C]) []byte {
	return c.b.AppendInner(c.a.AppendInner(dst, k.First), k.Second)
}

// Append implements Codec.
func (c TripleCodec[A, B, C]) Append(dst []byte, k Triple[A, B, C]) []byte {
	return c.c.Append(c.appendTwo(dst, k), k.Third)
}

// AppendInner implements Codec.
func (c TripleCodec[A, B, C]) AppendInner(dst []byte, k Triple[A, B, C]) []byte {
	return c.c.AppendInner(c.appendTwo(dst, k), k.Third)
}

// Decode implements Codec.
func (c TripleCodec[A, B, C]) Decode(b []byte) (k Triple[A, B, C], err error) {
	if k.First, b, err = c.a.DecodeInner(b); err == nil {
		if k.Second, b, err = c.b.DecodeInner(b); err == nil {
			k.Third, err = c.c.Decode(b)
		}
	}
	return orZero(k, err)
}

// DecodeInner implements Codec.
func (c TripleCodec[A, B, C]) DecodeInner(b []byte) (k Triple[A, B, C], rest []byte, err error) {
	if k.First, rest, err = c.a.DecodeInner(b); err == nil {
		if k.Second, rest, err = c.b.DecodeInner(rest); err == nil {
			k.Third, rest, err = c.c.DecodeInner(rest)
		}
	}
	k, err = orZero(k, err)
	return k, rest, err
}

// QuadCodec is the codec of quads.
type QuadCodec[A, B, C, D any] struct {
	a Codec[A]
	b Codec[B]
	c Codec[C]
	d Codec[D]
}

// First returns the prefix of the quads with this first element.
func (c QuadCodec[A, B, C, D]) First(a A) Prefix[Quad[A, B, C, D]] {
	return Prefix[Quad[A, B, C, D]]{c.a.AppendInner(nil, a)}
}

// FirstTwo returns the prefix of the quads with these first two elements.
func (c QuadCodec[A, B, C, D]) FirstTwo(a A, b B) Prefix[Quad[A, B, C, D]] {
	return Prefix[Quad[A, B, C, D]]{c.b.AppendInner(c.a.AppendInner(nil, a), b)}
}

// FirstThree returns the prefix of the quads with these first three elements.
func (c QuadCodec[A, B, C, D]) FirstThree(x A, y B, z C) Prefix[Quad[A, B, C, D]] {
	return Prefix[Quad[A, B, C, D]]{c.c.AppendInner(c.FirstTwo(x, y).bytes, z)}
}

func (c QuadCodec[A, B, C, D]) appendThree(dst []byte, k Quad[A, B, C, D]) []byte {
	return c.c.AppendInner(c.b.AppendInner(c.a.AppendInner(dst, k.First), k.Second), k.Third)
}

func (c QuadCodec[A, B, C, D]) decodeThree(b []byte) (k Quad[A, B, C, D], rest []byte, err error) {
	if k.First, rest, err = c.a.DecodeInner(b); err == nil {
		if k.Second, rest, err = c.b.DecodeInner(rest); err == nil {
			k.Third, rest, err = c.c.DecodeInner(rest)
		}
	}
	return k, rest, err
}

// Append implements Codec.
func (c QuadCodec[A, B, C, D]) Append(dst []byte, k Quad[A, B, C, D]) []byte {
	return c.d.Append(c.appendThree(dst, k), k.Fourth)
}

// AppendInner implements Codec.
func (c QuadCodec[A, B, C, D]) AppendInner(dst []byte, k Quad[A, B, C, D]) []byte {
	return c.d.AppendInner(c.appendThree(dst, k), k.Fourth)
}

// Decode implements Codec.
func (c QuadCodec[A, B, C, D]) Decode(b []byte) (Quad[A, B, C, D], error) {
	k, rest, err := c.decodeThree(b)
	if err == nil {
		k.Fourth, err = c.d.Decode(rest)
	}
	return orZero(k, err)
}

// DecodeInner implements Codec.
func (c QuadCodec[A, B, C, D]) DecodeInner(b []byte) (Quad[A, B, C, D], []byte, error) {
	k, rest, err := c.decodeThree(b)
	if err == nil {
		k.Fourth, rest, err = c.d.DecodeInner(rest)
	}
	k, err = orZero(k, err)
	return k, rest, err
}
