package vfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
)

// MemFS is a file system in memory that knows, besides what a process sees,
// what a power cut would leave (see CrashClone). It promises the least that
// POSIX does:
//
//   - File.Sync settles the bytes and the size of that file, Dir.Sync the
//     names in that directory. Nothing else settles anything.
//   - Until then every 512-byte sector written, every change of size, and
//     every change of a name survives or not on its own, in any order.
//
// A file that was synced but whose name was not is therefore gone after a
// crash, and so is a new directory whose parent was not synced. Only the root
// needs no sync. Names are slash-separated; a relative name starts at the root.
//
// Bytes once written are never changed in place (files only grow at the end,
// and a cut drops the spare capacity), so clones and pending operations share
// them.
type MemFS struct {
	mu       sync.RWMutex
	root     *memNode              // immutable; its content guarded by mu
	nextID   uint64                // guarded by mu
	ops      int64                 // guarded by mu
	freezeAt int64                 // guarded by mu; 0 = never
	frozen   bool                  // guarded by mu
	lying    bool                  // guarded by mu
	failSync []syncFault           // guarded by mu
	capacity int64                 // guarded by mu; 0 = unlimited
	used     int64                 // guarded by mu: Σ memNode.room
	locks    map[*memNode]struct{} // guarded by mu; the locked directories
}

// memNode is a file or a directory. All of it is guarded by MemFS.mu, but for
// id and isDir, which are immutable.
type memNode struct {
	id    uint64
	isDir bool
	links int // names in live directories
	opens int // open handles
	file  fileState
	dir   dirState
}

var _ FS = (*MemFS)(nil)

// NewMem makes an empty file system.
func NewMem() *MemFS {
	m := &MemFS{locks: map[*memNode]struct{}{}}
	m.root = m.newNode(true)
	m.root.links = 1
	return m
}

func (m *MemFS) newNode(isDir bool) *memNode {
	m.nextID++
	n := &memNode{id: m.nextID, isDir: isDir}
	if isDir {
		n.dir = dirState{live: map[string]*memNode{}, disk: map[string]*memNode{}}
	}
	return n
}

// split turns a name into its elements.
func split(name string) []string {
	p := path.Clean("/" + filepath.ToSlash(name))
	if p == "/" {
		return nil
	}
	return strings.Split(p[1:], "/")
}

// walk follows elements from the root.
func (m *MemFS) walk(elems []string) (*memNode, error) {
	n := m.root
	for _, e := range elems {
		if !n.isDir {
			return nil, syscall.ENOTDIR
		}
		if n = n.dir.live[e]; n == nil {
			return nil, fs.ErrNotExist
		}
	}
	return n, nil
}

// find returns the directory that holds name, its last element, and the node
// it names, which is nil if there is none.
func (m *MemFS) find(name string) (dir *memNode, last string, n *memNode, err error) {
	if m.frozen {
		return nil, "", nil, ErrFrozen
	}
	elems := split(name)
	if len(elems) == 0 || strings.ContainsRune(name, 0) {
		return nil, "", nil, fs.ErrInvalid
	}
	last = elems[len(elems)-1]
	if dir, err = m.walk(elems[:len(elems)-1]); err != nil {
		return nil, "", nil, err
	}
	if !dir.isDir {
		return nil, "", nil, syscall.ENOTDIR
	}
	return dir, last, dir.dir.live[last], nil
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Create implements FS.
func (m *MemFS) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.createLocked(name)
	if err != nil {
		return nil, pathError("create", name, err)
	}
	return m.handleLocked(n, name, true), nil
}

func (m *MemFS) createLocked(name string) (*memNode, error) {
	dir, last, n, err := m.find(name)
	if err == nil && n != nil {
		err = fs.ErrExist
	}
	if err == nil && m.freeLocked() <= 0 {
		err = syscall.ENOSPC // the directory might need a block
	}
	if err == nil {
		err = m.stepLocked()
	}
	if err != nil {
		return nil, err
	}
	n = m.newNode(false)
	dir.link(last, n)
	return n, nil
}

func (m *MemFS) handleLocked(n *memNode, name string, writable bool) *memFile {
	n.opens++
	return &memFile{fs: m, node: n, name: name, writable: writable}
}

// Open implements FS.
func (m *MemFS) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _, n, err := m.find(name)
	switch {
	case err != nil:
	case n == nil:
		err = fs.ErrNotExist
	case n.isDir:
		err = errNotRegular
	default:
		return m.handleLocked(n, name, false), nil
	}
	return nil, pathError("open", name, err)
}

// OpenDir implements FS.
func (m *MemFS) OpenDir(name string) (Dir, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.dirLocked(name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	n.opens++
	return &memDir{fs: m, node: n, name: name}, nil
}

func (m *MemFS) dirLocked(name string) (*memNode, error) {
	if m.frozen {
		return nil, ErrFrozen
	}
	n, err := m.walk(split(name))
	if err == nil && !n.isDir {
		err = syscall.ENOTDIR
	}
	return n, err
}

// Rename implements FS.
func (m *MemFS) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return pathError("rename", oldName, m.renameLocked(oldName, newName))
}

func (m *MemFS) renameLocked(oldName, newName string) error {
	from, oldLast, n, err := m.find(oldName)
	if err != nil {
		return err
	}
	to, newLast, target, err := m.find(newName)
	switch {
	case err != nil:
		return err
	case n == nil:
		return fs.ErrNotExist
	case target == n:
		return nil
	case target != nil && (target.isDir || n.isDir):
		return fs.ErrExist
	case n.isDir && from != to:
		return syscall.EXDEV // a directory could end up inside itself
	}
	if err := m.stepLocked(); err != nil {
		return err
	}
	if from == to {
		from.rename(oldLast, newLast, n)
	} else {
		to.link(newLast, n)
		from.unlink(oldLast)
	}
	if target != nil {
		target.links--
		m.releaseLocked(target)
	}
	return nil
}

// Remove implements FS.
func (m *MemFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, last, n, err := m.find(name)
	switch {
	case err != nil:
	case n == nil:
		err = fs.ErrNotExist
	case n.isDir && len(n.dir.live) > 0:
		err = syscall.ENOTEMPTY
	default:
		if err = m.stepLocked(); err == nil {
			dir.unlink(last)
			m.releaseLocked(n)
		}
	}
	return pathError("remove", name, err)
}

// releaseLocked gives back the room of a node that nothing can reach.
func (m *MemFS) releaseLocked(n *memNode) {
	if n.links == 0 && n.opens == 0 {
		m.used -= n.file.room()
	}
}

// MkdirAll implements FS. Each directory made is one operation.
func (m *MemFS) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return pathError("mkdir", name, m.mkdirAllLocked(split(name)))
}

func (m *MemFS) mkdirAllLocked(elems []string) error {
	if m.frozen {
		return ErrFrozen
	}
	n := m.root
	for _, e := range elems {
		child := n.dir.live[e]
		if child == nil {
			if m.freeLocked() <= 0 {
				return syscall.ENOSPC
			}
			if err := m.stepLocked(); err != nil {
				return err
			}
			child = m.newNode(true)
			n.link(e, child)
		}
		if !child.isDir {
			return syscall.ENOTDIR
		}
		n = child
	}
	return nil
}

// List implements FS.
func (m *MemFS) List(dir string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n, err := m.dirLocked(dir)
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	return slices.Sorted(maps.Keys(n.dir.live)), nil
}

// Stat implements FS. Times are zero.
func (m *MemFS) Stat(name string) (fs.FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.frozen {
		return nil, pathError("stat", name, ErrFrozen)
	}
	elems := split(name)
	n, err := m.walk(elems)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	info := memInfo{name: "/", size: int64(len(n.file.live)), isDir: n.isDir}
	if len(elems) > 0 {
		info.name = elems[len(elems)-1]
	}
	return info, nil
}

// Lock implements FS. The locks of a file system are not those of its clones:
// the process that held them died in the crash.
func (m *MemFS) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, _, n, err := m.find(name)
	if err != nil {
		return nil, pathError("lock", name, err)
	}
	if _, taken := m.locks[dir]; taken {
		return nil, pathError("lock", name, base.ErrLocked)
	}
	if n == nil {
		if _, err := m.createLocked(name); err != nil {
			return nil, pathError("lock", name, err)
		}
	}
	m.locks[dir] = struct{}{}
	return &memLock{fs: m, dir: dir}, nil
}

type memLock struct {
	fs   *MemFS
	dir  *memNode
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.fs.mu.Lock()
		defer l.fs.mu.Unlock()
		delete(l.fs.locks, l.dir)
	})
	return nil
}

// Usage implements FS. Without a capacity it claims to be huge.
func (m *MemFS) Usage(string) (free, total uint64, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.frozen {
		return 0, 0, ErrFrozen
	}
	total = uint64(m.capacity)
	if m.capacity == 0 {
		total = uint64(unlimited)
	}
	return uint64(max(0, m.freeLocked())), total, nil
}

// PathJoin implements FS.
func (m *MemFS) PathJoin(elem ...string) string { return path.Join(elem...) }

// memInfo implements fs.FileInfo.
type memInfo struct {
	name  string
	size  int64
	isDir bool
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return i.isDir }
func (i memInfo) Sys() any           { return nil }

func (i memInfo) Mode() fs.FileMode {
	if i.isDir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}

var errNotRegular = errors.New("not a regular file")
