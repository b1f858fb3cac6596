//go:build unix

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the time that all threads of this process have used, user and
// system.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pause stops a process until resume, so that an engine whose turn it is not
// cannot use the machine for its compactions.
func pause(p *os.Process) error  { return p.Signal(syscall.SIGSTOP) }
func resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }

// writeBack makes the operating system write all dirty pages now, so that one
// engine's are not written during the turn of the next.
func writeBack() { unix.Sync() }

// diskBytes returns the space of the files under dir: for each file its length
// or its blocks, whichever is less. Badger makes long sparse files, Pebble and
// RocksDB reserve blocks for log that is not written yet.
func diskBytes(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		size := info.Size()
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			size = min(size, st.Blocks*512)
		}
		total += size
		return nil
	})
	return total, err
}
