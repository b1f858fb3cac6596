// Package learned is pure arithmetic: it maps keys to numbers in the order of
// the keys, and fits lines that map numbers to pages of a sorted file. It knows
// no files.
//
// A key's window (the bytes after a prefix that all keys of interest share)
// becomes a 64-bit number through a Code. Codes are weakly monotone over all
// byte strings, not only over those they were made from: a < b implies
// number(a) <= number(b).
//
// A Model is a line in integers. It does not approximate where pages are: it
// decides. The writer cuts pages exactly where the integer part of the line
// changes. So for a stored key the page is exact, with no error bound to search
// through, and the fraction shows roughly where in the page the key is.
// (Letting the model define the blocks is the idea of "Learned Indexes for a
// Google-scale Disk-based Database", Abu-Libdeh et al., 2020.) What is bounded
// is the weight of a page: a line continues as long as the density of the keys
// keeps every page between a smallest and a largest weight, however far it
// drifts from the best fit. Uniform keys need one line for any number of pages,
// where an index with an error bound needs one per eps^2 keys (Ferragina,
// Lillo, Vinciguerra, ICML 2020).
//
// All arithmetic is in integers, so that a table written on one machine is read
// alike on any other: compilers fuse floating-point multiply-adds on some
// architectures and not on others.
package learned
