package faultfs

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
	"github.com/seerdb-go/seerdb/internal/vfs/vfstest"
)

func TestConformance(t *testing.T) {
	vfstest.Conform(t, func(*testing.T) (vfs.FS, string) { return New(memfs.New()), "" })
}
