// Package memfs is an in-memory file system for tests, in which the power can
// fail at any operation.
package memfs

import (
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seerdb-go/seerdb/internal/vfs"
)

// FS is an in-memory file system that knows both what processes see and what a
// power cut would leave (see CrashClone). It promises the least that POSIX
// does:
//
//   - File.Sync makes the bytes and the size of that file durable, Dir.Sync
//     the names in that directory. Nothing else makes anything durable.
//   - Until then every 512-byte sector written, every change of size, and
//     every change of a name survives or not independently, in any order.
//
// So a file that was synced but whose name was not is gone after a crash, and
// so is a new directory whose parent was not synced. Only the root needs no
// sync. Names are slash-separated; a relative name starts at the root.
//
// Written bytes are never changed in place (files only grow at the end, and a
// truncation drops the spare capacity), so clones and pending operations share
// them.
type FS struct {
	memView  // from the root
	mu       sync.RWMutex
	nextID   uint64           // guarded by mu
	ops      int64            // guarded by mu
	freezeAt int64            // guarded by mu; 0 = never
	frozen   bool             // guarded by mu
	lying    bool             // guarded by mu
	failSync []syncFault      // guarded by mu
	capacity int64            // guarded by mu; 0 = unlimited
	used     int64            // guarded by mu: Σ memNode.room
	locks    map[*memNode]int // guarded by mu; of a locked directory: -1, or the number of shared locks
}

// memView is the file system as seen from one of its directories.
type memView struct {
	m    *FS      // immutable
	root *memNode // immutable; where names begin; its content guarded by m.mu
	dir  string   // immutable; the name of root when it was opened
	shut bool     // guarded by m.mu; a closed Root
}

// memNode is a file or a directory. All of it is guarded by FS.mu, except for
// id and isDir, which are immutable.
type memNode struct {
	id    uint64
	isDir bool
	links int // number of names in live directories
	opens int // number of open handles
	file  fileState
	dir   dirState
}

var _ vfs.FS = (*FS)(nil)

// New returns an empty file system.
func New() *FS {
	m := &FS{locks: map[*memNode]int{}}
	m.memView = memView{m: m, root: m.newNode(true)}
	m.root.links = 1
	return m
}

func (m *FS) newNode(isDir bool) *memNode {
	m.nextID++
	n := &memNode{id: m.nextID, isDir: isDir}
	if isDir {
		n.dir = dirState{live: map[string]*memNode{}, disk: map[string]*memNode{}}
	}
	return n
}

// split splits a name into its elements.
func split(name string) []string {
	p := path.Clean("/" + filepath.ToSlash(name))
	if p == "/" {
		return nil
	}
	return strings.Split(p[1:], "/")
}

// walk follows elements from the root of the view.
func (v *memView) walk(elems []string) (*memNode, error) {
	switch {
	case v.m.frozen:
		return nil, ErrFrozen
	case v.shut:
		return nil, fs.ErrClosed
	}
	n := v.root
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

// find returns the directory of name, its last element, and the node that it
// names, or nil if there is none.
func (v *memView) find(name string) (dir *memNode, last string, n *memNode, err error) {
	elems := split(name)
	if len(elems) == 0 || strings.ContainsRune(name, 0) {
		return nil, "", nil, fs.ErrInvalid
	}
	last = elems[len(elems)-1]
	if dir, err = v.walk(elems[:len(elems)-1]); err != nil {
		return nil, "", nil, err
	}
	switch {
	case !dir.isDir:
		return nil, "", nil, syscall.ENOTDIR
	case dir.links == 0:
		return nil, "", nil, fs.ErrNotExist // the directory was removed, and takes no names
	}
	return dir, last, dir.dir.live[last], nil
}

// err adds the operation and the name that the user knows to an error.
func (v *memView) err(op, name string, err error) error {
	return vfs.PathError(op, path.Join(v.dir, name), err)
}

// Create implements FS.
func (v *memView) Create(name string) (vfs.File, error) {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	n, err := v.createLocked(name)
	if err != nil {
		return nil, v.err("create", name, err)
	}
	return v.handleLocked(n, name, true), nil
}

func (v *memView) createLocked(name string) (*memNode, error) {
	dir, last, n, err := v.find(name)
	if err == nil && n != nil {
		err = fs.ErrExist
	}
	if err == nil && v.m.freeLocked() <= 0 {
		err = syscall.ENOSPC // the directory may need a block
	}
	if err == nil {
		err = v.m.stepLocked()
	}
	if err != nil {
		return nil, err
	}
	n = v.m.newNode(false)
	dir.link(last, n)
	return n, nil
}

func (v *memView) handleLocked(n *memNode, name string, writable bool) *memFile {
	n.opens++
	return &memFile{fs: v.m, node: n, name: path.Join(v.dir, name), writable: writable}
}

// Open implements FS.
func (v *memView) Open(name string) (vfs.File, error) {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	_, _, n, err := v.find(name)
	switch {
	case err != nil:
	case n == nil:
		err = fs.ErrNotExist
	case n.isDir:
		err = vfs.ErrNotRegular
	default:
		return v.handleLocked(n, name, false), nil
	}
	return nil, v.err("open", name, err)
}

// OpenDir implements FS.
func (v *memView) OpenDir(name string) (vfs.Dir, error) {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	n, err := v.dirLocked(name)
	if err != nil {
		return nil, v.err("open", name, err)
	}
	n.opens++
	return &memDir{fs: v.m, node: n, name: path.Join(v.dir, name)}, nil
}

func (v *memView) dirLocked(name string) (*memNode, error) {
	n, err := v.walk(split(name))
	if err == nil && !n.isDir {
		err = syscall.ENOTDIR
	}
	return n, err
}

// Rename implements FS.
func (v *memView) Rename(oldName, newName string) error {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	return v.err("rename", oldName, v.renameLocked(oldName, newName))
}

func (v *memView) renameLocked(oldName, newName string) error {
	from, oldLast, n, err := v.find(oldName)
	if err != nil {
		return err
	}
	to, newLast, target, err := v.find(newName)
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
	if err := v.m.stepLocked(); err != nil {
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
		v.m.releaseLocked(target)
	}
	return nil
}

// Remove implements FS.
func (v *memView) Remove(name string) error {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	dir, last, n, err := v.find(name)
	switch {
	case err != nil:
	case n == nil:
		err = fs.ErrNotExist
	case n.isDir && len(n.dir.live) > 0:
		err = syscall.ENOTEMPTY
	default:
		if err = v.m.stepLocked(); err == nil {
			dir.unlink(last)
			v.m.releaseLocked(n)
		}
	}
	return v.err("remove", name, err)
}

// releaseLocked frees the room of a node that nothing can reach.
func (m *FS) releaseLocked(n *memNode) {
	if n.links == 0 && n.opens == 0 {
		m.used -= n.file.room()
	}
}

// MkdirAll implements FS. Each directory made counts as one operation.
func (v *memView) MkdirAll(name string) error {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	return v.err("mkdir", name, v.mkdirAllLocked(split(name)))
}

func (v *memView) mkdirAllLocked(elems []string) error {
	n, err := v.walk(nil)
	if err != nil {
		return err
	}
	for _, e := range elems {
		child := n.dir.live[e]
		if child == nil {
			if n.links == 0 {
				return fs.ErrNotExist
			}
			if v.m.freeLocked() <= 0 {
				return syscall.ENOSPC
			}
			if err := v.m.stepLocked(); err != nil {
				return err
			}
			child = v.m.newNode(true)
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
func (v *memView) List(dir string) ([]string, error) {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	n, err := v.dirLocked(dir)
	if err != nil {
		return nil, v.err("list", dir, err)
	}
	return slices.Sorted(maps.Keys(n.dir.live)), nil
}

// Stat implements FS. Times are zero.
func (v *memView) Stat(name string) (fs.FileInfo, error) {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	elems := split(name)
	n, err := v.walk(elems)
	if err != nil {
		return nil, v.err("stat", name, err)
	}
	info := memInfo{name: "/", size: int64(len(n.file.live)), isDir: n.isDir}
	if len(elems) > 0 {
		info.name = elems[len(elems)-1]
	}
	return info, nil
}

// Usage implements FS. Without a capacity it reports a huge one.
func (v *memView) Usage(string) (free, total uint64, err error) {
	v.m.mu.RLock()
	defer v.m.mu.RUnlock()
	if _, err := v.walk(nil); err != nil {
		return 0, 0, v.err("usage", "", err)
	}
	total = uint64(v.m.capacity)
	if v.m.capacity == 0 {
		total = uint64(unlimited)
	}
	return uint64(max(0, v.m.freeLocked())), total, nil
}

// PathJoin implements FS.
func (v *memView) PathJoin(elem ...string) string { return path.Join(elem...) }

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
