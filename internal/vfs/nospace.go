package vfs

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/seerdb-go/seerdb/internal/base"
)

// This is where an error of the operating system becomes base.ErrNoSpace, and the
// only place. A CountingFS does it for all that goes through it, so that no
// package above has to remember.

// IsNoSpace reports whether a write or a creation failed for lack of room: the
// device, the quota, or the largest size a file may have. Such an error goes
// away by itself. It says nothing about a failed sync, whatever its errno.
func IsNoSpace(err error) bool {
	for _, full := range errsNoSpace {
		if errors.Is(err, full) {
			return true
		}
	}
	return errors.Is(err, base.ErrNoSpace) || errors.Is(err, syscall.ENOSPC)
}

// Cannot gives an I/O error its sentence, which says what was tried. A full disk that a
// sync of a table reports is one too: the table is written again into a new file.
func Cannot(do string, err error) error {
	return fmt.Errorf("seerdb: cannot %s: %w", do, NoSpace(err))
}

// NoSpace makes an error for lack of room base.ErrNoSpace, and returns any other
// as it is. It is not for errors of a sync.
func NoSpace(err error) error {
	if err == nil || errors.Is(err, base.ErrNoSpace) || !IsNoSpace(err) {
		return err
	}
	return &noSpaceError{err}
}

type noSpaceError struct{ err error }

func (e *noSpaceError) Error() string        { return e.err.Error() }
func (e *noSpaceError) Unwrap() error        { return e.err }
func (e *noSpaceError) Is(target error) bool { return target == base.ErrNoSpace }
