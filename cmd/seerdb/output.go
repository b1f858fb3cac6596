package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
)

// writeFile makes or replaces a file in one step: it writes and syncs a
// temporary file beside it first, so that a command that fails leaves the old
// file. Like the files of a database the file is accessible to its owner only.
//
// If path is not a regular file, such as a pipe or a device, it is written
// directly.
func writeFile(path string, write func(io.Writer) error) error {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.IsDir():
		return usagef("%s is a directory; expected the name of a file", path)
	case !info.Mode().IsRegular():
		return writeInto(path, write)
	default: // replace the link, not what it points to
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp") // with mode 0600
	if err != nil {
		return err
	}
	keep := removeWhenInterrupted(f.Name())
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	keep()
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return syncDir(filepath.Dir(path))
}

func writeInto(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// removeWhenInterrupted removes a file and ends the program if the user
// interrupts it before stop is called.
func removeWhenInterrupted(file string) (stop func()) {
	interrupt, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(interrupt, os.Interrupt)
	go func() {
		select {
		case <-interrupt:
			_ = os.Remove(file)
			fmt.Fprintln(os.Stderr, "seerdb: interrupted; nothing was written")
			os.Exit(exitIO)
		case <-done:
		}
	}()
	return func() {
		signal.Stop(interrupt)
		close(done)
	}
}

// syncDir makes a rename durable. Windows has no such call and needs none.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// writeOutput writes to a file, or to standard output if none is named.
func writeOutput(file string, stdout io.Writer, write func(io.Writer) error) error {
	if file == "" {
		return write(stdout)
	}
	return writeFile(file, write)
}
