// Package block defines the bytes of one page of a table: sorted entries laid
// out so that a search touches few cache lines and reaches an entry by
// arithmetic, without decoding its neighbours.
//
// All numbers are little-endian. A key has three parts: the prefix common to
// all user keys of the page, the head (the next 8 bytes or fewer, as a number),
// and the tail (the rest).
//
//	 0  u8  flags       bit 0: no user key occurs twice
//	 1  u8  head width  W: 0, 2, 4 or 8 bytes
//	 2  u8  trailers    low 4 bits: width 0, 1, 2, 4 or 8; bit 7: scaled by 256
//	 3  u8  key length width    0 (all equal), 1, 2 or 4
//	 4  u8  row offset width    0 (rows of equal length), 2 or 4
//	 5  u8  zero, 3 times
//	 8  u32 n           entries, at least 1
//	12  u32 prefix length
//	16  u32 key length after the prefix, when the width is 0
//	20  u32 rows: length of each (offset width 0), or of all together
//	24  u64 smallest trailer
//	32  prefix, zero-padded to a multiple of 8
//	    heads           n * W, zero-padded on the right as the key ended
//	    row offsets     (n+1) * width, when the width is not 0
//	    rows            each: trailer less the smallest; key length after the
//	                    prefix; tail; value
//
// A search uses the heads alone; everything else about an entry is in one row.
// So a point read touches the line of the header, one or two of heads, and that
// of the row. If tails, trailers and values were columns of their own, each
// would be one more line from memory (about 100 ns when the page is not in a
// processor's cache, which is the normal case).
//
// A head is the big-endian value of its bytes, so that numbers order as keys
// do. "ab" and "ab\x00" have the same head; their lengths tell them apart.
//
// Open checks in constant time that the parts fit the bytes. Offsets and
// lengths of rows are checked where they are used: in a page with a good
// checksum these checks never fail, in a crafted one they yield empty slices
// and never a panic. Check verifies everything.
package block
