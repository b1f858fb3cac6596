package sstable

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/invariant"
	"github.com/seerdb-go/seerdb/internal/offheap"
	"github.com/seerdb-go/seerdb/internal/rangedel"
	"github.com/seerdb-go/seerdb/internal/sstable/block"
)

// File is what a table needs from its file. vfs.File implements it.
type File interface {
	io.ReaderAt
	io.Closer
}

// ReaderOptions describe the expected table and where its pages are cached.
type ReaderOptions struct {
	ID    base.Identity
	Cache *cache.Cache // nil reads every page into a buffer of its own
	// FileID, if not 0, is the cache's name for the file, so that pages stay in
	// the cache when a table is closed and opened again.
	FileID uint64
	Memory Memory // nil accounts for nothing and has room for every filter
	// Seq, if not 0, is returned as the sequence of every entry. In the file,
	// whose keys all differ, it is 0: the sequence was not known yet.
	Seq base.SeqNum
	// Pack, if not "", is the file that contains the table, from Offset on.
	// Errors name it.
	Pack   string
	Offset int64
}

// Reader reads one table. It is safe for concurrent use.
type Reader struct {
	// Immutable after Open.
	f        File
	id       base.Identity
	cache    *cache.Cache
	memory   Memory
	fileID   uint64 // the cache's name for the file
	pack     string // ReaderOptions.Pack and Offset
	offset   int64
	size     int64
	meta     []byte // off-heap: a small filter, index and properties as in the file
	metaOff  int64  // offset of meta in the file
	filterAt section
	index    *index
	props    *Properties
	seq      base.Trailer // ReaderOptions.Seq, shifted to its position in a trailer
	// headShare is roughly which part of a page its heads take, in 1/65536.
	headShare uint64
	charged   int64 // bytes given to Memory, without the filter

	filter atomic.Pointer[resident] // nil if there is none or it is left out
	uses   atomic.Int32             // see Use
}

// Open reads the metadata of a table of the given size, in two reads, or three
// if it has a large filter. If it succeeds the reader owns f, and the caller
// has the first use of the reader.
func Open(f File, size int64, o ReaderOptions) (*Reader, error) {
	r := &Reader{f: f, id: o.ID, cache: o.Cache, memory: o.Memory, fileID: o.FileID, size: size, pack: o.Pack, offset: o.Offset}
	if r.fileID == 0 {
		r.fileID = cache.NewFileID()
	}
	if r.memory == nil {
		r.memory = unlimited{}
	}
	r.uses.Store(1)
	r.seq = base.MakeTrailer(o.Seq, 0)
	err := r.openMeta()
	if p := r.props; err == nil && r.seq != 0 && (p.LargestSeq != 0 || p.Keys != p.Entries || p.Ranges.Len() > 0) {
		err = base.Corruptf(r.id.Name(), -1, "the manifest gives all entries sequence %d, but the table has sequences up to %d, %d entries of %d keys, %d range tombstones",
			o.Seq, p.LargestSeq, p.Entries, p.Keys, p.Ranges.Len())
	}
	if err != nil {
		r.free()
		return nil, r.inPack(err)
	}
	return r, nil
}

// inPack makes an error about the table name the file that contains it.
func (r *Reader) inPack(err error) error {
	var c *base.CorruptionError
	if r.pack == "" || !errors.As(err, &c) || c.File != r.id.Name() {
		return err
	}
	c.File, c.Detail = r.pack, fmt.Sprintf("in table %d: %s", r.id.Num, c.Detail)
	c.Offset = max(c.Offset, 0) + r.offset
	return err
}

func (r *Reader) openMeta() error {
	name := r.id.Name()
	footOff := r.size - footerSize
	if footOff < 0 {
		return base.Corruptf(name, -1, "a file of %d bytes is too short for a table", r.size)
	}
	var b [footerSize]byte
	if err := r.readAt(b[:], footOff); err != nil {
		return err
	}
	foot, err := parseFooter(b[:], r.id, footOff)
	if err != nil {
		return err
	}
	dataEnd := int64(foot.filter.off)
	if footOff-dataEnd > math.MaxInt32 {
		return base.Corruptf(name, dataEnd, "%d bytes of metadata are too many", footOff-dataEnd)
	}
	r.filterAt, r.metaOff = foot.filter, dataEnd
	if r.filterApart() {
		r.metaOff = int64(foot.index.off)
	}
	if err := r.allocMeta(int(footOff - r.metaOff)); err != nil {
		return err
	}
	if err := r.readAt(r.meta, r.metaOff); err != nil {
		return err
	}
	if err := r.openFilter(); err != nil {
		return err
	}
	indexBytes, err := r.section(foot.index, "index")
	if err != nil {
		return err
	}
	r.index = &index{} // for a table without entries
	if len(indexBytes) > 0 || dataEnd > 0 {
		if r.index, err = openIndex(indexBytes, dataEnd); err != nil {
			return damaged(name, int64(foot.index.off), "index", err)
		}
	}
	propBytes, err := r.section(foot.props, "properties")
	if err != nil {
		return err
	}
	var ok bool
	if r.props, ok = parseProperties(propBytes); !ok || r.props.Pages != uint64(r.index.pages) ||
		(r.props.Entries == 0) != (r.index.pages == 0) || r.props.Entries == 0 && r.props.Ranges.Len() == 0 {
		return base.Corruptf(name, int64(foot.props.off), "malformed properties")
	}
	r.take(r.heapBytes())
	hi, lo := bits.Mul64(min(r.props.Entries*8, max(r.props.RawBytes, 1)), 1<<16)
	r.headShare, _ = bits.Div64(hi, lo, max(r.props.RawBytes, 1<<16))
	return nil
}

// smallMeta is the size up to which metadata is on the Go heap: off-heap, each
// of ten thousand small tables would take a memory page, and two system calls
// to allocate and free it.
const smallMeta = 2 << 10

// onHeap reports whether n bytes of metadata go on the Go heap. None do in
// builds that detect the use of freed memory.
func onHeap(n int) bool { return n <= smallMeta && !invariant.Enabled }

// allocMeta allocates n bytes for metadata, and accounts for them.
func (r *Reader) allocMeta(n int) (err error) {
	if onHeap(n) {
		r.take(int64(n))
		r.meta = make([]byte, n)
		return nil
	}
	r.take(offheap.Footprint(n))
	r.meta, err = offheap.Alloc(n)
	return err
}

// take accounts for n bytes that stay until the reader is freed.
func (r *Reader) take(n int64) {
	r.charged += n
	r.memory.Take(n)
}

// section checks a section in meta and returns its bytes.
func (r *Reader) section(s section, what string) ([]byte, error) {
	at := int64(s.off) - r.metaOff
	return r.checked(s, r.meta[at:at+int64(s.len)+sumSize], what)
}

// checked checks the bytes of a section, which its checksum follows.
func (r *Reader) checked(s section, b []byte, what string) ([]byte, error) {
	n := int64(s.len)
	if sum := le.Uint32(b[n:]); sum != r.id.Checksum(int64(s.off), b[:n]) {
		return nil, base.Corruptf(r.id.Name(), int64(s.off), "checksum mismatch in the %s", what)
	}
	return b[:n:n], nil
}

// readAt reads exactly len(b) bytes. A file that is shorter than the manifest
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
		return err // the file is missing, and the error says so
	}
	return fmt.Errorf("seerdb: read %s at %d: %w", r.id.Name(), off, err)
}

func damaged(name string, off int64, what string, err error) error {
	e := base.Corruptf(name, off, "malformed %s", what)
	e.Err = err
	return e
}

// Properties returns the properties of the table. Callers must not change them.
func (r *Reader) Properties() *Properties { return r.props }

// heapBytes returns roughly the memory of the open table on the Go heap.
func (r *Reader) heapBytes() int64 {
	n := r.index.memBytes() + 1024
	for i := range r.props.Ranges.Len() {
		n += 96 + int64(rangedel.EncodedBound(r.props.Ranges.At(i)))
	}
	return n
}

// Ranges returns the range tombstones of the table, or nil. They are valid as
// long as the reader.
func (r *Reader) Ranges() *rangedel.List {
	if r.props.Ranges.Len() == 0 {
		return nil
	}
	return &r.props.Ranges
}

// Use adds a use of the reader, which ends with Close. It returns false if the
// last use has ended and the reader is freed.
func (r *Reader) Use() bool {
	for {
		n := r.uses.Load()
		if n == 0 {
			return false
		}
		if r.uses.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Idle reports whether the first use is the only one.
func (r *Reader) Idle() bool { return r.uses.Load() == 1 }

// Close ends a use. The last one closes the file and frees the metadata. It
// leaves pages in the cache: see cache.Drop and FileID.
func (r *Reader) Close() error {
	if r.uses.Add(-1) > 0 {
		return nil
	}
	r.free()
	return r.f.Close()
}

func (r *Reader) free() {
	if f := r.filter.Swap(nil); f != nil {
		f.free(r.memory)
	}
	if r.meta != nil && !onHeap(len(r.meta)) {
		offheap.Free(r.meta)
	}
	r.meta = nil
	r.take(-r.charged)
}

// FileID returns the table's name in the cache.
func (r *Reader) FileID() uint64 { return r.fileID }

// Result is the result of Get. The value is valid until Release.
type Result struct {
	Trailer base.Trailer
	Value   []byte
	page    cache.Handle
}

// Release releases what the result pins. It is idempotent.
func (res *Result) Release() {
	res.page.Release()
	*res = Result{}
}

// Get finds the newest version of key visible at s. It returns false if the
// table has none; after true, res must be released. It does not ask the filter:
// callers call MayContain first if they want to.
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
