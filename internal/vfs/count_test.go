package vfs_test

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/internal/vfs/vfstest"
)

func TestCounting(t *testing.T) {
	m := memfs.New()
	fault := faultfs.New(m)
	c := vfs.NewCounting(fault)
	vfstest.Check(t, c.MkdirAll("db"))
	vfstest.Write(t, c, c.PathJoin("db", "000001.wal"), "12345", true)
	vfstest.Write(t, c, c.PathJoin("db", "000002.sst"), "1234567", false)
	vfstest.Write(t, c, c.PathJoin("db", "foreign"), "1", false)
	_ = vfstest.Read(t, c, c.PathJoin("db", "000002.sst"))
	vfstest.Check(t, vfs.SyncDir(c, "db"))

	fault.Inject(faultfs.Rule{Op: faultfs.OpWrite, Short: true})
	f, err := c.Create("db/000003.wal")
	vfstest.Check(t, err)
	if n, err := f.Write([]byte("1234")); n != 2 || err == nil {
		t.Fatalf("a short write: %d, %v", n, err)
	}

	want := map[base.FileType]vfs.IOStats{
		base.FileTypeLog:     {BytesWritten: 7, Writes: 2, Syncs: 1},
		base.FileTypeTable:   {BytesWritten: 7, Writes: 1, BytesRead: 7, Reads: 1},
		base.FileTypeUnknown: {BytesWritten: 1, Writes: 1, Syncs: 1},
	}
	for typ := range base.FileTypeTemp + 2 {
		if got := c.Stats(typ); got != want[typ] {
			t.Errorf("%v: %+v, want %+v", typ, got, want[typ])
		}
	}
	if got := c.Total(); got != (vfs.IOStats{BytesWritten: 15, BytesRead: 7, Writes: 4, Reads: 1, Syncs: 2}) {
		t.Errorf("total: %+v", got)
	}
	if size := vfs.SizeOfCounter; size != 64 {
		t.Errorf("a counter takes %d bytes, not a cache line", size)
	}
}
