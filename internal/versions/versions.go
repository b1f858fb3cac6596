// Package versions keeps the manifest of an open database and hands out file numbers.
//
// The manifest says which file numbers an opening may have handed out before it hands them
// out: so the next opening can tell what a kill left half written from files of others that
// have such a name, and logs of this opening from those of another one. A reservation costs an
// edit, so numbers are reserved many at a time. A number is never used twice, even by a job
// that failed or a process that died. Only those of an Open that did not get as far as
// CURRENT are free again, once their files are gone.
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
	// reserveMin is the fewest numbers to reserve.
	reserveMin = 64
	// reserveLow is how few may be left, so that the makers of logs and tables
	// seldom wait for an edit.
	reserveLow = reserveMin / 2
)

// Options of a Set.
type Options struct {
	Latch *poison.Latch
	// Poison is called when it is not known what of the manifest is durable. It may be
	// called with the set locked.
	Poison func(cause error)
}

// Set is the versions of an open database: the manifest names the current one. Methods that
// append to the manifest want the set locked, so that their caller can make what it looked at
// and what it appends one step; Reserve and SyncKeyspaces lock it themselves. Create, Restore,
// Begin, Install, Made and Undo are for Open, while it is alone. The others are safe for
// concurrent use.
type Set struct {
	o           Options
	incarnation uint64 // immutable: that of the files which this opening writes

	// Immutable once Create or Restore has returned.
	db    uint64
	first base.FileNum // the first number that this opening hands out

	mu  sync.Mutex
	log *manifest.Log // guarded by mu once Open is through; nil where nothing can be recorded: read-only, or closed

	next     atomic.Uint64 // the next number
	reserved atomic.Uint64 // numbers below may be handed out; stored under mu
	// made is above the numbers of all keyspaces, and durable above those of keyspaces that a
	// crash of the system cannot take away. Both are stored under mu.
	made, durable atomic.Uint32

	// opening says that Open brings a database back and that CURRENT does not yet name
	// what it made, the files: undo removes them. Written by Open alone, before anything
	// else runs.
	opening bool
	files   []string
}

// New returns the versions of a database that is neither created nor restored yet.
func New(o Options) *Set {
	s := &Set{o: o}
	for s.incarnation == 0 { // which is that of format 1
		s.incarnation = rand.Uint64()
	}
	return s
}

// DB is the number of the database, which all its files carry.
func (s *Set) DB() uint64 { return s.db }

// Incarnation is the number of this opening, which the files that it writes carry.
func (s *Set) Incarnation() uint64 { return s.incarnation }

// Create begins a database with an empty manifest, through fs. Until CURRENT is there nothing
// counts, so a crash in here leaves a directory that Create accepts again. Tables or logs
// without CURRENT are another matter: something was lost, and manifest.Create refuses.
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

// Restore takes over what a manifest says; names are those in the directory. From here on
// files are noted, so that Undo can remove them.
func (s *Set) Restore(st *manifest.State, names []string) {
	s.opening = true
	s.db = st.DBID
	s.first = manifest.FreeAbove(names, st.NextFile)
	s.next.Store(uint64(s.first))
}

// Begin writes a new manifest that begins with st, through fs, unless that was done. CURRENT
// does not name it before Install.
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

// Install makes CURRENT name the new manifest. After an error nothing is undone where CURRENT
// may name it all the same.
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

// Made notes a new file for Undo.
func (s *Set) Made(id base.Identity) {
	if s.opening {
		s.files = append(s.files, id.Name())
	}
}

// Undo removes from fs what a failed Open has made: CURRENT names none of it. The manifest goes
// last, as it says which numbers the others have.
func (s *Set) Undo(fs vfs.FS) {
	for _, name := range s.files {
		_ = fs.Remove(name)
	}
	s.files = nil
	if s.log != nil {
		s.log.Discard()
	}
}

// Lock locks the set: until Unlock nothing but the caller changes the manifest.
func (s *Set) Lock() { s.mu.Lock() }

// Unlock ends what Lock began.
func (s *Set) Unlock() { s.mu.Unlock() }

// Manifest returns the manifest, or nil where nothing can be recorded. The set is locked.
func (s *Set) Manifest() *manifest.Log { return s.log }

// Close closes the manifest; nothing can be recorded from then on. The set is locked, or the
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

// NewIdentity is that of a new file.
func (s *Set) NewIdentity(t base.FileType) base.Identity {
	return base.Identity{DB: s.db, Type: t, Num: s.NewFileNum(), Incarnation: s.incarnation}
}

// Numbers are the file numbers that this opening has handed out: from first up to next.
func (s *Set) Numbers() (first, next base.FileNum) { return s.first, base.FileNum(s.next.Load()) }

// Reserved reports whether the manifest says that a number may be in use.
func (s *Set) Reserved(n base.FileNum) bool { return uint64(n) < s.reserved.Load() }

// reservation is what the next edit shall reserve: 0 if enough numbers are left.
func (s *Set) reservation() base.FileNum {
	next := s.next.Load()
	if next+reserveLow <= s.reserved.Load() {
		return 0
	}
	return base.FileNum(next + max(reserveMin, next-uint64(s.first)))
}

// Reserve makes sure that a job may take a file number next: up to reserveLow jobs at the same
// time.
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

// Appendable is why nothing can be appended to the manifest, or nil. The set is locked.
func (s *Set) Appendable() error {
	switch cause := s.o.Latch.Cause(); {
	case cause != nil:
		return fmt.Errorf("%w: %w", base.ErrReadOnly, cause)
	case s.log == nil:
		return base.ErrClosed
	}
	return nil
}

// Append writes and syncs an edit; then the manifest has the next version. The edit reserves
// numbers too, if few are left. One that does not fit the version poisons as well, and was not
// written. The set is locked, and appendable.
func (s *Set) Append(edit *manifest.Edit) error {
	if err := failpoint.Hit(failpoint.ManifestBeforeAppend); err != nil {
		return err
	}
	edit.NextFile = s.reservation()
	return s.appended(s.log.Append(edit))
}

// AppendLater is Append for an edit that is durable with the next Append or Sync. The set is
// locked, and appendable.
func (s *Set) AppendLater(edit *manifest.Edit) error {
	if err := s.log.AppendLater(edit); err != nil {
		return s.appended(err)
	}
	s.made.Store(s.log.State().NextKeyspace)
	return nil
}

// Sync makes durable what was appended. The set is locked.
func (s *Set) Sync() error {
	if err := s.Appendable(); err != nil {
		return err
	}
	return s.appended(s.log.Sync())
}

// appended is the end of everything that appends to the manifest or syncs it.
func (s *Set) appended(err error) error {
	switch {
	case err == nil:
		st := s.log.State()
		s.reserved.Store(uint64(st.NextFile))
		s.durable.Store(st.NextKeyspace)
		return nil
	case errors.Is(err, base.ErrNoSpace) && s.log.Err() == nil:
		// The manifest was cut back: the edit did not happen, and the job that
		// wants it is tried again.
		return fmt.Errorf("manifest: %w", err)
	}
	s.o.Poison(fmt.Errorf("manifest: %w", err))
	return s.o.Latch.Refusal()
}

// DurableKeyspaces is above the numbers of keyspaces that a crash of the system cannot take
// away.
func (s *Set) DurableKeyspaces() uint32 { return s.durable.Load() }

// SyncKeyspaces makes all keyspaces durable that were created.
func (s *Set) SyncKeyspaces() error {
	if s.made.Load() <= s.durable.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Sync()
}
