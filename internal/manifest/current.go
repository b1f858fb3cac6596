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

// current is the content of the file CURRENT, which names the manifest in use.
// It is text, for human readers, of exactly this form:
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
// The first two lines and the last are part of every format; format 1 has no
// incarnation. Synced is the length of the manifest, all durable, when CURRENT
// was written. If the database was closed after that, there is one line
// "closed" with the name and length of each log that is still needed.
type current struct {
	format      base.FormatVersion
	db          uint64
	incarnation uint64
	manifest    base.FileNum
	synced      int64
	closed      []ClosedLog
}

// ClosedLog is a log that Close left behind.
type ClosedLog struct {
	Num  base.FileNum
	Size int64 // the least length of the file, all durable
}

// currentSizeMax is more than any valid text takes.
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

// parseCurrent accepts exactly the text that encode writes.
func parseCurrent(p []byte) (current, error) {
	name := base.FileName(base.FileTypeCurrent, 0)
	c, ok := readLines(p)
	if !ok {
		return current{}, base.Corruptf(name, 0, "the text is malformed or its checksum is wrong")
	}
	if c.format > base.FormatNewest {
		return current{}, fmt.Errorf("%w: %s names format %d, the newest known is %d", base.ErrFormatTooNew, name, c.format, base.FormatNewest)
	}
	if c.format == 0 || c.synced < 0 || !bytes.Equal(p, c.encode()) {
		return current{}, base.Corruptf(name, 0, "the text is malformed")
	}
	return c, nil
}

// readLines reads the known lines of a CURRENT of any format. The checksum must
// be right.
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

// readCurrent reads and parses CURRENT. Without a CURRENT it returns
// base.ErrNotExist.
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
		return current{}, base.Corruptf(name, 0, "the file has %d bytes, more than any valid text", size)
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

// writeTemp writes a durable temporary file, ready to replace CURRENT, and
// returns its path. If it fails it removes the file if it can.
func (c *current) writeTemp(fsys vfs.FS, dir string) (string, error) {
	num := c.manifest
	path := fsys.PathJoin(dir, base.FileName(base.FileTypeTemp, num))
	f, err := fsys.Create(path)
	for errors.Is(err, fs.ErrExist) {
		// Left by a crash at this point, or a foreign file.
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

// IsCurrentOf reports whether the file at path is a CURRENT of a database, or
// was written to become one.
func IsCurrentOf(fsys vfs.FS, path string, db uint64) bool {
	c, err := readCurrentAt(fsys, path)
	return err == nil && c.db == db
}
