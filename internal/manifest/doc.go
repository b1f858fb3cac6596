// Package manifest records which files make up a database: Version is that set
// at one moment, Edit a change of it, and Log the durable record of edits. It
// opens no table.
//
// # Terms
//
//   - level: tables that compactions treat alike; level 0 is nearest the
//     memtable.
//   - run: tables of one level that do not overlap, so that a key is in at
//     most one of them. A level has one run or several; of two runs the one
//     with the larger id is newer.
//   - value file: immutable values that tables point to, with accounts of how
//     much of it is still referenced.
//
// # Files
//
// MANIFEST-n is a log of edits in the framing of package record: a header, a
// snapshot (an edit that adds everything), then edits. CURRENT names the
// manifest in use. No later process appends to a manifest: opening writes a new
// one, so that no edit ever follows a tail of unknown state. See
// docs/FORMAT.md.
package manifest
