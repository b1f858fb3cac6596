package vfs

import (
	"testing"
	"unsafe"

	"github.com/seerdb-go/seerdb/internal/base"
)

func TestCounting(t *testing.T) {
	m := NewMem()
	fault := NewFault(m)
	c := NewCounting(fault)
	check(t, c.MkdirAll("db"))
	write(t, c, c.PathJoin("db", "000001.wal"), "12345", true)
	write(t, c, c.PathJoin("db", "000002.sst"), "1234567", false)
	write(t, c, c.PathJoin("db", "foreign"), "1", false)
	_ = read(t, c, c.PathJoin("db", "000002.sst"))
	check(t, SyncDir(c, "db"))

	fault.Inject(Rule{Op: OpWrite, Short: true})
	f, err := c.Create("db/000003.wal")
	check(t, err)
	if n, err := f.Write([]byte("1234")); n != 2 || err == nil {
		t.Fatalf("a short write: %d, %v", n, err)
	}

	want := map[base.FileType]IOStats{
		base.FileTypeLog:     {BytesWritten: 7, Writes: 2, Syncs: 1},
		base.FileTypeTable:   {BytesWritten: 7, Writes: 1, BytesRead: 7, Reads: 1},
		base.FileTypeUnknown: {BytesWritten: 1, Writes: 1, Syncs: 1},
	}
	for typ := range base.FileTypeTemp + 2 {
		if got := c.Stats(typ); got != want[typ] {
			t.Errorf("%v: %+v, want %+v", typ, got, want[typ])
		}
	}
	if got := c.Total(); got != (IOStats{BytesWritten: 15, BytesRead: 7, Writes: 4, Reads: 1, Syncs: 2}) {
		t.Errorf("total: %+v", got)
	}
	if size := unsafe.Sizeof(ioCounter{}); size != 64 {
		t.Errorf("a counter takes %d bytes, not a cache line", size)
	}
}
