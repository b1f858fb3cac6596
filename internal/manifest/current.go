package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// current is the content of the file CURRENT, which says which manifest
// counts. It is text, so that a person can read it, but exactly this text:
//
//	seerdb
//	format 2
//	database 0123456789abcdef
//	incarnation 0123456789abcdef
//	manifest MANIFEST-000012
//	synced 4096
//	closed 000017.wal 1234
//	checksum 89abcdef
//
// The first two lines and the last are those of every format; format 1 has no
// incarnation. Synced is how long the manifest was, and durable, when this file
// was written. There is a line closed for each log that is needed, with its
// length, if the database was closed after that, and else none.
type current struct {
	format      base.FormatVersion
	db          uint64
	incarnation uint64
	manifest    base.FileNum
	synced      int64
	closed      []ClosedLog
}

// ClosedLog is a log as Close left it.
type ClosedLog struct {
	Num  base.FileNum
	Size int64 // how long it is at least, and durable
}

// currentSizeMax is more than the text can take.
const currentSizeMax = 64 << 10

// currentHead is the first line.
const currentHead = "seerdb\n"

func (c *current) encode() []byte {
	text := fmt.Appendf(nil, currentHead+"format %d\ndatabase %016x\n", c.format, c.db)
	if c.format > base.FormatV1 {
		text = fmt.Appendf(text, "incarnation %016x\n", c.incarnation)
	}
	text = fmt.Appendf(text, "manifest %s\nsynced %d\n", base.FileName(base.FileTypeManifest, c.manifest), c.synced)
	for _, l := range c.closed {
		text = fmt.Appendf(text, "closed %s %d\n", base.FileName(base.FileTypeLog, l.Num), l.Size)
	}
	return fmt.Appendf(text, "checksum %08x\n", c.checksum(text))
}

func (c *current) checksum(text []byte) uint32 {
	id := base.Identity{DB: c.db, Type: base.FileTypeCurrent, Num: c.manifest, Incarnation: c.incarnation}
	return id.Checksum(0, text)
}

// parseCurrent accepts exactly what encode writes.
func parseCurrent(p []byte) (current, error) {
	name := base.FileName(base.FileTypeCurrent, 0)
	c, ok := readLines(p)
	if !ok {
		return current{}, base.Corruptf(name, 0, "not the text that it should be, or a bad checksum")
	}
	if c.format > base.FormatNewest {
		return current{}, fmt.Errorf("%w: %s names format %d, the newest known is %d", base.ErrFormatTooNew, name, c.format, base.FormatNewest)
	}
	if c.format == 0 || c.synced < 0 || !bytes.Equal(p, c.encode()) {
		return current{}, base.Corruptf(name, 0, "not the text that it should be")
	}
	return c, nil
}

// readLines reads the lines that it knows of a CURRENT of any format, whose
// checksum must be right.
func readLines(p []byte) (c current, ok bool) {
	rest, ok := bytes.CutPrefix(p, []byte(currentHead))
	for ok && len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		word, value, _ := strings.Cut(string(line), " ")
		var err error
		switch word {
		case "format":
			_, err = fmt.Sscanf(value, "%d", &c.format)
		case "database":
			_, err = fmt.Sscanf(value, "%x", &c.db)
		case "incarnation":
			_, err = fmt.Sscanf(value, "%x", &c.incarnation)
		case "manifest":
			_, err = fmt.Sscanf(value, "MANIFEST-%d", &c.manifest)
		case "synced":
			_, err = fmt.Sscanf(value, "%d", &c.synced)
		case "closed":
			var l ClosedLog
			_, err = fmt.Sscanf(value, "%d.wal %d", &l.Num, &l.Size)
			c.closed = append(c.closed, l)
		case "checksum":
			text := p[:len(p)-len(rest)-len(line)-1]
			if len(rest) > 0 || !bytes.HasSuffix(p, []byte("\n")) {
				return c, false
			}
			return c, string(line) == fmt.Sprintf("checksum %08x", c.checksum(text))
		}
		ok = err == nil
	}
	return c, false
}

// readCurrent returns base.ErrNotExist when there is no CURRENT.
func readCurrent(fsys vfs.FS, dir string) (current, error) {
	return readCurrentAt(fsys, fsys.PathJoin(dir, base.FileName(base.FileTypeCurrent, 0)))
}

func readCurrentAt(fsys vfs.FS, path string) (current, error) {
	name := base.FileName(base.FileTypeCurrent, 0)
	f, err := fsys.Open(path)
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

// IsCurrentOf reports whether the file at path is a CURRENT of a database, or one
// that should have become it.
func IsCurrentOf(fsys vfs.FS, path string, db uint64) bool {
	c, err := readCurrentAt(fsys, path)
	return err == nil && c.db == db
}
