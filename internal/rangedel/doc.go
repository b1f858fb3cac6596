// Package rangedel implements range tombstones: deletions of all keys in a
// range. They are not entries: a memtable or table has a list of them beside
// its entries, and a read looks at both.
//
// # Terms
//
//   - tombstone: deletes the keys in [Lo, Hi) that are older than its sequence.
//   - fragment: a range of keys covered by the same tombstones, with their
//     sequences. Tombstones overlap, fragments do not, so a key is in at most
//     one fragment, and a binary search finds it.
//   - List: immutable fragments, as tables have them.
//   - Set: the tombstones of a memtable, which are added one at a time. Its
//     View is the Set at one moment, with fragments like a List's.
//
// # The set of a memtable
//
// A Set is a B+ tree of fragments. A view that a reader may have never changes:
// an edit copies the path to what it changes, and publishes the new root with
// one store. A view that no reader asked for is changed in place; a reader that
// asks during such an edit waits for its end, a microsecond or two, or less
// than a millisecond in the middle of a large batch. Readers wait for nothing
// else. A batch that is large for the set builds a new tree in one pass.
// Deleting a range costs O(log n), and a sequence for each fragment covered.
//
// A queue deletes its oldest part over and over, each time a bit more. So a
// sequence is dropped when no read can need it (see Set.Add), and fragments
// that have become alike are joined: a handful remains.
//
// # Clean fragments
//
// An iterator of a memtable that comes to a fragment should jump to its end
// rather than pass a million dead entries one by one. It may if the fragment is
// clean: no entry of the memtable in it is newer than the fragment's newest
// sequence. Entries and tombstones are added without a common lock, so each
// side checks the other after its own addition is visible:
//
//	entry:      insert it, then load the view and MarkDirty its key
//	tombstone:  Add it, then MarkDirtyRange with the newest entry there is
//
// Whichever is later sees the earlier. A dirty fragment stays dirty in all
// views: its pieces share the mark when it is cut. Where a newer tombstone
// changes the meaning of the mark there is a new one, which MarkDirtyRange sets
// anew.
package rangedel
