package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// OpKind is a set of operations of an FS and its files.
type OpKind uint32

// The operations. OpOpen is Open and OpenDir; OpStat is Stat, Usage and
// File.Size; OpSync and OpClose are those of files, OpDirSync that of
// directories.
const (
	OpCreate OpKind = 1 << iota
	OpOpen
	OpRead
	OpWrite
	OpSync
	OpDirSync
	OpRename
	OpRemove
	OpTruncate
	OpList
	OpStat
	OpMkdir
	OpLock
	OpPreallocate
	OpClose

	// OpAll is every operation.
	OpAll = OpClose<<1 - 1
	// OpMutations are those that change what is stored.
	OpMutations = OpCreate | OpWrite | OpSync | OpDirSync | OpRename | OpRemove | OpTruncate | OpMkdir | OpPreallocate
)

// Rule says which calls fail, and how. A rule without an effect of its own
// (Err, Short, Flip, Delay) fails with EIO.
type Rule struct {
	Op    OpKind        // the operations meant
	Path  string        // a pattern of path.Match for the base name; "" is any
	Skip  int           // how many matching calls to let pass first
	Count int           // how many to fail then; 0 is all
	Err   error         // what to return, wrapped in a *fs.PathError
	Short bool          // do half of a read or a write, then fail
	After bool          // do the whole operation, then fail all the same
	Flip  bool          // flip one bit of what is read; without Err the read succeeds
	Delay time.Duration // wait first; Clear ends the wait; without Err the call then succeeds
}

// Fired tells how a rule did. A test asserts that its fault fired: one that
// never did has tested nothing.
type Fired struct {
	rule    Rule          // immutable
	fs      *FaultFS      // immutable
	done    chan struct{} // closed when the rule is cleared
	matched atomic.Int64
	fired   atomic.Int64
}

// Count is how many calls the rule failed, or delayed.
func (f *Fired) Count() int { return int(f.fired.Load()) }

// Matched is how many calls the rule was asked about, failed or not.
func (f *Fired) Matched() int { return int(f.matched.Load()) }

// Remove takes the rule away again, and wakes the calls that it delays.
func (f *Fired) Remove() { f.fs.remove(f) }

// FaultFS passes everything to another file system, but for the calls that its
// rules make fail. Every rule counts every call that matches it; of several
// that are due, the one that was injected first acts.
type FaultFS struct {
	inner FS // immutable
	mu    sync.Mutex
	rules atomic.Pointer[[]*Fired] // replaced under mu
}

var _ FS = (*FaultFS)(nil)

// NewFault wraps a file system. Without rules it changes nothing.
func NewFault(inner FS) *FaultFS { return &FaultFS{inner: inner} }

// Inject adds a rule. A malformed pattern is a bug of the caller.
func (f *FaultFS) Inject(r Rule) *Fired {
	if _, err := path.Match(r.Path, ""); err != nil {
		panic(fmt.Sprintf("vfs: rule with the pattern %q: %v", r.Path, err))
	}
	if r.Err == nil && (r.Short || r.After || !r.Flip && r.Delay == 0) {
		r.Err = syscall.EIO
	}
	fired := &Fired{rule: r, fs: f, done: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store(append(slices.Clone(f.load()), fired))
	return fired
}

// Clear removes all rules, and wakes the calls that they delay.
func (f *FaultFS) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.load() {
		close(r.done)
	}
	f.store(nil)
}

func (f *FaultFS) remove(fired *Fired) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.load(), fired); i >= 0 {
		close(fired.done)
		f.store(slices.Delete(slices.Clone(f.load()), i, i+1))
	}
}

func (f *FaultFS) load() []*Fired {
	if p := f.rules.Load(); p != nil {
		return *p
	}
	return nil
}

func (f *FaultFS) store(rules []*Fired) {
	if len(rules) == 0 {
		f.rules.Store(nil)
		return
	}
	f.rules.Store(&rules)
}

// due counts a call with every rule and returns the first that acts, after its
// delay.
func (f *FaultFS) due(op OpKind, name string) *Fired {
	var acting *Fired
	for _, r := range f.load() {
		if r.rule.matches(op, name) && r.count(acting == nil) {
			acting = r
		}
	}
	if acting != nil && acting.rule.Delay > 0 {
		t := time.NewTimer(acting.rule.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-acting.done:
		}
	}
	return acting
}

func (r *Rule) matches(op OpKind, name string) bool {
	if r.Op&op == 0 {
		return false
	}
	if r.Path == "" {
		return true
	}
	ok, _ := path.Match(r.Path, path.Base(filepath.ToSlash(name)))
	return ok
}

// count counts a matching call, and reports whether the rule acts on it, which
// it may only when free.
func (f *Fired) count(free bool) bool {
	if f.matched.Add(1) <= int64(f.rule.Skip) || !free {
		return false
	}
	if n := f.fired.Add(1); f.rule.Count > 0 && n > int64(f.rule.Count) {
		f.fired.Add(-1)
		return false
	}
	return true
}

// do performs an operation that a rule may replace.
func (f *FaultFS) do(op OpKind, verb, name string, call func() error) error {
	r := f.due(op, name)
	if r == nil || r.rule.Err == nil {
		return call()
	}
	if r.rule.After || op == OpClose { // what is not closed would leak
		if err := call(); err != nil {
			return err
		}
	}
	return pathError(verb, name, r.rule.Err)
}

// Create implements FS.
func (f *FaultFS) Create(name string) (file File, err error) {
	err = f.do(OpCreate, "create", name, func() error {
		file, err = f.inner.Create(name)
		return err
	})
	return f.wrap(file, name, err)
}

// Open implements FS.
func (f *FaultFS) Open(name string) (file File, err error) {
	err = f.do(OpOpen, "open", name, func() error {
		file, err = f.inner.Open(name)
		return err
	})
	return f.wrap(file, name, err)
}

// wrap returns the file, or closes one that was opened only to fail.
func (f *FaultFS) wrap(file File, name string, err error) (File, error) {
	if err != nil {
		if file != nil {
			_ = file.Close()
		}
		return nil, err
	}
	return &faultFile{fs: f, inner: file, name: name}, nil
}

// OpenDir implements FS.
func (f *FaultFS) OpenDir(name string) (Dir, error) {
	var dir Dir
	err := f.do(OpOpen, "open", name, func() (err error) {
		dir, err = f.inner.OpenDir(name)
		return err
	})
	if err != nil {
		if dir != nil {
			_ = dir.Close()
		}
		return nil, err
	}
	return &faultDir{fs: f, inner: dir, name: name}, nil
}

// Rename implements FS. A rule's pattern is matched against the old name.
func (f *FaultFS) Rename(oldName, newName string) error {
	return f.do(OpRename, "rename", oldName, func() error { return f.inner.Rename(oldName, newName) })
}

// Remove implements FS.
func (f *FaultFS) Remove(name string) error {
	return f.do(OpRemove, "remove", name, func() error { return f.inner.Remove(name) })
}

// MkdirAll implements FS.
func (f *FaultFS) MkdirAll(name string) error {
	return f.do(OpMkdir, "mkdir", name, func() error { return f.inner.MkdirAll(name) })
}

// List implements FS.
func (f *FaultFS) List(dir string) (names []string, err error) {
	err = f.do(OpList, "list", dir, func() error {
		names, err = f.inner.List(dir)
		return err
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}

// Stat implements FS.
func (f *FaultFS) Stat(name string) (info fs.FileInfo, err error) {
	err = f.do(OpStat, "stat", name, func() error {
		info, err = f.inner.Stat(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}

// Lock implements FS.
func (f *FaultFS) Lock(name string) (lock io.Closer, err error) {
	err = f.do(OpLock, "lock", name, func() error {
		lock, err = f.inner.Lock(name)
		return err
	})
	if err != nil {
		if lock != nil {
			_ = lock.Close()
		}
		return nil, err
	}
	return lock, nil
}

// Usage implements FS.
func (f *FaultFS) Usage(name string) (free, total uint64, err error) {
	err = f.do(OpStat, "usage", name, func() error {
		free, total, err = f.inner.Usage(name)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	return free, total, nil
}

// PathJoin implements FS.
func (f *FaultFS) PathJoin(elem ...string) string { return f.inner.PathJoin(elem...) }
