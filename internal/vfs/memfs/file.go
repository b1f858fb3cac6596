package memfs

import (
	"io"
	"io/fs"
	"maps"
	"syscall"

	"github.com/seerdb-go/seerdb/internal/vfs"
)

// fileState is the content of a file: what processes see, what the device
// holds, and the operations in between. Guarded by FS.mu.
type fileState struct {
	live     []byte // what a reader sees
	disk     []byte // what survives for certain
	synced   []byte // what a reader saw at the last sync; equals disk unless diverged
	pending  []fileOp
	reserved int64 // preallocated up to here
	diverged bool  // a sync failed, and disk is not what a reader saw then
}

// fileOp is one operation since the last sync.
type fileOp struct {
	cut   bool // a truncation to off, else an append of bytes at off
	lost  bool // a failed sync dropped the data: it will not reach the device unless written again
	off   int64
	bytes []byte // shared with fileState.live, never written again
}

// room returns how many bytes the file takes.
func (f *fileState) room() int64 { return max(int64(len(f.live)), f.reserved) }

func (f *fileState) append(p []byte) {
	off := len(f.live)
	f.live = append(f.live, p...)
	f.pending = append(f.pending, fileOp{off: int64(off), bytes: f.live[off:len(f.live):len(f.live)]})
}

func (f *fileState) truncate(size int64) {
	f.live = f.live[:size:size]
	f.reserved = 0
	f.pending = append(f.pending, fileOp{cut: true, off: size})
}

// settle makes the device hold everything that was not lost.
func (f *fileState) settle() {
	f.synced = f.live[:len(f.live):len(f.live)]
	if f.diverged {
		f.disk = f.crash(func() bool { return true }, nil)
	} else {
		f.disk = f.synced // without a copy: a log is synced after each append
	}
	f.pending = nil
}

// forget makes the next sync return success without writing the data.
func (f *fileState) forget() {
	for i := range f.pending {
		f.pending[i].lost = true
	}
	f.diverged = f.diverged || len(f.pending) > 0
}

// revert makes readers see what the device holds.
func (f *fileState) revert() {
	f.live = f.disk[:len(f.disk):len(f.disk)]
	f.synced, f.pending, f.diverged = f.live, nil, false
}

// dirState is the content of a directory. Guarded by FS.mu.
type dirState struct {
	live    map[string]*memNode // what processes see
	disk    map[string]*memNode // what survives for certain
	pending []dirOp
}

// dirOp is one operation since the last sync: a name that was added (newName),
// one that was removed (oldName), or, with both, a rename.
type dirOp struct {
	oldName, newName string
	node             *memNode
}

func (n *memNode) link(name string, child *memNode) {
	n.dir.live[name] = child
	child.links++
	n.dir.pending = append(n.dir.pending, dirOp{newName: name, node: child})
}

func (n *memNode) unlink(name string) {
	child := n.dir.live[name]
	delete(n.dir.live, name)
	child.links--
	n.dir.pending = append(n.dir.pending, dirOp{oldName: name, node: child})
}

func (n *memNode) rename(oldName, newName string, child *memNode) {
	delete(n.dir.live, oldName)
	n.dir.live[newName] = child
	n.dir.pending = append(n.dir.pending, dirOp{oldName: oldName, newName: newName, node: child})
}

func (d *dirState) settle() {
	d.disk = maps.Clone(d.live)
	d.pending = nil
}

// memFile is an open file.
type memFile struct {
	fs       *FS      // immutable
	node     *memNode // immutable; its content guarded by fs.mu
	name     string   // immutable
	writable bool     // immutable
	closed   bool     // guarded by fs.mu
}

func (f *memFile) checkLocked(write bool) error {
	switch {
	case f.fs.frozen:
		return ErrFrozen
	case f.closed:
		return fs.ErrClosed
	case write && !f.writable:
		return syscall.EBADF
	}
	return nil
}

// ReadAt implements File.
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	err := f.checkLocked(false)
	if err == nil && off < 0 {
		err = fs.ErrInvalid
	}
	if err != nil {
		return 0, vfs.PathError("read", f.name, err)
	}
	live := f.node.file.live
	if off >= int64(len(live)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, live[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Write implements File. On a full file system it writes what fits.
func (f *memFile) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked(true); err != nil {
		return 0, vfs.PathError("write", f.name, err)
	}
	file := &f.node.file
	// Unused preallocated room belongs to the file.
	fits := max(0, f.fs.freeLocked()) + file.room() - int64(len(file.live))
	var full error
	if int64(len(p)) > fits {
		p, full = p[:fits], syscall.ENOSPC
	}
	if len(p) > 0 {
		if err := f.fs.stepLocked(); err != nil {
			return 0, vfs.PathError("write", f.name, err)
		}
		before := file.room()
		file.append(p)
		f.fs.used += file.room() - before
	}
	return len(p), vfs.PathError("write", f.name, full)
}

// Sync implements File.
func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.checkLocked(false)
	if err == nil {
		err = f.fs.stepLocked()
	}
	if err == nil {
		err = f.fs.syncFileLocked(f)
	}
	return vfs.PathError("sync", f.name, err)
}

// Truncate implements File.
func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.checkLocked(true)
	if err == nil && (size < 0 || size > int64(len(f.node.file.live))) {
		err = fs.ErrInvalid
	}
	if err == nil {
		err = f.fs.stepLocked()
	}
	if err == nil {
		before := f.node.file.room()
		f.node.file.truncate(size)
		f.fs.used += f.node.file.room() - before
	}
	return vfs.PathError("truncate", f.name, err)
}

// Preallocate implements File. Its effect does not survive a crash. It does not
// count as an operation, since a crash cannot tell.
func (f *memFile) Preallocate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.checkLocked(true)
	file := &f.node.file
	more := size - file.room()
	if err == nil && more > max(0, f.fs.freeLocked()) {
		err = syscall.ENOSPC
	}
	if err == nil && more > 0 {
		file.reserved = size
		f.fs.used += more
	}
	return vfs.PathError("preallocate", f.name, err)
}

// Size implements File.
func (f *memFile) Size() (int64, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.checkLocked(false); err != nil {
		return 0, vfs.PathError("stat", f.name, err)
	}
	return int64(len(f.node.file.live)), nil
}

// Close implements File. It works on a frozen file system too, since it has no
// effect on the device.
func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return vfs.PathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	f.node.opens--
	f.fs.releaseLocked(f.node)
	return nil
}

// memDir is an open directory.
type memDir struct {
	fs     *FS      // immutable
	node   *memNode // immutable; its content guarded by fs.mu
	name   string   // immutable
	closed bool     // guarded by fs.mu
}

// Sync implements Dir.
func (d *memDir) Sync() error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	var err error
	switch {
	case d.fs.frozen:
		err = ErrFrozen
	case d.closed:
		err = fs.ErrClosed
	default:
		err = d.fs.stepLocked()
	}
	if err == nil {
		err = d.fs.syncDirLocked(d)
	}
	return vfs.PathError("sync", d.name, err)
}

// Close implements Dir.
func (d *memDir) Close() error {
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	if d.closed {
		return vfs.PathError("close", d.name, fs.ErrClosed)
	}
	d.closed = true
	d.node.opens--
	return nil
}
