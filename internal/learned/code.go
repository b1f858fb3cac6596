package learned

import (
	"errors"
	"math/bits"
	"strings"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Classes of bytes, by number. They are part of the format, so classes are only
// ever added. A position of a window that holds digits counts in base 10 rather
// than 256, which makes decimal numbers as linear as binary ones. Class 0 is a
// single byte, which the code itself names.
const classConstant = 0

var classes = [...]string{
	classConstant: "",
	1:             digits,
	2:             digits + "abcdef",
	3:             digits + "ABCDEF",
	4:             lower,
	5:             upper,
	6:             digits + lower,
	7:             "-./" + digits + "_" + lower,
	8:             digits + upper + lower,
	9:             "-" + digits + upper + "_" + lower,
	10:            "+/" + digits + upper + lower,
	11:            span(0x20, 0x7e),
	12:            span(0x00, 0xff),
}

const (
	digits     = "0123456789"
	lower      = "abcdefghijklmnopqrstuvwxyz"
	upper      = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	maxSymbols = 32 // positions in a code
)

func span(lo, hi int) string {
	var b strings.Builder
	for c := lo; c <= hi; c++ {
		b.WriteByte(byte(c))
	}
	return b.String()
}

// rankTable has, for each byte, how many symbols of a class are less than it,
// plus notMember if it is not a symbol itself, plus beyond if no symbol is
// greater.
type rankTable [256]uint16

const (
	notMember = 1 << 15
	beyond    = 1 << 14
	rankMask  = beyond - 1
)

var rankTables = func() (t [len(classes)]rankTable) {
	for i := range classes {
		t[i] = makeRanks(classes[i])
	}
	return t
}()

func makeRanks(symbols string) (t rankTable) {
	rank := uint16(0)
	for b := range 256 {
		t[b] = rank | notMember
		if int(rank) == len(symbols) {
			t[b] |= beyond
		}
		if strings.IndexByte(symbols, byte(b)) >= 0 {
			t[b] = rank
			rank++
		}
	}
	return t
}

// Code is an order-preserving map from the bytes after a prefix to a number in
// a mixed radix, with one digit for each position: the rank among the symbols
// of a class. Immutable; the nil Code reads 8 bytes as a big-endian number.
type Code struct {
	ranks   []*rankTable
	weights []uint64 // value of one rank at each position
	desc    []byte
}

// ErrBadCode is DecodeCode's error for bytes that describe no code.
var ErrBadCode = errors.New("learned: not a code")

// DecodeCode makes a code from its description: for each position the number of
// its class, followed by the byte itself if the class is that of one byte.
func DecodeCode(desc []byte) (*Code, error) {
	c := &Code{desc: append([]byte(nil), desc...)}
	var radix []uint64
	for i := 0; i < len(desc); i++ {
		class := int(desc[i])
		switch {
		case class >= len(classes) || len(radix) == maxSymbols:
			return nil, ErrBadCode
		case class == classConstant:
			if i++; i == len(desc) {
				return nil, ErrBadCode
			}
			t := makeRanks(string(desc[i : i+1]))
			c.ranks = append(c.ranks, &t)
			radix = append(radix, 1)
		default:
			c.ranks = append(c.ranks, &rankTables[class])
			radix = append(radix, uint64(len(classes[class])))
		}
	}
	c.weights = make([]uint64, len(radix))
	w := uint64(1)
	for i := len(radix) - 1; i >= 0; i-- {
		c.weights[i] = w
		hi, lo := bits.Mul64(w, radix[i])
		// The largest number is the product of all radices, less one.
		if hi > 1 || hi == 1 && lo != 0 || hi == 1 && i > 0 {
			return nil, ErrBadCode
		}
		w = lo
	}
	return c, nil
}

// Description returns the description that DecodeCode accepts.
func (c *Code) Description() []byte {
	if c == nil {
		return nil
	}
	return c.desc
}

// MemBytes returns roughly the memory of the code.
func (c *Code) MemBytes() int { return 128 + 16*len(c.weights) + 3*len(c.desc) }

// Number returns the number of key[from:]; from may be beyond the end of key.
func (c *Code) Number(key []byte, from int) uint64 {
	if c == nil {
		return base.HeadFrom(key, from)
	}
	var x uint64
	if from > len(key) {
		return 0
	}
	key = key[from:]
	ranks := c.ranks
	weights := c.weights[:len(ranks)]
	if len(key) < len(ranks) {
		ranks = ranks[:len(key)] // the end of the key sorts before every byte: rank 0 from here
	}
	for i, t := range ranks {
		r := t[key[i]]
		x += uint64(r&rankMask) * weights[i]
		if r&notMember != 0 {
			// Between two symbols, return the first number of the greater one.
			// Beyond all symbols, return the last number with the same
			// beginning: one less than the sum (which may have wrapped around
			// to 0).
			if r&beyond != 0 {
				x--
			}
			break
		}
	}
	return x
}
