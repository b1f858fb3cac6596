package faultfs

import "github.com/seerdb-go/seerdb/internal/vfs"

// faultFile is a file of an FS. Rules match the name that it was opened with,
// whatever it is called now.
type faultFile struct {
	fs    *FS      // immutable
	inner vfs.File // immutable
	name  string   // immutable
}

// ReadAt implements File.
func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	r := f.fs.due(OpRead, f.name)
	if r == nil {
		return f.inner.ReadAt(p, off)
	}
	switch {
	case r.rule.Short:
		p = p[:len(p)/2]
	case r.rule.Err != nil && !r.rule.After:
		return 0, vfs.PathError("read", f.name, r.rule.Err)
	}
	n, err := f.inner.ReadAt(p, off)
	if r.rule.Flip && n > 0 {
		// Flip another bit each time, in the same sequence in every run; 2^64
		// over the golden ratio spreads them.
		bit := uint64(r.fired.Load()) * 0x9e3779b97f4a7c15 % uint64(8*n)
		p[bit/8] ^= 1 << (bit % 8)
	}
	if r.rule.Err != nil {
		err = vfs.PathError("read", f.name, r.rule.Err)
	}
	return n, err
}

// Write implements File.
func (f *faultFile) Write(p []byte) (int, error) {
	r := f.fs.due(OpWrite, f.name)
	if r == nil || r.rule.Err == nil {
		return f.inner.Write(p)
	}
	n := 0
	if r.rule.Short || r.rule.After {
		if r.rule.Short {
			p = p[:len(p)/2]
		}
		var err error
		if n, err = f.inner.Write(p); err != nil {
			return n, err
		}
	}
	return n, vfs.PathError("write", f.name, r.rule.Err)
}

// Sync implements File.
func (f *faultFile) Sync() error { return f.fs.do(OpSync, "sync", f.name, f.inner.Sync) }

// Truncate implements File.
func (f *faultFile) Truncate(size int64) error {
	return f.fs.do(OpTruncate, "truncate", f.name, func() error { return f.inner.Truncate(size) })
}

// Preallocate implements File.
func (f *faultFile) Preallocate(size int64) error {
	return f.fs.do(OpPreallocate, "preallocate", f.name, func() error { return f.inner.Preallocate(size) })
}

// Size implements File.
func (f *faultFile) Size() (size int64, err error) {
	err = f.fs.do(OpStat, "stat", f.name, func() error {
		size, err = f.inner.Size()
		return err
	})
	if err != nil {
		return 0, err
	}
	return size, nil
}

// Close implements File. The file is closed even if a rule makes Close fail.
func (f *faultFile) Close() error { return f.fs.do(OpClose, "close", f.name, f.inner.Close) }

// faultDir is a directory of an FS.
type faultDir struct {
	fs    *FS     // immutable
	inner vfs.Dir // immutable
	name  string  // immutable
}

// Sync implements Dir.
func (d *faultDir) Sync() error { return d.fs.do(OpDirSync, "sync", d.name, d.inner.Sync) }

// Close implements Dir.
func (d *faultDir) Close() error { return d.inner.Close() }
