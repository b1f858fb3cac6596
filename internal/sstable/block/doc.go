// Package block is the bytes of one page of a table: sorted entries laid out
// in columns, so that a search touches few cache lines and an entry is reached
// by arithmetic, without decoding its neighbours.
//
// All numbers are little-endian. A key is cut in three: the prefix common to
// all user keys of the page, the head (the next 8 bytes or fewer, as a
// number), and the tail (the rest).
//
//	 0  u8  flags       bit 0: no user key occurs twice
//	 1  u8  head width  W: 0, 2, 4 or 8 bytes
//	 2  u8  head length 0..W for every entry, or 0xff: see the lengths column
//	 3  u8  trailers    low 4 bits: width 0, 1, 2, 4 or 8; bit 7: scaled by 256
//	 4  u8  tail offset width   0 (equal lengths), 2 or 4
//	 5  u8  value offset width  0 (equal lengths), 2 or 4
//	 6  u16 zero
//	 8  u32 n           entries, at least 1
//	12  u32 prefix length
//	16  u32 tails:  length of each (offset width 0), or of all together
//	20  u32 values: length of each (offset width 0), or of all together
//	24  u64 smallest trailer
//	32  prefix, zero-padded to a multiple of 8
//	    heads           n * W, zero-padded on the right as the key ended
//	    trailers        n * width: what is to be added to the smallest
//	    tail offsets    (n+1) * width, when the width is not 0
//	    value offsets   (n+1) * width, when the width is not 0
//	    head lengths    n * u8, when the head length is 0xff
//	    tails
//	    values
//
// A head is the big-endian value of its bytes, so that numbers order as keys
// do. "ab" and "ab\x00" have one head: the head length tells them apart, and
// costs nothing while all entries agree on it.
//
// Open checks that the columns fit the bytes, in constant time. Offsets inside
// a column are checked where they are used: a page under its checksum never
// fails there, a crafted one yields empty slices, never a panic. Check is the
// full proof.
package block
