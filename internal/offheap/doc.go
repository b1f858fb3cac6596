// Package offheap allocates memory that the garbage collector neither scans nor
// counts, so that a large cache or memtable does not double the heap. On Unix
// it is anonymous private memory from mmap; elsewhere it comes from the Go
// heap, which is correct and only costs more. So it does under the race
// detector, which is blind outside the Go heap and then checks accesses to this
// memory too.
//
// Memory is not touched until it is used: a large region costs address space,
// not RAM. Freed memory must not be used again; the invariants build makes it
// inaccessible, so that a use after free faults at once.
package offheap
