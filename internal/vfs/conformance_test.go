package vfs_test

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/faultfs"
	"github.com/seerdb-go/seerdb/internal/vfs/vfstest"
)

func TestConformance(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (vfs.FS, string){
		"os":       func(t *testing.T) (vfs.FS, string) { return vfs.OS, t.TempDir() },
		"os root":  func(t *testing.T) (vfs.FS, string) { return vfstest.Rooted(t, vfs.OS, t.TempDir()), "" },
		"counting": func(t *testing.T) (vfs.FS, string) { return vfs.NewCounting(faultfs.New(vfs.OS)), t.TempDir() },
		"counting fault root": func(t *testing.T) (vfs.FS, string) {
			return vfstest.Rooted(t, vfs.NewCounting(faultfs.New(vfs.OS)), t.TempDir()), ""
		},
	} {
		t.Run(name, func(t *testing.T) { vfstest.Conform(t, open) })
	}
}
