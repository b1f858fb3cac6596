package dbtest

import (
	"path"
	"slices"
	"sync"

	"github.com/seerdb-go/seerdb/internal/vfs"
)

// opLog records the operations on a file system, in order, and counts bytes by
// extension.
type opLog struct {
	vfs.FS
	*opNotes
}

func newOpLog(fs vfs.FS) *opLog { return &opLog{fs, &opNotes{}} }

// opNotes are the records of an opLog and of its roots.
type opNotes struct {
	mu      sync.Mutex
	ops     []string         // guarded by mu; "sync 000001.sst", "dirsync db"
	written map[string]int64 // guarded by mu
	read    map[string]int64 // guarded by mu
}

func (l *opNotes) note(op, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, op+" "+path.Base(name))
}

func (l *opNotes) count(m *map[string]int64, name string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if *m == nil {
		*m = map[string]int64{}
	}
	(*m)[path.Ext(name)] += int64(n)
}

// Since returns the operations after the first n.
func (l *opNotes) Since(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ops[n:])
}

// Bytes returns how many bytes of files with an extension were written and
// read.
func (l *opNotes) Bytes(ext string) (written, read int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written[ext], l.read[ext]
}

func (l *opLog) Create(name string) (vfs.File, error) {
	f, err := l.FS.Create(name)
	if err != nil {
		return nil, err
	}
	l.note("create", name)
	return &loggedFile{f, l, name}, nil
}

func (l *opLog) Open(name string) (vfs.File, error) {
	f, err := l.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return &loggedFile{f, l, name}, nil
}

func (l *opLog) OpenDir(name string) (vfs.Dir, error) {
	d, err := l.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &loggedDir{d, l, name}, nil
}

func (l *opLog) OpenRoot(name string) (vfs.Root, error) {
	r, err := l.FS.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &loggedRoot{r, opLog{r, l.opNotes}, name}, nil
}

func (l *opLog) Rename(from, to string) error {
	l.note("rename", to)
	return l.FS.Rename(from, to)
}

func (l *opLog) Remove(name string) error {
	l.note("remove", name)
	return l.FS.Remove(name)
}

// loggedRoot records the operations that change something.
type loggedRoot struct {
	vfs.Root
	log  opLog
	name string
}

func (r *loggedRoot) Create(name string) (vfs.File, error) { return r.log.Create(name) }

func (r *loggedRoot) Open(name string) (vfs.File, error) { return r.log.Open(name) }

func (r *loggedRoot) Rename(from, to string) error { return r.log.Rename(from, to) }

func (r *loggedRoot) Remove(name string) error { return r.log.Remove(name) }

func (r *loggedRoot) OpenDir(name string) (vfs.Dir, error) {
	d, err := r.Root.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &loggedDir{d, &r.log, path.Join(r.name, name)}, nil
}

type loggedFile struct {
	vfs.File
	log  *opLog
	name string
}

func (f *loggedFile) Sync() error {
	err := f.File.Sync()
	if err == nil {
		f.log.note("sync", f.name)
	}
	return err
}

func (f *loggedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.log.count(&f.log.written, f.name, n)
	return n, err
}

func (f *loggedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.log.count(&f.log.read, f.name, n)
	return n, err
}

type loggedDir struct {
	vfs.Dir
	log  *opLog
	name string
}

func (d *loggedDir) Sync() error {
	err := d.Dir.Sync()
	if err == nil {
		d.log.note("dirsync", d.name)
	}
	return err
}
