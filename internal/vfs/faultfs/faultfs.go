// Package faultfs makes chosen operations of a file system fail, wait or lie, for tests.
package faultfs

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seerdb-go/seerdb/internal/vfs"
)

// OpKind is a set of operations of an FS and its files.
type OpKind uint32

// The operations. OpOpen is Open, OpenDir and OpenRoot; OpStat is Stat, Usage and
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

	// OpAll has every operation.
	OpAll = OpClose<<1 - 1
	// OpMutations has the operations that change what is stored.
	OpMutations = OpCreate | OpWrite | OpSync | OpDirSync | OpRename | OpRemove | OpTruncate | OpMkdir | OpPreallocate
)

// Rule says which calls fail, and how. A rule without an effect of its own
// (Err, Short, Flip, Delay) makes them fail with EIO.
type Rule struct {
	Op    OpKind        // the operations that match
	Path  string        // a pattern of path.Match for the base name; "" matches any
	Skip  int           // matching calls to let pass first
	Count int           // calls to fail then; 0 means all
	Every int           // of these, only each Every-th fails; 0 means each
	Err   error         // the error to return, wrapped in a *fs.PathError
	Short bool          // do half of a read or a write, then fail
	After bool          // do the whole operation, then fail nevertheless
	Flip  bool          // flip one bit of the data read; without Err the read succeeds
	Delay time.Duration // wait first; Clear ends the wait; without Err the call then succeeds
}

// Fired is the state of a rule. Tests check that their fault fired: one that
// never did has tested nothing.
type Fired struct {
	rule    Rule          // immutable
	fs      *FS           // immutable
	done    chan struct{} // closed when the rule is cleared
	matched atomic.Int64
	fired   atomic.Int64
}

// Count returns how many calls the rule failed or delayed.
func (f *Fired) Count() int { return int(f.fired.Load()) }

// Matched returns how many calls matched the rule, failed or not.
func (f *Fired) Matched() int { return int(f.matched.Load()) }

// Remove removes the rule, and wakes the calls that it delays.
func (f *Fired) Remove() { f.fs.remove(f) }

// FS passes every call to another file system, except for those that its rules
// make fail. Each rule counts each call that matches it. If several rules are
// due for a call, the one injected first acts.
type FS struct {
	faultView
	mu    sync.Mutex
	rules atomic.Pointer[[]*Fired] // replaced under mu
}

// New wraps a file system. Without rules the result behaves like it.
func New(inner vfs.FS) *FS {
	f := &FS{}
	f.faultView = faultView{f: f, inner: inner}
	return f
}

// Inject adds a rule. A malformed pattern is a bug of the caller, and panics.
func (f *FS) Inject(r Rule) *Fired {
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
func (f *FS) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.load() {
		close(r.done)
	}
	f.store(nil)
}

func (f *FS) remove(fired *Fired) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.load(), fired); i >= 0 {
		close(fired.done)
		f.store(slices.Delete(slices.Clone(f.load()), i, i+1))
	}
}

func (f *FS) load() []*Fired {
	if p := f.rules.Load(); p != nil {
		return *p
	}
	return nil
}

func (f *FS) store(rules []*Fired) {
	if len(rules) == 0 {
		f.rules.Store(nil)
		return
	}
	f.rules.Store(&rules)
}

// due counts a call for every rule and returns the first rule that acts, after
// its delay.
func (f *FS) due(op OpKind, name string) *Fired {
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

// count counts a matching call, and reports whether the rule acts on it. It may
// act only if free is set.
func (f *Fired) count(free bool) bool {
	n := f.matched.Add(1) - int64(f.rule.Skip)
	if n <= 0 || !free || f.rule.Every > 0 && n%int64(f.rule.Every) != 0 {
		return false
	}
	if n := f.fired.Add(1); f.rule.Count > 0 && n > int64(f.rule.Count) {
		f.fired.Add(-1)
		return false
	}
	return true
}

// do performs an operation that a rule may replace.
func (f *FS) do(op OpKind, verb, name string, call func() error) error {
	r := f.due(op, name)
	if r == nil || r.rule.Err == nil {
		return call()
	}
	if r.rule.After || op == OpClose { // a file that is not closed would leak
		if err := call(); err != nil {
			return err
		}
	}
	return vfs.PathError(verb, name, r.rule.Err)
}
