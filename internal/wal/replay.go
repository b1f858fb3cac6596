package wal

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/record"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Info describes a segment that Replay read.
type Info struct {
	Prev    Prev  // from the header; zero if the header is torn
	Records int64 // payloads passed to fn
	Bytes   int64 // end of the last good record
	Size    int64 // of the file
	Synced  int64 // the file offset up to which the segment's records say that it was synced
	Torn    bool  // the file ends in something that is not a record
	TornAt  int64 // where that begins
}

// Holds reports whether the segment is as long as its successor says that it
// was when it was finished.
func (i *Info) Holds(successor Prev) bool { return i.Bytes >= successor.Size }

// Replay reads the segment id.Num, which is at path and whose first durable
// bytes are known to have been on the device. It passes each payload to fn with
// the offset of its record. The payload is valid until fn returns. An error of
// fn ends the replay and is returned; if it is a *base.CorruptionError that
// names no file, Replay adds the file and the offset.
//
// A file that a crash cut short is not an error, even one without a header:
// Info says so, and the caller knows whether this segment may end like that.
// Damage to synced bytes is a *base.CorruptionError.
func Replay(fs vfs.FS, path string, id base.Identity, durable int64, fn func(payload []byte, off int64) error) (Info, error) {
	id.Type = base.FileTypeLog
	file, err := fs.Open(path)
	if err != nil {
		return Info{}, wrap(id, err)
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return Info{}, wrap(id, err)
	}
	r := record.NewReader(file, size, id)
	r.KnowDurable(durable)
	info := Info{Size: size}
	stopped := false
	err = replay(r, &info, id, func(payload []byte, off int64) error {
		err := fn(payload, off)
		stopped = err != nil
		return err
	})
	info.Bytes, info.Synced = r.Offset(), r.Durable()
	if !stopped && (errors.Is(err, record.ErrTorn) || errors.Is(err, io.EOF)) {
		info.Torn = info.Bytes < size || info.Bytes == 0
		info.TornAt = info.Bytes
		err = nil
	}
	return info, err
}

// replay reads until an error, which is io.EOF at a clean end.
func replay(r *record.Reader, info *Info, id base.Identity, fn func(payload []byte, off int64) error) error {
	h, err := r.ReadFileHeader()
	if err != nil {
		return err
	}
	if len(h.Extra) < prevSize {
		return base.Corruptf(id.Name(), 0, "the file header is %d bytes too short for a log", prevSize-len(h.Extra))
	}
	info.Prev.Num = base.FileNum(binary.LittleEndian.Uint64(h.Extra))
	info.Prev.Size = int64(binary.LittleEndian.Uint64(h.Extra[8:]))
	for {
		payload, off, err := r.Next()
		if err != nil {
			return err
		}
		if r.Kind() != record.KindData {
			continue
		}
		if err := fn(payload, off); err != nil {
			return locate(err, id, off+record.HeaderSize)
		}
		info.Records++
	}
}

// locate adds file and offset to an error about a payload.
func locate(err error, id base.Identity, off int64) error {
	var c *base.CorruptionError
	if errors.As(err, &c) && c.File == "" {
		c.File = id.Name()
		c.Offset = max(c.Offset, 0) + off
	}
	return err
}

// Identify returns the identity in the header of a segment of size bytes,
// whatever the file is called now, and false if the header is not sound.
func Identify(f io.ReaderAt, size int64) (base.Identity, bool) {
	h, ok := record.Identify(f, size)
	return h.ID, ok && h.ID.Type == base.FileTypeLog
}
