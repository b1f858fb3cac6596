package keycodec

import "bytes"

// Strings of bytes, ordered bytewise. As the last element of a key they are
// stored unchanged. As an inner one they end with a byte 0, and their bytes 0
// and 1 are written as 1 1 and 1 2: text takes one byte more, and random bytes
// one in 128 on top.
var (
	String = StringOf[string]()
	// Bytes has the encodings of String. It decodes to fresh slices, never nil;
	// nil is encoded as the empty string.
	Bytes BytesCodec
)

// These bytes of the inner form are part of the format.
const (
	terminator = 0
	escape     = 1 // followed by the escaped byte + 1
)

type text interface{ ~string | ~[]byte }

// appendInner copies piece by piece, since bytes to escape are rare.
func appendInner[T text](dst []byte, s T) []byte {
	from := 0
	for i := range len(s) {
		if c := s[i]; c <= escape {
			dst = append(append(dst, s[from:i]...), escape, c+1)
			from = i + 1
		}
	}
	return append(append(dst, s[from:]...), terminator)
}

// splitInner finds the end of the inner form at the start of b: body is
// everything before the terminator.
func splitInner(b []byte) (body, rest []byte, err error) {
	end := bytes.IndexByte(b, terminator)
	if end < 0 {
		return nil, nil, invalid("a string without its end")
	}
	return b[:end], b[end+1:], nil
}

// appendUnescaped is the inverse of appendInner.
func appendUnescaped(dst, body []byte) ([]byte, error) {
	for {
		i := bytes.IndexByte(body, escape)
		if i < 0 {
			return append(dst, body...), nil
		}
		// The byte after an escape is not a terminator: body has none.
		if i+1 == len(body) || body[i+1] > escape+1 {
			return nil, invalid("a string with an unknown escape")
		}
		dst = append(append(dst, body[:i]...), body[i+1]-1)
		body = body[i+2:]
	}
}

// StringOf returns the codec String of another string type.
func StringOf[K ~string]() StringCodec[K] { return StringCodec[K]{} }

// StringCodec is the codec of strings of any bytes.
type StringCodec[K ~string] struct{}

// Prefix returns the prefix of the keys, made with this codec, that begin with
// s.
func (StringCodec[K]) Prefix(s K) Prefix[K] { return Prefix[K]{[]byte(s)} }

// Append implements Codec.
func (StringCodec[K]) Append(dst []byte, k K) []byte { return append(dst, k...) }

// Decode implements Codec. It never fails.
func (StringCodec[K]) Decode(b []byte) (K, error) { return K(b), nil }

// AppendInner implements Codec.
func (StringCodec[K]) AppendInner(dst []byte, k K) []byte { return appendInner(dst, k) }

// DecodeInner implements Codec.
func (StringCodec[K]) DecodeInner(b []byte) (K, []byte, error) {
	body, rest, err := splitInner(b)
	if err != nil {
		return "", nil, err
	}
	if bytes.IndexByte(body, escape) < 0 {
		return K(body), rest, nil // the only copy
	}
	body, err = appendUnescaped(make([]byte, 0, len(body)), body)
	if err != nil {
		return "", nil, err
	}
	return K(body), rest, nil
}

// BytesCodec is the type of Bytes.
type BytesCodec struct{}

// Prefix returns the prefix of the keys, made with this codec, that begin with
// s.
func (BytesCodec) Prefix(s []byte) Prefix[[]byte] { return Prefix[[]byte]{bytes.Clone(s)} }

// Append implements Codec.
func (BytesCodec) Append(dst, k []byte) []byte { return append(dst, k...) }

// Decode implements Codec. It never fails.
func (BytesCodec) Decode(b []byte) ([]byte, error) { return append([]byte{}, b...), nil }

// AppendInner implements Codec.
func (BytesCodec) AppendInner(dst, k []byte) []byte { return appendInner(dst, k) }

// DecodeInner implements Codec.
func (BytesCodec) DecodeInner(b []byte) (k, rest []byte, err error) {
	body, rest, err := splitInner(b)
	if err != nil {
		return nil, nil, err
	}
	k, err = appendUnescaped(make([]byte, 0, len(body)), body)
	if err != nil {
		return nil, nil, err
	}
	return k, rest, nil
}

// Arrays are the types for which ArrayOf has a codec: hashes, addresses,
// identifiers.
type Arrays interface {
	~[4]byte | ~[6]byte | ~[8]byte | ~[12]byte | ~[16]byte | ~[20]byte | ~[24]byte | ~[28]byte | ~[32]byte | ~[48]byte | ~[64]byte
}

// ArrayOf returns the codec of an array of bytes, such as a UUID: the bytes
// themselves, ordered bytewise.
func ArrayOf[K Arrays]() ArrayCodec[K] { return ArrayCodec[K]{} }

// ArrayCodec is the codec of arrays of bytes.
type ArrayCodec[K Arrays] struct{}

// Append implements Codec.
func (ArrayCodec[K]) Append(dst []byte, k K) []byte {
	for i := range len(k) { // slices of arrays of several lengths have no common type
		dst = append(dst, k[i])
	}
	return dst
}

// AppendInner implements Codec; the forms are the same.
func (c ArrayCodec[K]) AppendInner(dst []byte, k K) []byte { return c.Append(dst, k) }

// Decode implements Codec.
func (c ArrayCodec[K]) Decode(b []byte) (K, error) { return whole(c.DecodeInner(b)) }

// DecodeInner implements Codec.
func (ArrayCodec[K]) DecodeInner(b []byte) (K, []byte, error) {
	var k K
	if len(b) < len(k) {
		return k, nil, invalid("%d bytes for an array of %d", len(b), len(k))
	}
	for i := range len(k) {
		k[i] = b[i]
	}
	return k, b[len(k):], nil
}
