package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/failpoint"
	"github.com/seerdb-go/seerdb/internal/record"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// A manifest is rewritten as a snapshot when it is longer than rotateMin and
// than rotateFactor snapshots. The factor bounds both what opening reads and
// what rewriting adds: an edit is written 1 + 1/(factor-1) times on average.
const (
	rotateMin    = 1 << 20
	rotateFactor = 4
)

// Log is the manifest being written. Its methods are safe for concurrent use.
type Log struct {
	// Immutable.

	fs  vfs.FS
	dir string

	state atomic.Pointer[State] // stored under mu

	mu sync.Mutex

	// Guarded by mu.

	file      vfs.File
	id        base.Identity
	lastNum   base.FileNum // of the last manifest that was attempted
	size      int64        // of the file
	synced    int64        // the durable part of size
	rotateAt  int64        // the size at which the manifest is rotated
	rotateErr error        // of the last rotation
	installed bool         // CURRENT names this manifest, or may
	buf       []byte
	err       error // what poisoned the log
	later     bool  // there are edits beyond synced that no caller relies on yet
}

// Create makes the manifest of a new, empty database. It ignores what a crash
// during an earlier Create left behind. It refuses a directory with data but no
// CURRENT, because that CURRENT was lost.
func Create(fsys vfs.FS, dir string, dbID, incarnation uint64) (*Log, error) {
	switch _, err := readCurrent(fsys, dir); {
	case err == nil:
		return nil, base.ErrExists
	case !errors.Is(err, base.ErrNotExist):
		return nil, err
	}
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		switch t, _, _ := base.ParseFileName(name); t {
		case base.FileTypeTable, base.FileTypePack, base.FileTypeValues, base.FileTypeLog:
			return nil, base.Corruptf(base.FileName(base.FileTypeCurrent, 0), -1, "the file is missing, but %s is there", name)
		}
	}
	return Start(fsys, dir, &State{
		Version:   &Version{Values: map[base.FileNum]*ValueFile{}},
		DBID:      dbID,
		FirstFile: 1, NextFile: 1,
	}, incarnation)
}

// Start is Begin and Install, for a manifest that needs no edit before CURRENT
// names it.
func Start(fsys vfs.FS, dir string, s *State, incarnation uint64) (*Log, error) {
	l, err := Begin(fsys, dir, s, incarnation)
	if err != nil {
		return nil, err
	}
	if _, err := l.Install(); err != nil {
		l.Discard()
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// Begin writes a new manifest with the state that Recover returned. Edits may
// be appended to it, but until Install, CURRENT names the manifest before it.
// Begin changes and removes no older file. The manifest has the newest format,
// whatever that of s.
func Begin(fsys vfs.FS, dir string, s *State, incarnation uint64) (*Log, error) {
	l := &Log{fs: fsys, dir: dir}
	next := *s
	next.Format, next.Incarnation, next.Closed = base.FormatNewest, incarnation, nil
	m, err := l.write(&next, s.ManifestNum+1)
	if err != nil {
		return nil, err
	}
	l.use(m)
	return l, nil
}

// Install makes CURRENT name the manifest that Begin wrote, with all edits
// since. If it fails, unsure reports whether CURRENT may name it nevertheless;
// if not, the manifest is removed.
func (l *Log) Install() (unsure bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir, err := l.fs.OpenDir(l.dir)
	if err != nil {
		return false, wrap(l.id, err)
	}
	defer dir.Close()
	// The names of the manifest, and of the files that it names, must be
	// durable before CURRENT names it.
	if err := dir.Sync(); err != nil {
		return false, wrap(l.id, err)
	}
	unsure, err = l.install(&written{state: l.State(), file: l.file, id: l.id, size: l.synced}, dir)
	l.installed = err == nil || unsure
	return unsure, err
}

// Discard closes and removes a manifest that Install has not installed.
// Otherwise it does nothing.
func (l *Log) Discard() {
	l.mu.Lock()
	file, installed := l.file, l.installed
	l.mu.Unlock()
	if file == nil || installed {
		return
	}
	_ = l.Close()
	_ = l.fs.Remove(l.fs.PathJoin(l.dir, l.id.Name()))
}

// written is a manifest made by write.
type written struct {
	state *State
	file  vfs.File
	id    base.Identity
	size  int64
}

// write makes a manifest with a snapshot of s, durable except for its name. Its
// number is num, or the first number after it whose name is free: write touches
// no existing file. If it fails it removes the file if it can.
func (l *Log) write(s *State, num base.FileNum) (*written, error) {
	next := *s
	next.ManifestNum = num
	m := &written{state: &next, id: next.identity()}
	var path string
	var err error
	for ; ; m.id.Num++ {
		path = l.fs.PathJoin(l.dir, m.id.Name())
		m.file, err = l.fs.Create(path)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, wrap(m.id, err)
		}
	}
	next.ManifestNum = m.id.Num
	buf := record.AppendFileHeader(nil, m.id, m.id.Format(), nil)
	buf = record.Append(buf, m.id, int64(len(buf)), record.KindData, 0, AppendEdit(nil, next.snapshot()))
	m.size = int64(len(buf))
	if _, err = m.file.Write(buf); err == nil {
		err = m.file.Sync()
	}
	if err == nil {
		err = failpoint.Hit(failpoint.ManifestAfterRotateWrite)
	}
	if err != nil {
		_ = m.file.Close()
		_ = l.fs.Remove(path)
		return nil, wrap(m.id, err)
	}
	return m, nil
}

// install makes CURRENT name m, whose own name is durable in dir, the database
// directory. If it fails, unsure reports whether CURRENT may name m
// nevertheless; if not, it removes m's file.
func (l *Log) install(m *written, dir vfs.Dir) (unsure bool, err error) {
	defer func() {
		if err != nil && !unsure {
			_ = l.fs.Remove(l.fs.PathJoin(l.dir, m.id.Name()))
		}
	}()
	c := current{format: m.state.Format, db: m.state.DBID, incarnation: m.id.Incarnation, manifest: m.id.Num, synced: m.size}
	temp, err := c.writeTemp(l.fs, l.dir)
	if err != nil {
		return false, wrap(m.id, err)
	}
	if err := l.fs.Rename(temp, l.fs.PathJoin(l.dir, base.FileName(base.FileTypeCurrent, 0))); err != nil {
		// A rename that failed most likely did not happen. If CURRENT is still
		// the old one, it will not happen any more.
		old, rerr := readCurrent(l.fs, l.dir)
		unsure = rerr != nil && !errors.Is(rerr, base.ErrNotExist) || rerr == nil && old.manifest == m.id.Num
		if !unsure {
			_ = l.fs.Remove(temp)
		}
		return unsure, wrap(m.id, err)
	}
	if err := failpoint.Hit(failpoint.ManifestAfterCurrent); err != nil {
		return true, err
	}
	if err := dir.Sync(); err != nil {
		return true, wrap(m.id, err)
	}
	return false, nil
}

// Seal makes CURRENT record that the database is closed, with the lengths of
// the manifest and of the needed logs, so that a later opening notices a loss.
// If it fails CURRENT has either its old content or the new.
func (l *Log) Seal(logs []ClosedLog) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return l.err
	case l.file == nil:
		return base.ErrClosed
	case l.later:
		if err := l.settle(l.State()); err != nil {
			return err
		}
	}
	c := current{format: l.State().Format, db: l.id.DB, incarnation: l.id.Incarnation, manifest: l.id.Num, synced: l.synced, closed: logs}
	temp, err := c.writeTemp(l.fs, l.dir)
	if err != nil {
		return wrap(l.id, err)
	}
	if err := l.fs.Rename(temp, l.fs.PathJoin(l.dir, base.FileName(base.FileTypeCurrent, 0))); err != nil {
		_ = l.fs.Remove(temp)
		return wrap(l.id, err)
	}
	return vfs.SyncDir(l.fs, l.dir)
}

// use makes m the manifest that edits are appended to.
func (l *Log) use(m *written) {
	l.file, l.id, l.size, l.synced, l.later = m.file, m.id, m.size, m.size, false
	l.lastNum = m.id.Num
	l.rotateAt = max(rotateMin, rotateFactor*m.size)
	l.state.Store(m.state)
}

// State returns the current state.
func (l *Log) State() *State { return l.state.Load() }

// Version returns the version after the last edit.
func (l *Log) Version() *Version { return l.state.Load().Version }

// Err returns the error that poisoned the log, or nil.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// RotateErr returns the error of the last rotation, or nil. A failed rotation
// only leaves the manifest longer.
func (l *Log) RotateErr() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rotateErr
}

// Append makes an edit durable; the edit takes effect then and not before. It
// refuses an edit that does not fit the version, and writes nothing. On a full
// disk the edit has no effect, the error wraps base.ErrNoSpace, and Append may
// be tried again. Any other failure poisons the log: whether the edit took
// effect is unknown until the manifest is read again, and every later Append
// returns the cause.
func (l *Log) Append(e *Edit) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next, err := l.put(e)
	if err != nil {
		return err
	}
	return l.settle(next)
}

// AppendLater is Append without the sync: the edit takes effect in this
// process, and survives a crash of the system from the next Append, Sync or
// Seal on.
func (l *Log) AppendLater(e *Edit) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next, err := l.put(e)
	if err != nil {
		return err
	}
	l.state.Store(next)
	l.later = true
	return nil
}

// Sync makes the edits of AppendLater durable. Its errors are those of Append.
func (l *Log) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.later:
		return nil
	case l.err != nil:
		return fmt.Errorf("%w: %w", base.ErrReadOnly, l.err)
	case l.file == nil:
		return base.ErrClosed
	}
	return l.settle(l.State())
}

// put writes an edit, and returns the state after it. The caller holds mu.
func (l *Log) put(e *Edit) (*State, error) {
	if l.err != nil {
		return nil, fmt.Errorf("%w: %w", base.ErrReadOnly, l.err)
	}
	if l.file == nil {
		return nil, base.ErrClosed
	}
	next, err := l.State().apply(e)
	if err != nil {
		return nil, err
	}
	if err := failpoint.Hit(failpoint.ManifestBeforeAppend); err != nil {
		return nil, l.poison(err)
	}
	l.buf = record.Append(l.buf[:0], l.id, l.size, record.KindData, l.synced, AppendEdit(nil, e))
	if err := l.writeOrCut(l.buf); err != nil {
		return nil, err
	}
	return next, nil
}

// settle makes appended edits durable, and next the current state. The caller
// holds mu.
func (l *Log) settle(next *State) error {
	if err := l.sync(); err != nil {
		return l.poison(err)
	}
	l.state.Store(next)
	l.mark()
	if l.err == nil && l.installed && l.size >= l.rotateAt {
		l.rotate()
	}
	return nil
}

// writeOrCut appends p to the file. If the disk is full it truncates the file
// to its old length.
func (l *Log) writeOrCut(p []byte) error {
	_, err := l.file.Write(p)
	if err == nil {
		l.size += int64(len(p))
		return nil
	}
	if !vfs.IsNoSpace(err) {
		return l.poison(err)
	}
	if cut := l.file.Truncate(l.size); cut != nil {
		return l.poison(errors.Join(err, fmt.Errorf("truncating the manifest after a full disk: %w", cut)))
	}
	return wrap(l.id, err)
}

func (l *Log) sync() error {
	if err := failpoint.Hit(failpoint.ManifestAfterAppend); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("sync of the manifest: %w", err)
	}
	l.synced, l.later = l.size, false
	return failpoint.Hit(failpoint.ManifestAfterSync)
}

// mark appends a record that the edit before it is durable. Without it, damage
// to the last edit would look like a torn tail, and recovery would drop the
// edit and the tables it names. The mark itself is not synced.
func (l *Log) mark() {
	l.buf = record.Append(l.buf[:0], l.id, l.size, record.KindMark, l.synced, nil)
	_ = l.writeOrCut(l.buf) // if there is no room the mark is left out; other errors poison the log
}

func (l *Log) poison(cause error) error {
	if l.err == nil {
		l.err = fmt.Errorf("%s is unusable: %w", l.id.Name(), base.Lasting(cause))
	}
	return l.err
}

// rotate replaces the manifest by a snapshot. The edit that triggered it is
// durable already, whether rotate succeeds or not.
func (l *Log) rotate() {
	// Use a new number for each attempt: the file of a failed one may exist.
	l.lastNum++
	m, unsure, err := l.replace()
	l.rotateErr = err
	switch {
	case unsure:
		// Either manifest may be the one in use after a crash. Both hold every
		// edit so far, but a further edit would go to only one of them.
		_ = l.poison(err)
	case err != nil:
		l.rotateAt = 2 * l.size
	default:
		old := l.id
		_ = l.file.Close()
		l.use(m)
		_ = l.fs.Remove(l.fs.PathJoin(l.dir, old.Name()))
	}
}

// replace does rotate's work up to the point where CURRENT names the new
// manifest.
func (l *Log) replace() (m *written, unsure bool, err error) {
	// Open the directory first: if no descriptor is left, fail before anything
	// has changed.
	dir, err := l.fs.OpenDir(l.dir)
	if err != nil {
		return nil, false, err
	}
	defer dir.Close()
	if m, err = l.write(l.State(), l.lastNum); err != nil {
		return nil, false, err
	}
	if err = dir.Sync(); err != nil {
		unsure = true // if the directory cannot be synced, names of other files may be lost too
	} else {
		unsure, err = l.install(m, dir)
	}
	if err != nil {
		_ = m.file.Close()
	}
	return m, unsure, err
}

// Verify reads CURRENT and the manifest again, by their names, and compares
// them with what was written. It returns a *base.CorruptionError if they
// differ.
func (l *Log) Verify() error {
	for {
		l.mu.Lock()
		s, file, length := l.State(), l.file, l.synced
		if l.later {
			length = l.size
		}
		l.mu.Unlock()
		if file == nil {
			return base.ErrClosed
		}
		err := verify(l.fs, l.dir, s, length)
		// During a rotation CURRENT names the new manifest before State does.
		l.mu.Lock()
		same := l.file == file
		l.mu.Unlock()
		if same {
			return err
		}
	}
}

func verify(fsys vfs.FS, dir string, want *State, length int64) error {
	c, err := readCurrent(fsys, dir)
	if err != nil {
		return err
	}
	name := base.FileName(base.FileTypeCurrent, 0)
	if got := (&State{DBID: c.db, Incarnation: c.incarnation, ManifestNum: c.manifest}).identity(); got != want.identity() {
		return base.Corruptf(name, -1, "the file names %v, expected %v", got, want.identity())
	}
	got, err := recoverFrom(fsys, dir, &c, length)
	if err != nil {
		return err
	}
	if got.Version.String() != want.Version.String() || got.LogNum != want.LogNum || got.NextKeyspace != want.NextKeyspace {
		return base.Corruptf(want.identity().Name(), -1, "its edits differ from those that were written")
	}
	return nil
}

// Close closes the file, without a sync: appended edits are durable.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		return wrap(l.id, err)
	}
	return nil
}
