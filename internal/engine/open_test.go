package engine

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// openSmall opens a small database in memory, with options as change makes them;
// nil leaves them. The caller closes it.
func openSmall(t testing.TB, change func(o *Options)) *Engine {
	t.Helper()
	o := Options{
		FS: memfs.New(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Durability: Sync, Clock: time.Now,
		MemoryBudget: 1 << 20, MemtableSize: 16 << 10, Partitions: 1, PageSize: 512, TableSize: 8 << 10,
		L0Trigger: 4, L0Slowdown: 8, L0Stop: 12, BaseLevelBytes: 64 << 10, MaxCompactions: 1, OpenFiles: 100,
	}
	if change != nil {
		change(&o)
	}
	e, err := Open("db", o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
