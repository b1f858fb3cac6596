package manifest

import (
	"bufio"
	"fmt"
	"io"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/record"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Dump writes the edits of the manifest at path and the resulting version. It
// writes as much as it can, and returns the error that stopped it.
func Dump(fsys vfs.FS, path string, out io.Writer) error {
	f, err := fsys.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	head, ok := record.Identify(f, size)
	if !ok || head.ID.Type != base.FileTypeManifest {
		return base.Corruptf(path, 0, "the file is not a manifest: its header is missing or damaged")
	}
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "%s database %016x incarnation %016x format %d, %d bytes\n", head.ID.Name(), head.ID.DB, head.ID.Incarnation, head.Format, size)
	s := &State{DBID: head.ID.DB, Format: head.Format, Incarnation: head.ID.Incarnation, ManifestNum: head.ID.Num}
	b := newBuilder(&Version{}, nil)
	r := record.NewReader(f, size, head.ID)
	err = eachEdit(r, head.ID, func(e *Edit, off int64) error {
		fmt.Fprintf(w, "@%d %s\n", off, e)
		if err := b.apply(e); err != nil {
			return base.Corruptf(head.ID.Name(), off, "the edit does not fit the edits before it: %v", err)
		}
		return s.advance(e)
	})
	if err == nil {
		if torn := size - r.Offset(); torn > 0 {
			fmt.Fprintf(w, "@%d torn: %d bytes are no record\n", r.Offset(), torn)
		}
		fmt.Fprintf(w, "next file %d, last sequence %d, oldest log %d\n%s", s.NextFile, s.LastSeq, s.LogNum, b.finish())
	}
	if ferr := w.Flush(); err == nil {
		err = ferr
	}
	return err
}
