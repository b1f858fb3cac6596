package dbtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb"
)

// Rows returns n rows "<prefix><i>=<value>".
func Rows(prefix string, n int, value string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%05d=%s", prefix, i, value)
	}
	return out
}

// KeyOf returns the key of a "key=value" row.
func KeyOf(row string) string {
	k, _, _ := strings.Cut(row, "=")
	return k
}

// Some returns n, or less in short runs.
func Some(n int) int {
	if testing.Short() || RaceEnabled {
		return n/4 + 1
	}
	return n
}

// Collect joins keys with blanks.
func Collect(keys func(func([]byte) bool)) (out string) {
	for k := range keys {
		if out != "" {
			out += " "
		}
		out += string(k)
	}
	return out
}

// Awkward are keys that are prefixes of one another, and end in bytes that an
// encoding of keys and sequences might use for itself.
var Awkward = []string{
	"", "\x00", "\x00\x00", "a", "a\x00", "a\x00\x00", "a\x00\xff", "a\x01", "aa", "ab", "ab\x00", "abc",
	"a\xff", "a\xff\x00", "a\xff\xff", "a\xff\xff\xff\xff\xff\xff\xff\xff\xff", "b", "\xff", "\xff\x00", "\xff\xff",
	"abcdefgh", "abcdefgh\x00", "abcdefghabcdefgh", "abcdefghabcdefgi",
}

// Numbered returns a batch that sets all keys of a writer to one number.
func Numbered(db *seerdb.DB, writer, keys int, n int64) *seerdb.Batch {
	b := db.NewBatch()
	for k := range keys {
		_ = b.Put(fmt.Appendf(nil, "w%d/%03d", writer, k), fmt.Appendf(nil, "%d", n))
	}
	return b
}
