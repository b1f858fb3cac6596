package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
)

// A database directory is locked in three ways, since each of them alone has a
// hole:
//
//   - in this process, by the identity of the directory (device and inode):
//     locks of the system do not always tell apart two users in one process;
//   - the directory itself, by flock where it exists: a lock file can be
//     removed and recreated while it is held;
//   - the lock file, which also contains the id of the process with the
//     exclusive lock: not every file system can lock a directory.
//
// Each lock is exclusive or shared. All are released when the process ends,
// however it ends; the lock file stays. A shared lock makes no lock file: if
// there is none, or it may not be opened, the other two have to do.

// lockedDirs are the directories locked by this process.
var lockedDirs struct {
	sync.Mutex
	dirs []lockedDir // guarded by the mutex
}

// lockedDir is one holder of one directory.
type lockedDir struct {
	info   fs.FileInfo
	shared bool
}

// osLock is a held lock.
type osLock struct {
	once sync.Once
	dir  *os.File  // immutable; holds the directory's lock
	file *os.File  // immutable after take; holds the lock file's; nil if a shared lock has none
	held lockedDir // immutable; in lockedDirs
}

// Lock implements Root.
func (o *osRoot) Lock(name string) (io.Closer, error) { return o.lock(name, false) }

// LockShared implements Root.
func (o *osRoot) LockShared(name string) (io.Closer, error) { return o.lock(name, true) }

func (o *osRoot) lock(name string, shared bool) (io.Closer, error) {
	dir, err := o.openDir("")
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat()
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	l := &osLock{dir: dir, held: lockedDir{info, shared}}
	if !enterLockedDir(l.held) {
		return nil, errors.Join(o.lockedError("this process, "+strconv.Itoa(os.Getpid())), dir.Close())
	}
	if err := l.take(o, name); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// take takes the locks of the system.
func (l *osLock) take(o *osRoot, name string) error {
	if err := l.hold(o, name, l.dir, lockDir); err != nil {
		return err
	}
	flag := os.O_RDWR | os.O_CREATE
	if l.held.shared {
		flag = os.O_RDONLY
	}
	f, err := regular(openLockFile(o, l.dir, name, flag))
	if l.held.shared && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
		return nil
	}
	if err != nil {
		return err
	}
	l.file = f
	if err := l.hold(o, name, f, lockFile); err != nil {
		return err
	}
	if l.held.shared {
		return nil
	}
	return l.writeHolder()
}

// hold takes one lock of the system. If another process has it, the error names
// that.
func (l *osLock) hold(o *osRoot, name string, f *os.File, lock func(f *os.File, shared bool) (bool, error)) error {
	ok, err := lock(f, l.held.shared)
	switch {
	case err != nil:
		return PathError("lock", f.Name(), err)
	case ok:
		return nil
	}
	if !l.held.shared {
		// If this reader can share the lock, only readers hold it, or it was
		// released.
		if readers, err := lock(f, true); err == nil && readers {
			if ok, err := lock(f, false); err == nil && ok {
				return nil
			}
			return o.lockedError("opened read-only elsewhere")
		}
	}
	return o.lockedError("process " + o.readHolder(name))
}

// writeHolder writes this process's id into the lock file. It is information
// for people and not part of the lock, so a full disk is no reason to refuse.
func (l *osLock) writeHolder() error {
	if err := exactMode(l.file, fileMode); err != nil {
		return err
	}
	err := l.file.Truncate(0)
	if err == nil {
		_, err = l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if IsNoSpace(err) {
		return nil
	}
	return err
}

// Close releases the lock. It is idempotent.
func (l *osLock) Close() error {
	var err error
	l.once.Do(func() {
		// Release the lock file first: if the directory is found free, the file
		// is free too.
		if l.file != nil {
			err = l.file.Close()
		}
		err = errors.Join(err, l.dir.Close())
		leaveLockedDir(l.held)
	})
	return err
}

func enterLockedDir(l lockedDir) bool {
	lockedDirs.Lock()
	defer lockedDirs.Unlock()
	for _, d := range lockedDirs.dirs {
		if os.SameFile(d.info, l.info) && !(d.shared && l.shared) {
			return false
		}
	}
	lockedDirs.dirs = append(lockedDirs.dirs, l)
	return true
}

func leaveLockedDir(l lockedDir) {
	lockedDirs.Lock()
	defer lockedDirs.Unlock()
	for i, d := range lockedDirs.dirs {
		if os.SameFile(d.info, l.info) {
			lockedDirs.dirs = append(lockedDirs.dirs[:i], lockedDirs.dirs[i+1:]...)
			return
		}
	}
}

// readHolder returns the id of the process with the exclusive lock, or
// "unknown".
func (o *osRoot) readHolder(name string) string {
	f, err := regular(o.open(name, os.O_RDONLY))
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return "unknown"
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return "unknown"
	}
	return strconv.Itoa(pid)
}

func (o *osRoot) lockedError(holder string) error {
	return fmt.Errorf("%w: %s (%s)", base.ErrLocked, o.r.Name(), holder)
}
