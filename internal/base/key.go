package base

import (
	"bytes"
	"fmt"
)

// SeqNum is the position of an operation in the history of the database. Only
// the low 56 bits are used. It is a type of its own so that it is never mixed
// up with a FileNum (I12).
type SeqNum uint64

const (
	// SeqNumStart is the sequence of the first operation ever committed.
	// Entries that no snapshot can tell apart any more have sequence 0.
	SeqNumStart SeqNum = 1
	// SeqNumMax is the largest sequence; a read at SeqNumMax sees everything.
	SeqNumMax SeqNum = 1<<56 - 1
)

// Kind says what an entry does to its key. The values are part of the format.
type Kind uint8

// The kinds. A reader that meets one it does not know reports damage rather
// than guess.
const (
	KindDelete       Kind = 0 // the key is gone
	KindPut          Kind = 1 // the value follows
	KindPutPointer   Kind = 2 // the value is an encoded pointer into a value file
	KindMerge        Kind = 3 // the value is an operand
	KindSingleDelete Kind = 4 // the key, which was put once, is gone
	// KindRangeDelete occurs in batches only: range tombstones are not entries
	// but have lists of their own (package rangedel).
	KindRangeDelete Kind = 5
	KindPutTTL      Kind = 6 // an expiry and the value
	// KindPutTTLPointer is an expiry and an encoded pointer.
	KindPutTTLPointer Kind = 7
	KindMax           Kind = 15 // the largest kind that will ever be assigned
)

var kindNames = [...]string{"DEL", "PUT", "PTR", "MERGE", "SDEL", "RDEL", "TTL", "TTLPTR"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("KIND%d", uint8(k))
}

// Trailer is sequence<<8 | kind.
type Trailer uint64

// TrailerMax sorts before every entry of its user key.
const TrailerMax = Trailer(1<<64 - 1)

// MakeTrailer joins a sequence and a kind.
func MakeTrailer(s SeqNum, k Kind) Trailer { return Trailer(s)<<8 | Trailer(k) }

// SeekTrailer returns the trailer with which a seek finds the newest entry
// visible at s.
func SeekTrailer(s SeqNum) Trailer { return Trailer(s)<<8 | 0xff }

// Seq returns the sequence.
func (t Trailer) Seq() SeqNum { return SeqNum(t >> 8) }

// Kind returns the kind.
func (t Trailer) Kind() Kind { return Kind(t & 0xff) }

// Visible reports whether a read at sequence s sees an entry with trailer t.
func (t Trailer) Visible(s SeqNum) bool { return t.Seq() <= s }

func (t Trailer) String() string { return fmt.Sprintf("%d,%s", t.Seq(), t.Kind()) }

// Compare orders entries by ascending user key, then by descending trailer. It
// compares the two parts separately, so a key that is a prefix of another needs
// no escape.
func Compare(ak []byte, at Trailer, bk []byte, bt Trailer) int {
	if c := bytes.Compare(ak, bk); c != 0 {
		return c
	}
	switch {
	case at > bt:
		return -1
	case at < bt:
		return 1
	}
	return 0
}

// KV is one entry, as iterators return it. Its slices belong to the iterator
// and are valid until that moves or is closed.
type KV struct {
	Key     []byte
	Trailer Trailer
	Value   []byte
}

// Iterator walks entries in the order of Compare, in both directions.
//
// Every positioning method returns the entry that it lands on, or nil at the
// end and after an error; Err tells the two apart. After Next has returned nil
// at the end, Next returns nil again and Prev returns the last entry, and
// likewise at the other end. On an iterator that was never positioned, Next
// acts as First and Prev as Last. The iterator owns the KV and overwrites it in
// the next positioning call. An iterator is used by one goroutine at a time.
type Iterator interface {
	// SeekGE lands on the first entry at or after (key, t). With TrailerMax
	// that is the newest entry of the first user key >= key.
	SeekGE(key []byte, t Trailer) *KV
	// SeekLT lands on the last entry whose user key is < key.
	SeekLT(key []byte) *KV
	First() *KV
	Last() *KV
	Next() *KV
	Prev() *KV
	// Err returns the error that ended the walk, or nil. It is sticky until the
	// next seek.
	Err() error
	// Close releases what the iterator pins and returns Err. It is idempotent.
	Close() error
}
