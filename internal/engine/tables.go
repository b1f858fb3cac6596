package engine

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
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

// table is the handle of a live table file. The file is opened at its first
// use, so that opening a database does not read every table.
type table struct {
	e    *Engine
	meta *manifest.FileMeta // immutable
	pack *packFile          // in which it lies; nil if it has a file of its own
	// lastOf is pack if this was the last handle of a table in it; written with
	// Engine.mu held, when no view names the table any more.
	lastOf *packFile
	refs   int  // views that name it; guarded by Engine.mu
	gone   bool // no version names it: remove with the last view; guarded by Engine.mu

	reader atomic.Pointer[sstable.Reader]
	asked  atomic.Bool                // since the memory for tables was last looked at
	broken atomic.Bool                // its filter could not be read
	props  atomic.Pointer[indexProps] // nil until the table was read
	openMu sync.Mutex                 // one opener at a time
	file   sstable.File               // guarded by openMu; nil until the table was read
	fileID uint64                     // immutable; the cache's name for the file
}

// tableFile is the file of a table, which stays when its reader goes.
type tableFile struct{ *filecache.File }

// Close leaves the file to the table.
func (tableFile) Close() error { return nil }

// indexProps is what metrics say of a table's index.
type indexProps struct {
	pages, learnedPages, fencePages, segments, indexBytes, filterBytes, entries int64
}

func newIndexProps(p *sstable.Properties) *indexProps {
	return &indexProps{
		pages: int64(p.Pages), learnedPages: int64(p.LearnedPages), fencePages: int64(p.FencePages), segments: int64(p.Segments),
		indexBytes: int64(p.IndexBytes), filterBytes: int64(p.FilterBytes), entries: int64(p.Entries),
	}
}

// newTable makes a handle. The caller holds e.mu.
func newTable(e *Engine, m *manifest.FileMeta) *table {
	t := &table{e: e, meta: m, fileID: cache.NewFileID()}
	if m.Pack != 0 {
		t.pack = e.packOf(m)
	}
	return t
}

func (t *table) identity() base.Identity {
	return base.Identity{DB: t.e.dbID, Type: base.FileTypeTable, Num: t.meta.Num, Incarnation: t.meta.Incarnation}
}

// open returns the reader, reading the metadata if it is not in memory. A failed
// open is not remembered: the next read tries again. The reader is the caller's
// until it releases the state in which it found the table, which it has acquired;
// what only keeps a state calls use. Where memory is crowded it is errCrowded,
// unless the caller has waited for that.
func (t *table) open(waited bool) (*sstable.Reader, error) {
	if r := t.reader.Load(); r != nil {
		if !t.asked.Load() { // written rarely: the others read it all the time
			t.asked.Store(true)
		}
		return r, nil
	}
	if !waited && t.e.tablesMem.crowded() {
		return nil, errCrowded
	}
	return t.openSlow()
}

// use is open for as long as the caller wants, which ends it by closing the
// reader. It waits for room.
func (t *table) use() (*sstable.Reader, error) {
	for waited := false; ; waited = true {
		r, err := t.open(waited)
		switch {
		case err == errCrowded:
			t.e.tablesMem.wait()
		case err != nil || r.Use():
			return r, err
		}
	}
}

func (t *table) openSlow() (*sstable.Reader, error) {
	t.openMu.Lock()
	defer t.openMu.Unlock()
	if r := t.reader.Load(); r != nil {
		return r, nil
	}
	if t.file == nil {
		t.file = t.source()
	}
	o := t.readerOptions()
	o.Cache, o.FileID, o.Memory = t.e.cache, t.fileID, &t.e.tablesMem
	r, err := sstable.Open(t.file, int64(t.meta.Size), o)
	if err != nil {
		t.e.damaged(err)
		return nil, err
	}
	t.asked.Store(true)
	t.props.Store(newIndexProps(r.Properties()))
	t.reader.Store(r)
	return r, nil
}

// readProps reads what metrics say of the index, and keeps nothing else.
func (t *table) readProps() error {
	f := t.source()
	defer func() { _ = closeSource(f) }()
	o := t.readerOptions()
	o.Memory = noFilters{}
	r, err := sstable.Open(f, int64(t.meta.Size), o)
	if err != nil {
		t.e.damaged(err)
		return err
	}
	t.props.Store(newIndexProps(r.Properties()))
	return r.Close()
}

// source is what the table is read from. It outlives its readers: see closeSource.
func (t *table) source() sstable.File {
	if t.pack != nil {
		return pack.NewSection(pack.Shared{ReaderAt: t.pack.file}, t.meta.Offset, t.meta.Size)
	}
	return tableFile{t.e.file(t.meta.FileName())}
}

// closeSource closes a file that no other table lies in.
func closeSource(f sstable.File) error {
	if own, ok := f.(tableFile); ok {
		return own.File.Close()
	}
	return nil
}

// noFilters is the sstable.Memory of a reader that needs no filter, and is closed
// at once.
type noFilters struct{}

func (noFilters) Take(int64)       {}
func (noFilters) Admit(int64) bool { return false }

// readerOptions are those of every reader of the table.
func (t *table) readerOptions() sstable.ReaderOptions {
	o := sstable.ReaderOptions{ID: t.identity(), Seq: t.meta.OneSeq}
	if t.meta.Pack != 0 {
		o.Pack, o.Offset = t.meta.FileName(), int64(t.meta.Offset)
	}
	return o
}

// close frees the reader. The table is not used any more.
func (t *table) close() {
	if r := t.reader.Swap(nil); r != nil {
		_ = r.Close()
	}
	t.openMu.Lock()
	defer t.openMu.Unlock()
	if t.file == nil {
		return
	}
	t.e.cache.Drop(t.fileID)
	if err := closeSource(t.file); err != nil {
		t.e.opts.Logger.Warn("seerdb: close of a table failed", "num", t.meta.Num, "err", err)
	}
}

// find returns the table of a run that can hold key, or a range tombstone over
// it, or nil: the first that does not end before key, if it begins by then.
func (r *tableRun) find(key []byte) *table {
	i := r.search(key)
	if i == len(r.tables) || r.tables[i].meta.StartsAfter(key) {
		return nil
	}
	return r.tables[i]
}

// search returns the index of the first table that does not end before key.
func (r *tableRun) search(key []byte) int {
	lo, hi := 0, len(r.tables)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if r.tables[m].meta.EndsBefore(key) {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// valueFile is the handle of a live value file.
type valueFile struct {
	e    *Engine
	meta manifest.ValueMeta // immutable
	refs int                // views that name it; guarded by Engine.mu
	gone bool               // guarded by Engine.mu

	reader atomic.Pointer[valuelog.Reader]
	openMu sync.Mutex
}

func newValueFile(e *Engine, m manifest.ValueMeta) *valueFile { return &valueFile{e: e, meta: m} }

func (f *valueFile) identity() base.Identity {
	return base.Identity{DB: f.e.dbID, Type: base.FileTypeValues, Num: f.meta.Num, Incarnation: f.meta.Incarnation}
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
	file := f.e.file(id.Name())
	r, err := valuelog.Open(file, int64(f.meta.Size), valuelog.ReaderOptions{ID: id, Cache: f.e.cache})
	if err != nil {
		_ = file.Close()
		f.e.damaged(err)
		return nil, err
	}
	f.reader.Store(r)
	return r, nil
}

func (f *valueFile) close() {
	if r := f.reader.Swap(nil); r != nil {
		if err := r.Close(); err != nil {
			f.e.opts.Logger.Warn("seerdb: close of a value file failed", "num", f.meta.Num, "err", err)
		}
	}
}

// appendValue reads the value that an encoded pointer, which a key has, names.
func (v *view) appendValue(dst, pointer, key []byte) ([]byte, error) {
	p, err := valuelog.DecodePointer(pointer)
	if err != nil {
		return dst, badPointer(v.fileWith(key, pointer), key, err)
	}
	r, err := v.valueReader(p)
	if err != nil {
		return dst, err
	}
	return r.AppendValue(dst, p)
}

// valueLen is the length of the value that a pointer stands for.
func (v *view) valueLen(pointer, key []byte) (int, error) {
	p, err := valuelog.DecodePointer(pointer)
	if err != nil {
		return 0, badPointer(v.fileWith(key, pointer), key, err)
	}
	return int(p.RawLength), nil
}

// fetch is appendValue for jobs: what it reads is not worth caching.
func (v *view) fetch(dst []byte, p valuelog.Pointer) ([]byte, error) {
	r, err := v.valueReader(p)
	if err != nil {
		return dst, err
	}
	return r.AppendUncached(dst, p)
}

// badPointer is the error of a table in which a key has a pointer that is none.
func badPointer(file string, key []byte, cause error) error {
	c := base.Corruptf(file, -1, "what stands in the place of a value is no pointer into a value file")
	c.Lo, c.Hi, c.Err = bytes.Clone(key), bytes.Clone(key), cause
	return c
}

// fileWith is the file of the table in which a key has a value that ends so; that
// of table 0 if none is found.
func (v *view) fileWith(key, value []byte) string {
	found := ""
	v.eachTable(func(_ int, t *table) {
		if found != "" || t.meta.EndsBefore(key) || t.meta.StartsAfter(key) {
			return
		}
		r, err := t.open(true) // its caller holds the state, and cannot wait
		if err != nil || !r.Use() {
			return
		}
		defer func() { _ = r.Close() }()
		it := r.NewIter(sstable.IterOptions{Bypass: true})
		defer func() { _ = it.Close() }()
		for kv := it.SeekGE(key, base.TrailerMax); kv != nil && bytes.Equal(kv.Key, key); kv = it.Next() {
			if bytes.HasSuffix(kv.Value, value) {
				found = t.meta.FileName()
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

// sortedValues lists the value files of a version by number.
func sortedValues(v *manifest.Version) []manifest.ValueMeta {
	out := make([]manifest.ValueMeta, 0, len(v.Values))
	for _, f := range v.Values {
		out = append(out, f.ValueMeta)
	}
	slices.SortFunc(out, func(a, b manifest.ValueMeta) int { return cmp.Compare(a.Num, b.Num) })
	return out
}

// closeFiles closes files that the last view let go, and removes those that
// no version names any more.
func (e *Engine) closeFiles(tables []*table, values []*valueFile) {
	for _, t := range tables {
		t.close()
		switch {
		case t.lastOf != nil:
			e.closePack(t.lastOf)
		case t.gone && t.pack == nil:
			e.removeFile(base.FileTypeTable, t.meta.Num, int64(t.meta.Size))
		}
	}
	for _, f := range values {
		f.close()
		if f.gone {
			e.removeFile(base.FileTypeValues, f.meta.Num, int64(f.meta.Size))
		}
	}
}

// file is a file that the manifest names. It is opened by name whenever a read
// finds it closed. The name leads to it for as long as a state names it (I3),
// and no longer than the directory is ours.
func (e *Engine) file(name string) *filecache.File {
	return e.files.File(func() (vfs.File, error) { return e.openNamed(name) })
}

// openNamed opens a file that the manifest names, for the cache of open files.
func (e *Engine) openNamed(name string) (vfs.File, error) {
	f, err := e.io.Open(name)
	switch {
	case err == nil:
	case e.closed.Load():
		err = base.ErrClosed
	case errors.Is(err, fs.ErrNotExist) && e.reach() != nil:
		err = e.fileError("open "+name+", for the directory "+e.name+" was removed while it was open, or cannot be reached", err)
	case errors.Is(err, fs.ErrNotExist):
		c := base.Corruptf(name, -1, "the manifest names this file, and it is missing")
		c.Err, err = err, c
	}
	return f, err
}

// reach is why no file of the directory can be found, or nil. That one cannot be
// found says something about it only while others can.
func (e *Engine) reach() error {
	_, err := e.io.List(top)
	return err
}

// damaged tells the log and the listener about damage met by a read.
func (e *Engine) damaged(err error) {
	var c *base.CorruptionError
	if errors.As(err, &c) {
		e.opts.Logger.Error("seerdb: damage", "file", c.File, "offset", c.Offset, "detail", c.Detail)
		e.listener.backgroundError(err)
	}
}

// fileError gives an I/O error its sentence. A full disk that a sync of a table
// reports is one too: the table is written again into a new file.
func (e *Engine) fileError(doing string, err error) error {
	return fmt.Errorf("seerdb: cannot %s: %w", doing, vfs.NoSpace(err))
}

// tableCreated and the like tell the listener about files.
func (e *Engine) fileCreated(t base.FileType, n base.FileNum, size int64, job int) {
	ev := observe.FileEvent{Job: job, Name: base.FileName(t, n), Size: size}
	switch t {
	case base.FileTypeTable, base.FileTypePack:
		e.listener.tableCreated(ev)
	case base.FileTypeValues:
		e.listener.valueFileCreated(ev)
	}
}
