//go:build !race

package memtable

import "github.com/seerdb-go/seerdb/internal/offheap"

func allocate(n int) ([]byte, error) { return offheap.Alloc(n) }

func release(b []byte) { offheap.Free(b) }
