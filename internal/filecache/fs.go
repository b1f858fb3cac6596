package filecache

import (
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// FS is a file system that retries opens refused for lack of descriptors after
// a Cache has closed some of its files: writing the log is more important than
// keeping tables open.
type FS struct {
	vfs.FS        // immutable
	c      *Cache // immutable
}

// NewFS wraps a file system. Files opened through it take no slot.
func NewFS(inner vfs.FS, c *Cache) *FS { return &FS{inner, c} }

// Create implements vfs.FS.
func (s *FS) Create(name string) (vfs.File, error) { return retry(s.c, name, s.FS.Create) }

// Open implements vfs.FS.
func (s *FS) Open(name string) (vfs.File, error) { return retry(s.c, name, s.FS.Open) }

// OpenDir implements vfs.FS.
func (s *FS) OpenDir(name string) (vfs.Dir, error) { return retry(s.c, name, s.FS.OpenDir) }

// List implements vfs.FS.
func (s *FS) List(dir string) ([]string, error) { return retry(s.c, dir, s.FS.List) }

func retry[T any](c *Cache, name string, open func(string) (T, error)) (out T, err error) {
	err = c.retry(0, func() error {
		out, err = open(name)
		return err
	})
	return out, err
}
