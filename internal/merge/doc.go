// Package merge merges sorted iterators into one. An Iter holds the next entry
// of each of its children and returns the smallest (or, going backward, the
// largest).
//
// The children are in a binary heap. It is fast in a tree of tables because
// most entries are in one child: after a step of the child on top, one
// comparison with the best of the others usually shows that it stays on top.
// Each child's head, the first 8 bytes of its key as a number, decides most
// comparisons.
//
// Entries equal in key and trailer are returned one after the other, in the
// order of their children's list; backward in the opposite order. Callers
// decide which versions of a key to use.
package merge
