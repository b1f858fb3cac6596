// Package pack puts several small tables into one file, so that what a job
// writes for thousands of keyspaces costs one file and one sync instead of
// thousands.
//
// # Format
//
//	+-------+-------+-----+-----------+--------+
//	| table | table | ... | directory | footer |
//	+-------+-------+-----+-----------+--------+
//
// Each table is as it would be in a file of its own; offsets in it, which enter
// its checksums, count from its first byte. The directory says where the tables
// are; the engine knows that from the manifest, and Verify compares the two.
// docs/FORMAT.md specifies the bytes.
//
// The package does not know what a table is, nor which tables are live.
package pack
