package memfs

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/vfstest"
)

func TestConformance(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (vfs.FS, string){
		"itself": func(*testing.T) (vfs.FS, string) { return New(), "" },
		"clone":  func(*testing.T) (vfs.FS, string) { return New().CrashClone(CrashOptions{}), "" },
		"root": func(t *testing.T) (vfs.FS, string) {
			m := New()
			vfstest.Check(t, m.MkdirAll("a/db"))
			return vfstest.Rooted(t, vfstest.Rooted(t, m, "a"), "db"), ""
		},
	} {
		t.Run(name, func(t *testing.T) { vfstest.Conform(t, open) })
	}
}
