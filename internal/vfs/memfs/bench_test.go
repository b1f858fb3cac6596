package memfs

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/vfstest"
)

// A log in memory: 120 bytes and a sync, over and over.
func BenchmarkMemAppendSync(b *testing.B) {
	f, err := New().Create("a")
	vfstest.Check(b, err)
	p := make([]byte, 120)
	for b.Loop() {
		if _, err := f.Write(p); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

// A crash of a small database: 10 files of 4 KiB, one of them not synced.
func BenchmarkMemCrashClone(b *testing.B) {
	m := New()
	for i := range 10 {
		vfstest.Write(b, m, string(rune('a'+i)), string(sectors("12345678")), i > 0)
	}
	for b.Loop() {
		m.CrashClone(CrashOptions{Keep: 0.5})
	}
}

// What the counting wrapper, and an injector without rules, cost a read.
func BenchmarkReadAt(b *testing.B) {
	wrapped := map[string]vfs.FS{"os": vfs.OS, "counting": vfs.NewCounting(vfs.OS), "fault": faultfs.New(vfs.OS)}
	for name, fsys := range wrapped {
		b.Run(name, func(b *testing.B) {
			file := fsys.PathJoin(b.TempDir(), "000001.sst")
			vfstest.Write(b, fsys, file, string(sectors("12345678")), false)
			f, err := fsys.Open(file)
			vfstest.Check(b, err)
			defer f.Close()
			p := make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.ReadAt(p, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
