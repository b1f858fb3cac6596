package dbtest

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/seerdb-go/seerdb/internal/vfs"
)

// Files returns the names in the directory with an extension.
func (r *Rig) Files(ext string) []string {
	r.Helper()
	names, err := r.Mem.List("db")
	Must(r, err)
	return slices.DeleteFunc(names, func(n string) bool { return path.Ext(n) != ext })
}

// TidyDir checks that the directory has only live files.
func (r *Rig) TidyDir() {
	r.Helper()
	LiveFiles(r, r.DB, r.Mem)
}

// Read returns the bytes of a file.
func (r *Rig) Read(name string) []byte {
	r.Helper()
	f, err := r.Mem.Open(name)
	Must(r, err)
	defer f.Close()
	n, err := f.Size()
	Must(r, err)
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); n > 0 {
		Must(r, err)
	}
	return b
}

// Rewrite replaces the content of a file, durably.
func (r *Rig) Rewrite(name string, edit func([]byte) []byte) {
	r.Helper()
	name = r.Mem.PathJoin("db", name)
	b := edit(r.Read(name))
	Must(r, r.Mem.Remove(name))
	f, err := r.Mem.Create(name)
	Must(r, err)
	_, err = f.Write(b)
	Must(r, errors.Join(err, f.Sync(), f.Close(), vfs.SyncDir(r.Mem, "db")))
}

// RewriteTo sets the content of a file.
func (r *Rig) RewriteTo(name, b string) {
	if _, err := r.Mem.Stat("db/" + name); err == nil {
		Must(r, r.Mem.Remove("db/"+name))
	}
	f, err := r.Mem.Create("db/" + name)
	Must(r, err)
	_, err = f.Write([]byte(b))
	Must(r, errors.Join(err, f.Close()))
}

// SnapshotOfDir returns the content of every file except the lock.
func SnapshotOfDir(r *Rig) map[string]string {
	r.Helper()
	out := map[string]string{}
	names, err := r.Mem.List("db")
	Must(r, err)
	for _, n := range names {
		if n != "LOCK" {
			out[n] = string(r.Read("db/" + n))
		}
	}
	return out
}

// NewestFile returns the last file with a suffix or prefix.
func NewestFile(r *Rig, part string) string {
	r.Helper()
	names, err := r.Mem.List("db")
	Must(r, err)
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(n, part) })
	if len(names) == 0 {
		r.Fatalf("there is no %s", part)
	}
	return names[len(names)-1]
}

// FlipAt flips a bit at a distance from the end of a file.
func FlipAt(r *Rig, name string, fromEnd int) {
	r.Rewrite(name, func(b []byte) []byte {
		b[len(b)-fromEnd] ^= 4
		return b
	})
}
