//go:build !amd64 || race

package memtable

import "sync/atomic"

// Stores that lock-free readers see; publish_amd64.go explains them.

func publish32(p *atomic.Uint32, v uint32) { p.Store(v) }

func publish64(p *atomic.Uint64, v uint64) { p.Store(v) }
