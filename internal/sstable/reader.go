package sstable

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/filter"
	"github.com/seerdb-go/seerdb/internal/offheap"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/sstable/block"
)

// File is what a table needs of its file. vfs.File is one.
type File interface {
	io.ReaderAt
	io.Closer
}

// ReaderOptions say which table is expected and where its pages are cached.
type ReaderOptions struct {
	ID    base.Identity
	Cache *cache.Cache // nil: every page is read into a buffer of its own
	// Seq, if not 0, is shown as the sequence of every entry. The file, whose
	// keys all differ, says 0: it was written before the sequence was known.
	Seq base.SeqNum
}

// Reader reads one table. It is safe for concurrent use; all fields are
// immutable after Open.
type Reader struct {
	f      File
	id     base.Identity
	cache  *cache.Cache
	fileID uint64 // the cache's name for the file
	size   int64
	meta   []byte // off-heap: filter, index and properties as in the file
	filter filter.Filter
	index  *index
	props  *Properties
	seq    base.Trailer // ReaderOptions.Seq, where a trailer has it
	// headShare is about which part of a page its heads are, in 1/65536.
	headShare uint64
}

// Open reads the metadata of a table of the given size, in two reads. On
// success it owns f.
func Open(f File, size int64, o ReaderOptions) (*Reader, error) {
	r := &Reader{f: f, id: o.ID, cache: o.Cache, fileID: cache.NewFileID(), size: size}
	r.seq = base.MakeTrailer(o.Seq, 0)
	err := r.openMeta()
	if p := r.props; err == nil && r.seq != 0 && (p.LargestSeq != 0 || p.Keys != p.Entries || p.Ranges.Len() > 0) {
		err = base.Corruptf(r.id.Name(), -1, "all entries are to have sequence %d; the table has sequences up to %d, %d entries of %d keys, %d ranges",
			o.Seq, p.LargestSeq, p.Entries, p.Keys, p.Ranges.Len())
	}
	if err != nil {
		r.freeMeta()
		return nil, err
	}
	return r, nil
}

func (r *Reader) openMeta() error {
	name := r.id.Name()
	footOff := r.size - footerSize
	if footOff < 0 {
		return base.Corruptf(name, -1, "%d bytes are too few for a table", r.size)
	}
	var b [footerSize]byte
	if err := r.readAt(b[:], footOff); err != nil {
		return err
	}
	foot, err := parseFooter(b[:], r.id, footOff)
	if err != nil {
		return err
	}
	metaOff := int64(foot.filter.off)
	if footOff-metaOff > math.MaxInt32 {
		return base.Corruptf(name, metaOff, "%d bytes of metadata", footOff-metaOff)
	}
	if r.meta, err = offheap.Alloc(int(footOff - metaOff)); err != nil {
		return err
	}
	if err := r.readAt(r.meta, metaOff); err != nil {
		return err
	}
	filterBytes, err := r.section(foot.filter, metaOff, "filter")
	if err != nil {
		return err
	}
	if len(filterBytes) > 0 {
		if r.filter, err = filter.Open(filterBytes); err != nil {
			return damaged(name, metaOff, "filter", err)
		}
	}
	indexBytes, err := r.section(foot.index, metaOff, "index")
	if err != nil {
		return err
	}
	r.index = &index{} // of a table without entries
	if len(indexBytes) > 0 || metaOff > 0 {
		if r.index, err = openIndex(indexBytes, metaOff); err != nil {
			return damaged(name, int64(foot.index.off), "index", err)
		}
	}
	propBytes, err := r.section(foot.props, metaOff, "properties")
	if err != nil {
		return err
	}
	var ok bool
	if r.props, ok = parseProperties(propBytes); !ok || r.props.Pages != uint64(r.index.pages) ||
		(r.props.Entries == 0) != (r.index.pages == 0) || r.props.Entries == 0 && r.props.Ranges.Len() == 0 {
		return base.Corruptf(name, int64(foot.props.off), "malformed properties")
	}
	hi, lo := bits.Mul64(min(r.props.Entries*8, max(r.props.RawBytes, 1)), 1<<16)
	r.headShare, _ = bits.Div64(hi, lo, max(r.props.RawBytes, 1<<16))
	return nil
}

// section checks a section and returns its bytes.
func (r *Reader) section(s section, metaOff int64, what string) ([]byte, error) {
	at := int64(s.off) - metaOff
	b := r.meta[at : at+int64(s.len) : at+int64(s.len)]
	if sum := le.Uint32(r.meta[at+int64(s.len):]); sum != r.id.Checksum(int64(s.off), b) {
		return nil, base.Corruptf(r.id.Name(), int64(s.off), "checksum mismatch in the %s", what)
	}
	return b, nil
}

// readAt reads exactly len(b) bytes. A file that is shorter than its manifest
// says is damaged.
func (r *Reader) readAt(b []byte, off int64) error {
	n, err := r.f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return base.Corruptf(r.id.Name(), off, "the file ends %d bytes early", len(b)-n)
	}
	var c *base.CorruptionError
	if errors.As(err, &c) {
		return err // the file is gone, and the error says so
	}
	return fmt.Errorf("seerdb: read %s at %d: %w", r.id.Name(), off, err)
}

func damaged(name string, off int64, what string, err error) error {
	e := base.Corruptf(name, off, "malformed %s", what)
	e.Err = err
	return e
}

// Properties describe the table. The caller must not change them.
func (r *Reader) Properties() *Properties { return r.props }

// MemBytes is the memory that the open table occupies outside the cache.
func (r *Reader) MemBytes() int64 {
	n := int64(len(r.meta)) + r.index.memBytes() + 1024
	for i := range r.props.Ranges.Len() {
		n += 96 + int64(rangedel.EncodedBound(r.props.Ranges.At(i)))
	}
	return n
}

// Ranges returns the range tombstones of the table, or nil when it has none.
// They stay as long as the reader.
func (r *Reader) Ranges() *rangedel.List {
	if r.props.Ranges.Len() == 0 {
		return nil
	}
	return &r.props.Ranges
}

// MayContain reports whether the table may hold the user key with this hash
// (base.Hash). False is certain.
func (r *Reader) MayContain(hash uint64) bool { return r.filter.MayContain(hash) }

// Close closes the file and frees the metadata. The caller guarantees that
// nobody uses the reader any more. Pages in the cache are left to it: see
// cache.Drop and FileID.
func (r *Reader) Close() error {
	r.freeMeta()
	return r.f.Close()
}

func (r *Reader) freeMeta() {
	if r.meta != nil {
		offheap.Free(r.meta)
		r.meta = nil
	}
}

// FileID is the table's name in the cache.
func (r *Reader) FileID() uint64 { return r.fileID }

// Result is what Get found. The value is valid until Release.
type Result struct {
	Trailer base.Trailer
	Value   []byte
	page    cache.Handle
}

// Release gives up what the result pins. Idempotent.
func (res *Result) Release() {
	res.page.Release()
	*res = Result{}
}

// Get finds the newest version of key that a read at s sees. It is false when
// the table has none. After true, res must be released. The caller has asked
// MayContain, or does not care.
func (r *Reader) Get(key []byte, s base.SeqNum, res *Result) (bool, error) {
	if r.index.pages == 0 {
		return false, nil
	}
	t := base.SeekTrailer(s)
	n, hint := r.index.find(key, t)
	var p block.Page
	if err := r.load(n, hint, false, &res.page, &p); err != nil {
		return false, err
	}
	i, same := p.Search(key, t, scaleHint(hint, p.Len()))
	if !same || t < r.seq {
		res.Release()
		return false, nil
	}
	res.Trailer, res.Value = p.Entry(i)
	res.Trailer |= r.seq
	return true, nil
}
