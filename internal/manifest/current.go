package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// current is the content of the file CURRENT, which says which manifest
// counts. It is text, so that a person can read it, but exactly this text:
//
//	seerdb
//	format 1
//	database 0123456789abcdef
//	manifest MANIFEST-000012
//	synced 4096
//	checksum 89abcdef
//
// Its layout never changes; what changes is the format it names. Synced is how
// long the manifest was, and durable, when this file was written.
type current struct {
	format   base.FormatVersion
	db       uint64
	manifest base.FileNum
	synced   int64
}

// currentSizeMax is more than the text can take.
const currentSizeMax = 512

func (c *current) encode() []byte {
	text := fmt.Appendf(nil, "seerdb\nformat %d\ndatabase %016x\nmanifest %s\nsynced %d\n",
		c.format, c.db, base.FileName(base.FileTypeManifest, c.manifest), c.synced)
	id := base.Identity{DB: c.db, Type: base.FileTypeCurrent, Num: c.manifest}
	return fmt.Appendf(text, "checksum %08x\n", id.Checksum(0, text))
}

// parseCurrent accepts exactly what encode writes.
func parseCurrent(p []byte) (current, error) {
	var c current
	var sum uint32
	name := base.FileName(base.FileTypeCurrent, 0)
	_, err := fmt.Sscanf(string(p), "seerdb\nformat %d\ndatabase %x\nmanifest MANIFEST-%d\nsynced %d\nchecksum %x\n",
		&c.format, &c.db, &c.manifest, &c.synced, &sum)
	if err != nil || c.synced < 0 || !bytes.Equal(p, c.encode()) {
		return current{}, base.Corruptf(name, 0, "not the text that it should be, or a bad checksum")
	}
	if c.format > base.FormatNewest {
		return current{}, fmt.Errorf("%w: %s names format %d, the newest known is %d", base.ErrFormatTooNew, name, c.format, base.FormatNewest)
	}
	if c.format == 0 {
		return current{}, base.Corruptf(name, 0, "format 0")
	}
	return c, nil
}

// readCurrent returns base.ErrNotExist when there is no CURRENT.
func readCurrent(fsys vfs.FS, dir string) (current, error) {
	name := base.FileName(base.FileTypeCurrent, 0)
	f, err := fsys.Open(fsys.PathJoin(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return current{}, fmt.Errorf("%w: %w", base.ErrNotExist, err)
	}
	if err != nil {
		return current{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return current{}, err
	}
	if size > currentSizeMax {
		return current{}, base.Corruptf(name, 0, "%d bytes long", size)
	}
	p := make([]byte, size)
	if n, err := f.ReadAt(p, 0); n < len(p) {
		if err == nil || errors.Is(err, io.EOF) {
			return current{}, base.Corruptf(name, int64(n), "file ends before its size of %d bytes", size)
		}
		return current{}, err
	}
	return parseCurrent(p)
}

// writeTemp makes a durable file beside CURRENT that is ready to replace it,
// and returns its path. When it fails no file is left, as far as it can tell.
func (c *current) writeTemp(fsys vfs.FS, dir string) (string, error) {
	num := c.manifest
	path := fsys.PathJoin(dir, base.FileName(base.FileTypeTemp, num))
	f, err := fsys.Create(path)
	for errors.Is(err, fs.ErrExist) {
		// Left by a crash at this very place, or not ours.
		num++
		path = fsys.PathJoin(dir, base.FileName(base.FileTypeTemp, num))
		f, err = fsys.Create(path)
	}
	if err != nil {
		return "", err
	}
	if _, err = f.Write(c.encode()); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = fsys.Remove(path)
		return "", err
	}
	return path, nil
}
