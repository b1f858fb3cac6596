// Package sstable is one table: a file of sorted entries that never changes,
// its writer, and its reader for points and ranges. It knows neither levels
// nor paths.
//
// # Terms
//
//   - page: a run of entries that is read, checked and cached as one; its
//     bytes are package block's. Pages lie back to back from offset 0.
//   - index: says on which one page a key lies; resident while the table is
//     open (index.go).
//   - segment: one or more pages behind one separator of the index.
//   - fence: a segment of one page. model: tells apart the pages of a longer
//     segment, by arithmetic on the key.
//   - ranges: the table's range tombstones (package rangedel), a property of it.
//     Entries under them
//     are shown like all others: a read asks for both.
//   - chunk: the entries that a writer holds back to plan their pages at once
//     (plan.go).
//
// # How a point is read
//
// filter -> segment (binary search over 8-byte numbers) -> model -> one page,
// from the cache or by one pread -> heads of the page, from where the model
// says that the key lies -> the whole key is compared -> value. No allocation,
// no lock but the cache's. The model decides where to look, never whether a
// key exists.
//
// All versions of one user key that fit on a page are on one page. Where they
// do not, the separators between their pages carry a trailer, so that a search
// for (key, sequence) still goes to exactly the page of the version wanted.
//
// # What is trusted
//
// Nothing read from the file. Each page and section has a checksum over its
// bytes, the file's identity and the offset; lengths are checked before memory
// is taken; columns before they are used. Damage is a *base.CorruptionError.
package sstable
