// Package compaction decides what to rewrite, and rewrites it.
//
// The two halves do not know each other. Pick is a pure function from a
// version of the tree to a Job: it sees descriptions of files, never a file.
// Run is a stream from a sorted iterator to new tables and value files: it
// sees no level, path or lock. A flush is a Run without a Pick. Only the
// engine, which does both, installs the result.
//
// # Terms
//
//   - run: tables that do not overlap, in order (manifest.Run).
//   - leveled: a level that holds one run, into which what comes from above
//     is merged.
//   - tiered: a level that gathers several runs, which are merged when they
//     move on. Level 0 is tiered always.
//   - lazy-leveled: the last level leveled, those above it tiered (Dayan,
//     Idreos, "Dostoevsky", SIGMOD 2018).
//   - base level: the first level below 0 that is in use. Levels between are
//     empty. Inner levels are those from the base level to the last but one.
//   - component: tables of neighbouring levels that hang together by overlaps;
//     the unit in which levels are merged.
//   - guard: a key at which every output ends, to keep components small.
//   - room: how many bytes may lie above the last level.
//   - in place: a job whose outputs take the very place of its inputs.
//   - live version: one that some snapshot, or any read from now on, can see.
//   - garbage: records of a value file that no table refers to.
package compaction
