package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/seerdb-go/seerdb/internal/base"
)

// A database directory is locked three times over, since each lock alone has a
// hole:
//
//   - in this process, by the identity of the directory (device and inode):
//     locks of the system do not always tell two users in one process apart;
//   - the directory itself, by flock where there is one: a lock file can be
//     removed and made anew while it is held;
//   - the lock file, which also says who holds the lock: not every file system
//     can lock a directory.
//
// All go with the process, however it ends; the lock file stays.

// lockedDirs are the directories locked by this process.
var lockedDirs struct {
	sync.Mutex
	dirs []fs.FileInfo // guarded by the mutex
}

// osLock is a held lock.
type osLock struct {
	once sync.Once
	dir  *os.File    // immutable; holds the directory's lock
	file *os.File    // immutable after Lock; holds the lock file's
	info fs.FileInfo // immutable; the directory in lockedDirs
}

// Lock implements FS.
func (osFS) Lock(name string) (io.Closer, error) {
	dir, err := openOSDir(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat()
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	if !enterLockedDir(info) {
		return nil, errors.Join(lockedError(name, strconv.Itoa(os.Getpid())), dir.Close())
	}
	l := &osLock{dir: dir, info: info}
	if err := l.take(name); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// take gets the locks of the system.
func (l *osLock) take(name string) error {
	locked, err := lockDir(l.dir)
	if err != nil {
		return pathError("lock", filepath.Dir(name), err)
	}
	if !locked {
		return lockedError(name, readHolder(name))
	}
	if l.file, err = openRegular(name, os.O_RDWR|os.O_CREATE); err != nil {
		return err
	}
	if locked, err = lockFile(l.file); err != nil {
		return pathError("lock", name, err)
	}
	if !locked {
		return lockedError(name, readHolder(name))
	}
	return l.writeHolder()
}

// writeHolder puts our process number into the lock file. It is news for
// people, not part of the lock, so a full disk is no reason to refuse.
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
		// The lock file first: who finds the directory free finds it free too.
		if l.file != nil {
			err = l.file.Close()
		}
		err = errors.Join(err, l.dir.Close())
		leaveLockedDir(l.info)
	})
	return err
}

func enterLockedDir(info fs.FileInfo) bool {
	lockedDirs.Lock()
	defer lockedDirs.Unlock()
	for _, d := range lockedDirs.dirs {
		if os.SameFile(d, info) {
			return false
		}
	}
	lockedDirs.dirs = append(lockedDirs.dirs, info)
	return true
}

func leaveLockedDir(info fs.FileInfo) {
	lockedDirs.Lock()
	defer lockedDirs.Unlock()
	for i, d := range lockedDirs.dirs {
		if os.SameFile(d, info) {
			lockedDirs.dirs = append(lockedDirs.dirs[:i], lockedDirs.dirs[i+1:]...)
			return
		}
	}
}

// readHolder returns the number of the process that holds the lock, or "".
func readHolder(name string) string {
	f, err := openRegular(name, os.O_RDONLY)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return ""
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return ""
	}
	return strconv.Itoa(pid)
}

func lockedError(name, pid string) error {
	if pid == "" {
		pid = "unknown"
	}
	return fmt.Errorf("%w: %s (process %s)", base.ErrLocked, filepath.Dir(name), pid)
}
