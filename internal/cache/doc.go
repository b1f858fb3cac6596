// Package cache keeps pages of files in memory outside the Go heap, within the
// one memory budget of the database. Everything else that takes memory
// (memtables, resident table metadata, iterators, transactions) charges it
// here, which shrinks the room for pages.
//
// # Terms
//
//   - page: some bytes of an immutable file, named by Key. The cache does not
//     read files: Acquire returns Fill, and the caller fills.
//   - slab: a fixed piece of off-heap memory, cut into slots of one size.
//   - class: all slabs of one slot size. Sizes step by about a tenth, so a page
//     wastes a twentieth of its slot on average.
//   - frame: the metadata of one slot. Frames never move and are never freed
//     before the cache is, so a stale frame number is harmless.
//   - pin: a frame with a pin is neither evicted nor overwritten.
//   - private: a buffer that a caller gets when no slot can be had (a budget
//     of zero, or every page pinned). It is not shared and dies with its
//     handle.
//
// # How a hit stays cheap
//
// A hit takes no lock. It finds the frame number in a table of atomic words,
// compares the key, and pins by one compare-and-swap on the frame's state, which
// also counts the hit and heats the page. The state carries a generation that
// every refill changes, so the swap succeeds only if the frame has held that
// key ever since it was compared. A reader that finds nothing, or loses a
// race, goes the slow way under the one mutex, whose answer is authoritative:
// the fast way can only miss, never err.
//
// On one core of an AMD EPYC a hit with its release takes 26 ns of one page, 34
// of a random one of a thousand, 120 when index, frame and page come from DRAM;
// a miss takes 180 ns besides the read. Misses take turns: five million a second
// is the most for all cores together.
//
// # What is evicted
//
// Each class runs S3-FIFO (Yang et al., SOSP 2023): new pages enter a small
// queue (a tenth of the class); those hit twice there move to the main queue,
// where a page with hits left is given another round, and the rest leave at
// once. A page that comes back soon after it left the small queue (its
// fingerprint is still among the ghosts) enters the main queue directly. So
// pages that are read once, as scans do, pass through a tenth of the memory.
// Acquire with scan set does not even heat what it finds. With a tenth of the
// data in memory the hit ratio on skewed reads (Zipf 0.99) is 0.73 where an LRU
// of the same size has 0.69, and a hot set of half the memory keeps 0.9998 of
// its hits while a scan of ten times the memory passes.
//
// Memory moves between classes a slab at a time: towards a class whose evicted
// pages come back, from the class whose pages stay longest before they are
// evicted. The class that gives a slab evicts its coldest pages, wherever they
// are, and moves what else is in the slab to their slots.
package cache
