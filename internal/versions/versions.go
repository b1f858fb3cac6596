// Package versions keeps the manifest of an open database and hands out file numbers.
//
// Before an opening may use file numbers, it reserves them in the manifest. So the next
// opening can tell files that a killed process left half written from other files with such
// names, and logs of this opening from those of another one. A reservation costs an edit,
// so each reserves many numbers. No number is used twice, even if a job failed or the
// process died. The only exception is an Open that fails before CURRENT names its manifest:
// its numbers are free again once its files are removed.
package versions

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/poison"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

const (
	// reserveMin is the fewest numbers that an edit reserves.
	reserveMin = 64
	// reserveLow is how few reserved numbers may be left before an edit reserves more. It
	// makes creators of logs and tables seldom wait for an edit.
	reserveLow = reserveMin / 2
)

// Options of a Set.
type Options struct {
	Latch *poison.Latch
	// Poison is called when it is unknown which part of the manifest is durable. The set
	// may be locked during the call.
	Poison func(cause error)
}

// Set is the versions of an open database; the manifest names the current one. Methods that
// append to the manifest require the set to be locked, so that a caller can check the
// manifest and append to it in one step; Reserve and SyncKeyspaces lock it themselves. Open
// calls Create, Restore, Begin, Install, Made and Undo before anything else uses the set.
// The other methods are safe for concurrent use.
type Set struct {
	o           Options
	incarnation uint64 // immutable: that of the files that this opening writes

	// Immutable once Create or Restore has returned.
	db    uint64
	first base.FileNum // the first number that this opening hands out

	mu  sync.Mutex
	log *manifest.Log // guarded by mu after Open; nil if read-only or closed: nothing can be recorded

	next     atomic.Uint64 // the next number
	reserved atomic.Uint64 // numbers below this may be handed out; stored under mu
	// made is above the numbers of all keyspaces; durable is above those of the keyspaces
	// that survive a crash of the system. Both are stored under mu.
	made, durable atomic.Uint32

	// opening is true while Open recovers a database and CURRENT does not yet name its
	// manifest. files are the files that Open has made since, which Undo removes. Only Open
	// writes both, before anything else runs.
	opening bool
	files   []string
}

// New returns the versions of a database, for Create or Restore to initialize.
func New(o Options) *Set {
	s := &Set{o: o}
	for s.incarnation == 0 { // 0 is the incarnation of format 1
		s.incarnation = rand.Uint64()
	}
	return s
}

// DB returns the number of the database, which all its files carry.
func (s *Set) DB() uint64 { return s.db }

// Incarnation returns the number of this opening, which the files that it writes carry.
func (s *Set) Incarnation() uint64 { return s.incarnation }

// Create begins a database with an empty manifest in fs. A directory without CURRENT is no
// database yet, so Create accepts a directory that a crash during Create left behind. But
// tables or logs without CURRENT mean that something was lost, and manifest.Create refuses
// them.
func (s *Set) Create(fs vfs.FS) (*manifest.Version, error) {
	s.db = rand.Uint64() | 1
	s.first = 1
	s.next.Store(1)
	log, err := manifest.Create(fs, vfs.Top, s.db, s.incarnation)
	if err != nil {
		return nil, vfs.Cannot("create the manifest", err)
	}
	s.log = log
	return log.Version(), nil
}

// Restore initializes the set from a manifest; names are those in the directory. After
// Restore, Made records files, so that Undo can remove them.
func (s *Set) Restore(st *manifest.State, names []string) {
	s.opening = true
	s.db = st.DBID
	s.first = manifest.FreeAbove(names, st.NextFile)
	s.next.Store(uint64(s.first))
}

// Begin writes a new manifest to fs that begins with st, unless it has done so already.
// CURRENT does not name the manifest before Install.
func (s *Set) Begin(fs vfs.FS, st *manifest.State) error {
	if s.log != nil {
		return nil
	}
	next := *st
	next.FirstFile = s.first
	next.NextFile = s.reservation()
	log, err := manifest.Begin(fs, vfs.Top, &next, s.incarnation)
	if err != nil {
		return vfs.Cannot("begin a new manifest", err)
	}
	s.log = log
	s.reserved.Store(uint64(next.NextFile))
	return nil
}

// Install makes CURRENT name the new manifest. If it fails and CURRENT may name the
// manifest nevertheless, Undo will remove no files.
func (s *Set) Install() error {
	unsure, err := s.log.Install()
	if err == nil || unsure {
		s.opening, s.files = false, nil
	}
	if err != nil {
		return vfs.Cannot("begin a new manifest", err)
	}
	return nil
}

// Made records a new file for Undo.
func (s *Set) Made(id base.Identity) {
	if s.opening {
		s.files = append(s.files, id.Name())
	}
}

// Undo removes from fs the files of a failed Open, none of which CURRENT names. It removes
// the manifest last, since that says which numbers the other files have.
func (s *Set) Undo(fs vfs.FS) {
	for _, name := range s.files {
		_ = fs.Remove(name)
	}
	s.files = nil
	if s.log != nil {
		s.log.Discard()
	}
}

// Lock locks the set: until Unlock only the caller changes the manifest.
func (s *Set) Lock() { s.mu.Lock() }

// Unlock unlocks the set.
func (s *Set) Unlock() { s.mu.Unlock() }

// Manifest returns the manifest, or nil if nothing can be recorded. The set is locked.
func (s *Set) Manifest() *manifest.Log { return s.log }

// Close closes the manifest; nothing can be recorded afterwards. The set is locked, or the
// caller is alone. A second Close does nothing.
func (s *Set) Close() error {
	if s.log == nil {
		return nil
	}
	log := s.log
	s.log = nil
	return log.Close()
}

// NewFileNum hands out the next file number.
func (s *Set) NewFileNum() base.FileNum { return base.FileNum(s.next.Add(1) - 1) }

// NewIdentity returns the identity of a new file.
func (s *Set) NewIdentity(t base.FileType) base.Identity {
	return base.Identity{DB: s.db, Type: t, Num: s.NewFileNum(), Incarnation: s.incarnation}
}

// Numbers returns the range of file numbers that this opening has handed out: first <= n <
// next.
func (s *Set) Numbers() (first, next base.FileNum) { return s.first, base.FileNum(s.next.Load()) }

// Reserved reports whether the manifest says that a number may be in use.
func (s *Set) Reserved(n base.FileNum) bool { return uint64(n) < s.reserved.Load() }

// reservation returns the value of NextFile for the next edit: 0 if enough numbers are
// left.
func (s *Set) reservation() base.FileNum {
	next := s.next.Load()
	if next+reserveLow <= s.reserved.Load() {
		return 0
	}
	return base.FileNum(next + max(reserveMin, next-uint64(s.first)))
}

// Reserve makes sure that a job may take a file number next. Up to reserveLow jobs may rely
// on it concurrently.
func (s *Set) Reserve() error {
	if s.reservation() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reservation() == 0 {
		return nil
	}
	if err := s.Appendable(); err != nil {
		return err
	}
	return s.Append(new(manifest.Edit))
}

// Appendable returns the reason why nothing can be appended to the manifest, or nil. The
// set is locked.
func (s *Set) Appendable() error {
	switch cause := s.o.Latch.Cause(); {
	case cause != nil:
		return fmt.Errorf("%w: %w", base.ErrReadOnly, cause)
	case s.log == nil:
		return base.ErrClosed
	}
	return nil
}

// Append writes and syncs an edit, which makes the next version current. The edit also
// reserves numbers if few are left. An edit that does not fit the version is not written,
// but poisons the database too. The set is locked, and appendable.
func (s *Set) Append(edit *manifest.Edit) error {
	if err := failpoint.Hit(failpoint.ManifestBeforeAppend); err != nil {
		return err
	}
	edit.NextFile = s.reservation()
	return s.appended(s.log.Append(edit))
}

// AppendLater is like Append, but the edit becomes durable with the next Append or Sync.
// The set is locked, and appendable.
func (s *Set) AppendLater(edit *manifest.Edit) error {
	if err := s.log.AppendLater(edit); err != nil {
		return s.appended(err)
	}
	s.made.Store(s.log.State().NextKeyspace)
	return nil
}

// Sync makes all appended edits durable. The set is locked.
func (s *Set) Sync() error {
	if err := s.Appendable(); err != nil {
		return err
	}
	return s.appended(s.log.Sync())
}

// appended handles the result of every append to the manifest and every sync of it.
func (s *Set) appended(err error) error {
	switch {
	case err == nil:
		st := s.log.State()
		s.reserved.Store(uint64(st.NextFile))
		s.durable.Store(st.NextKeyspace)
		return nil
	case errors.Is(err, base.ErrNoSpace) && s.log.Err() == nil:
		// The manifest was cut back: the edit did not happen, and the job that
		// needs it is tried again.
		return fmt.Errorf("manifest: %w", err)
	}
	s.o.Poison(fmt.Errorf("manifest: %w", err))
	return s.o.Latch.Refusal()
}

// DurableKeyspaces returns a number above those of the keyspaces that survive a crash of
// the system.
func (s *Set) DurableKeyspaces() uint32 { return s.durable.Load() }

// SyncKeyspaces makes all created keyspaces durable.
func (s *Set) SyncKeyspaces() error {
	if s.made.Load() <= s.durable.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Sync()
}
