// Package merge makes one sorted walk out of many. An Iter holds the next
// entry of each of its children and shows the smallest (or, going backward,
// the largest).
//
// The children are kept in a binary heap. What makes it fast in a tree of
// tables is that most of the entries lie in one child: after a step of the
// child on top, one comparison with the best of the others says that it stays
// there. Beside each child lie the first 8 bytes of its key as a number, which
// decide most comparisons.
//
// Entries equal in key and trailer come out one after the other, that of the
// child listed first before the others; backward in the opposite order. Which
// versions of a key to show is not decided here.
package merge
