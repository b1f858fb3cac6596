package vfs

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// SyncDir makes the names in a directory durable.
func SyncDir(fsys FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// MkdirAllDurable makes a directory and its parents, and returns once those
// that it made would survive a crash: it syncs each new name in its parent.
//
// An existing directory may have been made by a process that was killed before
// it synced, so its name is synced too, if its parent permits; the directories
// above are trusted.
func MkdirAllDurable(fsys FS, name string) error {
	name = filepath.Clean(name)
	var parents []string // parents of the directories to make, innermost first
	for dir := name; ; {
		_, err := fsys.Stat(dir)
		if err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return err
		}
		parents = append(parents, parent)
		dir = parent
	}
	if err := fsys.MkdirAll(name); err != nil {
		return err
	}
	for _, dir := range parents {
		if err := SyncDir(fsys, dir); err != nil {
			return err
		}
	}
	if len(parents) > 0 {
		return nil
	}
	if err := SyncDir(fsys, filepath.Dir(name)); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
