// Package compaction decides what to rewrite, and rewrites it.
//
// The two halves do not know each other. Pick is a pure function from a version
// of the tree to a Job: it sees descriptions of files, never a file. Run turns
// a sorted iterator into new tables and value files: it sees no level, path or
// lock. A flush is a Run without a Pick. The engine calls both and installs the
// result.
//
// # Terms
//
//   - run: tables that do not overlap, in order (manifest.Run).
//   - leveled: a level with one run, into which data from above is merged.
//   - tiered: a level that gathers several runs and merges them when they
//     move down. Level 0 is always tiered.
//   - lazy-leveled: the last level leveled, those above it tiered (Dayan,
//     Idreos, "Dostoevsky", SIGMOD 2018).
//   - base level: the first level in use below level 0; levels between are
//     empty. Inner levels are those from the base level to the last but one.
//   - component: tables of neighbouring levels that are connected by
//     overlaps; the unit in which levels are merged.
//   - guard: a key at which every output ends, to keep components small.
//   - room: how many bytes may lie above the last level.
//   - in place: said of a job whose outputs take the positions of its inputs.
//   - live version: one that some snapshot or any future read can see.
//   - garbage: records of a value file that no table refers to.
package compaction
