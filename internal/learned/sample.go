package learned

import "math/bits"

// Sample collects which bytes occur at each position of some windows, to
// describe a code. It need not see every key: a code is correct for all keys,
// and only less even for unexpected ones.
type Sample struct {
	seen [maxSymbols][4]uint64
}

// Reset empties the sample.
func (s *Sample) Reset() { *s = Sample{} }

// Add adds the bytes of key[from:].
func (s *Sample) Add(key []byte, from int) {
	if from >= len(key) {
		return
	}
	key = key[from:]
	for i, b := range key[:min(len(key), maxSymbols)] {
		s.seen[i][b>>6] |= 1 << (b & 63)
	}
}

var classMasks = func() (m [len(classes)][4]uint64) {
	for i, symbols := range classes {
		for _, b := range []byte(symbols) {
			m[i][b>>6] |= 1 << (b & 63)
		}
	}
	return m
}()

// resolution is how many numbers a code distinguishes at least, if there are
// enough bytes: 2^44 for some ten thousand keys leaves room for very uneven
// keys, at two thirds of the symbols that 64 bits can hold.
const resolution = 1 << 44

// Describe appends to dst the description of a code that reads each position in
// the narrowest class that holds the bytes seen there.
func (s *Sample) Describe(dst []byte) []byte {
	product, useful := uint64(1), len(dst)
	for i := 0; i < len(s.seen) && product < resolution; i++ {
		set := &s.seen[i]
		count := 0
		for _, w := range set {
			count += bits.OnesCount64(w)
		}
		if count == 0 {
			break
		}
		if count == 1 {
			dst = append(dst, classConstant, onlyByte(set))
			continue
		}
		class := 1
		for !within(set, &classMasks[class]) {
			class++
		}
		hi, lo := bits.Mul64(product, uint64(len(classes[class])))
		if hi != 0 {
			break
		}
		product = lo
		dst = append(dst, byte(class))
		useful = len(dst) // constant positions at the end carry no information
	}
	return dst[:useful]
}

func onlyByte(set *[4]uint64) byte {
	for i, w := range set {
		if w != 0 {
			return byte(i*64 + bits.TrailingZeros64(w))
		}
	}
	return 0
}

func within(a, b *[4]uint64) bool {
	return a[0]&^b[0]|a[1]&^b[1]|a[2]&^b[2]|a[3]&^b[3] == 0
}
