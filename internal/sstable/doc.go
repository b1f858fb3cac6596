// Package sstable implements tables: immutable files of sorted entries, with a
// writer and a reader for points and ranges. It knows neither levels nor paths.
//
// # Terms
//
//   - page: a sequence of entries that is read, checked and cached as one;
//     package block defines its bytes. Pages are contiguous from offset 0.
//   - index: maps a key to its page; resident while the table is open
//     (index.go).
//   - segment: one or more consecutive pages, with one separator in the
//     index.
//   - fence: a segment of one page. A longer segment has a model, which maps
//     a key to one of its pages by arithmetic.
//   - ranges: the table's range tombstones (package rangedel), one of its
//     properties. Entries under them are returned like all others: a read
//     looks at both.
//   - chunk: the entries that a writer holds back to plan their pages at once
//     (plan.go).
//
// # How a point is read
//
// filter -> segment (binary search over 8-byte numbers) -> model -> one page,
// from the cache or by one pread -> heads of the page, from the position that
// the model predicts -> the whole key is compared -> value. There is no
// allocation, and no lock but the cache's. The model decides where to look,
// never whether a key exists.
//
// All versions of one user key that fit on a page are on one page. Otherwise
// the separators between their pages have a trailer, so that a search for (key,
// sequence) still goes to exactly the page of the version wanted.
//
// # What is trusted
//
// The reader trusts nothing in the file. Each page and section has a checksum
// over its bytes, the file's identity and the offset; lengths are checked
// before memory is allocated, and columns before they are used. Damage is a
// *base.CorruptionError.
package sstable
