//go:build !fences && !learned

package sstable

// AutoMode is the meaning of IndexAuto. The build tags fences and learned force
// one kind of index on every table, so that all tests of all packages can run
// under either.
const AutoMode = IndexAuto
