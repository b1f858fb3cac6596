package vfs

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Only this file turns errors of the operating system into base.ErrNoSpace. A
// CountingFS does so for every operation, so that packages above need not.

// IsNoSpace reports whether a write or a creation failed for lack of room: on
// the device, by the quota, or by the largest size of a file. Such an error may
// pass. It must not be used for a failed sync, whatever its errno.
func IsNoSpace(err error) bool {
	for _, full := range errsNoSpace {
		if errors.Is(err, full) {
			return true
		}
	}
	return errors.Is(err, base.ErrNoSpace) || errors.Is(err, syscall.ENOSPC)
}

// Cannot wraps an I/O error in a sentence that says what was tried. A full disk
// reported by the sync of a table counts too, since the table is written again
// into a new file.
func Cannot(do string, err error) error {
	return fmt.Errorf("seerdb: cannot %s: %w", do, NoSpace(err))
}

// NoSpace wraps an error for lack of room in base.ErrNoSpace, and returns any
// other unchanged. It must not be used for errors of a sync.
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
