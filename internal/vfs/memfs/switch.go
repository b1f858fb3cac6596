package memfs

import (
	"errors"
	"math"
	"path"
	"path/filepath"
)

// These switches make an FS fail: the power goes (FreezeAt), the device is full
// (SetCapacity), the device lies (SetLyingSync), a sync fails and takes the
// data with it (FailSync).

// ErrFrozen is the error of every operation on an FS after its crash point.
var ErrFrozen = errors.New("memfs: the file system is frozen at its crash point")

// unlimited is the room of a file system without a capacity.
const unlimited = math.MaxInt64 / 2

// Ops returns the number of successful operations so far that changed
// something: the creation of a file or directory, an append, a truncation, a
// sync, a rename, a removal.
func (m *FS) Ops() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.ops
}

// FreezeAt makes operation number k of Ops, and everything after it, reads
// included, fail with ErrFrozen and have no effect. A test that repeats its
// scenario with k = 1, 2, ... until Frozen stays false has crashed at every
// possible point. A k in the past freezes at once; 0 never freezes.
func (m *FS) FreezeAt(k int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.freezeAt = k
	m.frozen = k > 0 && m.ops >= k
}

// Frozen reports whether the crash point was reached.
func (m *FS) Frozen() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.frozen
}

// stepLocked counts an operation that is about to happen, or refuses it.
func (m *FS) stepLocked() error {
	if m.frozen || m.freezeAt > 0 && m.ops+1 >= m.freezeAt {
		m.frozen = true
		return ErrFrozen
	}
	m.ops++
	return nil
}

// SetCapacity limits the bytes of all files together, including preallocated
// room; 0 means no limit. If the capacity is below what is used, nothing can be
// added. On a full file system writes append what fits and fail with ENOSPC,
// and nothing can be created; everything else works.
func (m *FS) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// Used returns the bytes of all files together.
func (m *FS) Used() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.used
}

func (m *FS) freeLocked() int64 {
	if m.capacity == 0 {
		return unlimited - m.used
	}
	return m.capacity - m.used
}

// SetLyingSync makes every sync return success and do nothing, as some devices
// do. It is the negative control of a crash test: with it the test must fail.
func (m *FS) SetLyingSync(lying bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lying = lying
}

// SyncFailure is the effect of a failed sync on the data; file systems differ
// (Rebello et al., ATC 2020).
type SyncFailure int

const (
	// SyncKeepsDirty keeps the data dirty: a second sync would write it.
	SyncKeepsDirty SyncFailure = iota
	// SyncForgets keeps the data readable but marks it clean: a second sync
	// returns success, and after a crash the bytes are zeros (ext4, XFS).
	SyncForgets
	// SyncReverts makes the file what the device holds (Btrfs).
	SyncReverts
)

// syncFault is an armed failure.
type syncFault struct {
	pattern string
	model   SyncFailure
	err     error
}

// FailSync makes the next sync of a file or directory whose base name matches
// the pattern (path.Match) fail with err. Several failures may be armed; each
// acts once. For directories the model is always SyncKeepsDirty.
func (m *FS) FailSync(pattern string, model SyncFailure, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failSync = append(m.failSync, syncFault{pattern, model, err})
}

// takeSyncFaultLocked disarms and returns the first armed failure for a name.
func (m *FS) takeSyncFaultLocked(name string) (syncFault, bool) {
	for i, f := range m.failSync {
		if ok, _ := path.Match(f.pattern, path.Base(filepath.ToSlash(name))); ok {
			m.failSync = append(m.failSync[:i:i], m.failSync[i+1:]...)
			return f, true
		}
	}
	return syncFault{}, false
}

func (m *FS) syncFileLocked(f *memFile) error {
	file := &f.node.file
	if fault, ok := m.takeSyncFaultLocked(f.name); ok {
		switch fault.model {
		case SyncForgets:
			file.forget()
		case SyncReverts:
			before := file.room()
			file.revert()
			m.used += file.room() - before
		}
		return fault.err
	}
	if !m.lying {
		file.settle()
	}
	return nil
}

func (m *FS) syncDirLocked(d *memDir) error {
	if fault, ok := m.takeSyncFaultLocked(d.name); ok {
		return fault.err
	}
	if !m.lying {
		d.node.dir.settle()
	}
	return nil
}
