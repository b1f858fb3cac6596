package readstate

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/cache"
	"github.com/seerdb-go/seerdb/internal/filecache"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/pack"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/observe"
)

// Table is the handle of a live table file. The file is opened at its first
// use, so that opening a database does not read every table.
type Table struct {
	st   *Store
	Meta *manifest.FileMeta // immutable
	pack *packFile          // that contains it; nil if it has a file of its own
	// lastOf is pack if this was the last handle of a table in it. It is
	// written with store.mu held, when no view names the table any more.
	lastOf *packFile
	refs   int  // views that name it; guarded by store.mu
	gone   bool // no version names it: removed with the last view; guarded by store.mu

	reader atomic.Pointer[sstable.Reader]
	asked  atomic.Bool                // used since the memory of tables was last looked at
	broken atomic.Bool                // its filter could not be read
	props  atomic.Pointer[indexProps] // nil until the table was read
	openMu sync.Mutex                 // one opener at a time
	file   sstable.File               // guarded by openMu; nil until the table was read
	fileID uint64                     // immutable; the cache's name for the file
}

// tableFile is the file of a table, which stays open when its reader is closed.
type tableFile struct{ *filecache.File }

// Close leaves the file to the table.
func (tableFile) Close() error { return nil }

// indexProps are the figures of a table's index for metrics.
type indexProps struct {
	pages, learnedPages, fencePages, segments, indexBytes, filterBytes, entries int64
}

func newIndexProps(p *sstable.Properties) *indexProps {
	return &indexProps{
		pages: int64(p.Pages), learnedPages: int64(p.LearnedPages), fencePages: int64(p.FencePages), segments: int64(p.Segments),
		indexBytes: int64(p.IndexBytes), filterBytes: int64(p.FilterBytes), entries: int64(p.Entries),
	}
}

// newTable returns a new handle. The caller holds st.mu.
func newTable(st *Store, m *manifest.FileMeta) *Table {
	t := &Table{st: st, Meta: m, fileID: cache.NewFileID()}
	if m.Pack != 0 {
		t.pack = st.packOf(m)
	}
	return t
}

func (t *Table) identity() base.Identity {
	return base.Identity{DB: t.st.db, Type: base.FileTypeTable, Num: t.Meta.Num, Incarnation: t.Meta.Incarnation}
}

// open returns the reader, and reads the metadata if it is not in memory. A
// failed open is not remembered: the next read tries again. The caller has
// acquired a state with the table, and may use the reader until it releases the
// state. Callers that only keep a state call Use. If memory is crowded, open
// returns errCrowded unless the caller has waited.
func (t *Table) open(waited bool) (*sstable.Reader, error) {
	if r := t.reader.Load(); r != nil {
		if !t.asked.Load() { // read first: concurrent readers then share the cache line
			t.asked.Store(true)
		}
		return r, nil
	}
	if !waited && t.st.memory.crowded() {
		return nil, errCrowded
	}
	return t.openSlow()
}

// Use returns a reader that the caller owns and closes. It waits for room.
func (t *Table) Use() (*sstable.Reader, error) {
	for waited := false; ; waited = true {
		r, err := t.open(waited)
		switch {
		case err == errCrowded:
			t.st.memory.wait()
		case err != nil || r.Use():
			return r, err
		}
	}
}

func (t *Table) openSlow() (*sstable.Reader, error) {
	t.openMu.Lock()
	defer t.openMu.Unlock()
	if r := t.reader.Load(); r != nil {
		return r, nil
	}
	if t.file == nil {
		t.file = t.source()
	}
	o := t.readerOptions()
	o.Cache, o.FileID, o.Memory = t.st.cache, t.fileID, &t.st.memory
	r, err := sstable.Open(t.file, int64(t.Meta.Size), o)
	if err != nil {
		t.st.o.Damaged(err)
		return nil, err
	}
	t.asked.Store(true)
	t.props.Store(newIndexProps(r.Properties()))
	t.reader.Store(r)
	return r, nil
}

// readProps reads the figures of the index, and keeps nothing else.
func (t *Table) readProps() error {
	f := t.source()
	defer func() { _ = closeSource(f) }()
	o := t.readerOptions()
	o.Memory = noFilters{}
	r, err := sstable.Open(f, int64(t.Meta.Size), o)
	if err != nil {
		t.st.o.Damaged(err)
		return err
	}
	t.props.Store(newIndexProps(r.Properties()))
	return r.Close()
}

// source returns the file that the table is read from. It outlives its readers:
// see closeSource.
func (t *Table) source() sstable.File {
	if t.pack != nil {
		return pack.NewSection(pack.Shared{ReaderAt: t.pack.file}, t.Meta.Offset, t.Meta.Size)
	}
	return tableFile{t.st.file(t.Meta.FileName())}
}

// closeSource closes a file unless it is shared with other tables.
func closeSource(f sstable.File) error {
	if own, ok := f.(tableFile); ok {
		return own.File.Close()
	}
	return nil
}

// noFilters is the sstable.Memory of a reader that needs no filter and is
// closed at once.
type noFilters struct{}

func (noFilters) Take(int64)       {}
func (noFilters) Admit(int64) bool { return false }

// readerOptions returns the options of every reader of the table.
func (t *Table) readerOptions() sstable.ReaderOptions {
	o := sstable.ReaderOptions{ID: t.identity(), Seq: t.Meta.OneSeq}
	if t.Meta.Pack != 0 {
		o.Pack, o.Offset = t.Meta.FileName(), int64(t.Meta.Offset)
	}
	return o
}

// close frees the reader. The table is not used any more.
func (t *Table) close() {
	if r := t.reader.Swap(nil); r != nil {
		_ = r.Close()
	}
	t.openMu.Lock()
	defer t.openMu.Unlock()
	if t.file == nil {
		return
	}
	t.st.cache.Drop(t.fileID)
	if err := closeSource(t.file); err != nil {
		t.st.o.Logger.Warn("seerdb: close of a table failed", "num", t.Meta.Num, "err", err)
	}
}

// Find returns the only table of a run whose bounds contain key, or nil.
func (r *Run) Find(key []byte) *Table {
	i := r.search(key)
	if i == len(r.Tables) || r.Tables[i].Meta.StartsAfter(key) {
		return nil
	}
	return r.Tables[i]
}

// search returns the index of the first table that does not end before key.
func (r *Run) search(key []byte) int {
	lo, hi := 0, len(r.Tables)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if r.Tables[m].Meta.EndsBefore(key) {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// valueFile is the handle of a live value file.
type valueFile struct {
	st   *Store
	meta manifest.ValueMeta // immutable
	refs int                // views that name it; guarded by store.mu
	gone bool               // guarded by store.mu

	reader atomic.Pointer[valuelog.Reader]
	openMu sync.Mutex
}

func newValueFile(st *Store, m manifest.ValueMeta) *valueFile { return &valueFile{st: st, meta: m} }

func (f *valueFile) identity() base.Identity {
	return base.Identity{DB: f.st.db, Type: base.FileTypeValues, Num: f.meta.Num, Incarnation: f.meta.Incarnation}
}

func (f *valueFile) open() (*valuelog.Reader, error) {
	if r := f.reader.Load(); r != nil {
		return r, nil
	}
	f.openMu.Lock()
	defer f.openMu.Unlock()
	if r := f.reader.Load(); r != nil {
		return r, nil
	}
	id := f.identity()
	file := f.st.file(id.Name())
	r, err := valuelog.Open(file, int64(f.meta.Size), valuelog.ReaderOptions{ID: id, Cache: f.st.cache})
	if err != nil {
		_ = file.Close()
		f.st.o.Damaged(err)
		return nil, err
	}
	f.reader.Store(r)
	return r, nil
}

func (f *valueFile) close() {
	if r := f.reader.Swap(nil); r != nil {
		if err := r.Close(); err != nil {
			f.st.o.Logger.Warn("seerdb: close of a value file failed", "num", f.meta.Num, "err", err)
		}
	}
}

// AppendValue appends the value of an encoded pointer that is stored under key.
func (s *State) AppendValue(dst, pointer, key []byte) ([]byte, error) {
	p, err := valuelog.DecodePointer(pointer)
	if err != nil {
		return dst, badPointer(s.v.fileWith(key, pointer), key, err)
	}
	r, err := s.v.valueReader(p)
	if err != nil {
		return dst, err
	}
	return r.AppendValue(dst, p)
}

// ValueLen returns the length of the value of an encoded pointer.
func (s *State) ValueLen(pointer, key []byte) (int, error) {
	p, err := valuelog.DecodePointer(pointer)
	if err != nil {
		return 0, badPointer(s.v.fileWith(key, pointer), key, err)
	}
	return int(p.RawLength), nil
}

// Fetch is AppendValue for jobs: it does not cache what it reads.
func (s *State) Fetch(dst []byte, p valuelog.Pointer) ([]byte, error) {
	r, err := s.v.valueReader(p)
	if err != nil {
		return dst, err
	}
	return r.AppendUncached(dst, p)
}

// badPointer returns the error for an invalid pointer under a key of a table.
func badPointer(file string, key []byte, cause error) error {
	c := base.Corruptf(file, -1, "the stored pointer into a value file is invalid")
	c.Lo, c.Hi, c.Err = bytes.Clone(key), bytes.Clone(key), cause
	return c
}

// fileWith returns the file of the table in which key has a value that ends in
// value, or the name for table 0 if none is found.
func (v *view) fileWith(key, value []byte) string {
	found := ""
	v.eachTable(func(_ int, t *Table) {
		if found != "" || t.Meta.EndsBefore(key) || t.Meta.StartsAfter(key) {
			return
		}
		r, err := t.open(true) // the caller holds the state, and must not wait
		if err != nil || !r.Use() {
			return
		}
		defer func() { _ = r.Close() }()
		it := r.NewIter(sstable.IterOptions{Bypass: true})
		defer func() { _ = it.Close() }()
		for kv := it.SeekGE(key, base.TrailerMax); kv != nil && bytes.Equal(kv.Key, key); kv = it.Next() {
			if bytes.HasSuffix(kv.Value, value) {
				found = t.Meta.FileName()
			}
		}
	})
	return cmp.Or(found, base.FileName(base.FileTypeTable, 0))
}

func (v *view) valueReader(p valuelog.Pointer) (*valuelog.Reader, error) {
	f, err := v.valueFile(p)
	if err != nil {
		return nil, err
	}
	return f.open()
}

func (v *view) valueFile(p valuelog.Pointer) (*valueFile, error) {
	i, ok := slices.BinarySearchFunc(v.values, p.File, func(f *valueFile, n base.FileNum) int {
		return cmp.Compare(f.meta.Num, n)
	})
	if !ok {
		return nil, base.Corruptf(base.FileName(base.FileTypeValues, p.File), -1,
			"a table points into this value file, and the manifest does not name it")
	}
	return v.values[i], nil
}

// closeFiles closes files that the last view released, and removes those that
// no version names any more.
func (st *Store) closeFiles(tables []*Table, values []*valueFile) {
	for _, t := range tables {
		t.close()
		switch {
		case t.lastOf != nil:
			st.closePack(t.lastOf)
		case t.gone && t.pack == nil:
			st.o.Remove(base.FileTypeTable, t.Meta.Num, int64(t.Meta.Size))
		}
	}
	for _, f := range values {
		f.close()
		if f.gone {
			st.o.Remove(base.FileTypeValues, f.meta.Num, int64(f.meta.Size))
		}
	}
}

// file returns a file that the manifest names. It is opened by name whenever a
// read finds it closed. The name is valid as long as a state names the file
// (I3) and the database owns the directory.
func (st *Store) file(name string) *filecache.File {
	return st.o.Files.File(func() (vfs.File, error) { return st.openNamed(name) })
}

// openNamed opens a file that the manifest names, for the cache of open files.
func (st *Store) openNamed(name string) (vfs.File, error) {
	f, err := st.o.FS.Open(name)
	switch {
	case err == nil:
	case st.Closed():
		err = base.ErrClosed
	case errors.Is(err, fs.ErrNotExist) && st.Reach() != nil:
		err = vfs.Cannot("open "+name+", for the directory "+st.o.Dir+" was removed while it was open, or cannot be reached", err)
	case errors.Is(err, fs.ErrNotExist):
		c := base.Corruptf(name, -1, "the file is missing, but the manifest names it")
		c.Err, err = err, c
	}
	return f, err
}

// Reach returns the error that makes every file of the directory unreachable,
// or nil. Only while other files can be reached does a missing file mean that
// it was removed.
func (st *Store) Reach() error {
	_, err := st.o.FS.List("")
	return err
}

// addFilter adds the filter of an open table if it is of a kind that can be
// left out.
func addFilter(m *observe.MemoryMetrics, r *sstable.Reader) {
	switch n := r.FilterBytes(); {
	case n == 0:
	case r.FilterLeftOut():
		m.FiltersLeftOut++
		m.FilterBytesLeftOut += n
	default:
		m.Filters += n
	}
}
