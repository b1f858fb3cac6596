// Package rangedel holds range tombstones: deletions of all keys from one up to
// another. They are no entries. What holds entries, a memtable or a table, has
// a list of them beside, and a read asks both.
//
// # Terms
//
//   - tombstone: deletes the keys in [Lo, Hi) that are older than its sequence.
//   - fragment: a range of keys under which the same tombstones lie, with their
//     sequences. Tombstones overlap, fragments do not; so a key is in one
//     fragment at most, and finding it is a binary search.
//   - List: fragments that never change, as tables have them.
//   - Set: the tombstones of a memtable, which come one at a time. Its View is
//     what a List is, at one moment.
//
// # The set of a memtable
//
// A Set is a B+ tree of fragments. What a reader may have is never changed: an edit
// copies the path to what it changes, and publishes the new root with one store. A
// view that no reader asked for is changed in place; a reader that asks at that
// moment waits for the edit, a microsecond or two, or less than a millisecond in the
// midst of a large batch. No reader waits otherwise. A batch that is large for the set
// makes the tree anew beside the old one, in one pass.
// To delete a range costs O(log n), and a sequence for each fragment covered.
//
// A queue deletes its oldest part over and over, each time a bit more than the
// last. So a sequence goes when no read can need it (see Set.Add), and
// fragments that have become alike are joined: what is left is a handful.
//
// # Clean fragments
//
// An iterator of a memtable that comes to a fragment would like to jump to its
// end rather than pass a million dead entries one by one. It may if the
// fragment is clean: no entry of the memtable in it is newer than its newest
// sequence. Neither entries nor tombstones know the other, and both are added
// without a common lock, so each looks after the other once its own part can
// be seen:
//
//	entry:      insert it, then load the view and Reuse its key
//	tombstone:  Add it, then ReuseRange with the newest entry there is
//
// Whichever is later sees the earlier. A fragment that was marked stays so in
// all views: when it is cut its pieces share the mark, and where a newer
// tombstone gives it a new meaning there is a new mark, which ReuseRange sets
// anew.
package rangedel
