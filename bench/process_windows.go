package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Windows has no signal that stops a process: engines whose turn it is not
// continue their compactions, and the figures are less reliable.

func cpuTime() time.Duration { return 0 }

func pause(*os.Process) error  { return nil }
func resume(*os.Process) error { return nil }
func writeBack()               {}

func diskBytes(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		total += info.Size()
		return nil
	})
	return total, err
}
