package vfs

import (
	"errors"
	"syscall"

	"github.com/seerdb-go/seerdb/internal/base"
)

// IsNoSpace reports whether a write or a creation failed for lack of room: the
// device, the quota or the file size limit. Such an error goes away by itself.
// It says nothing about a failed sync, whatever its errno.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) ||
		errors.Is(err, base.ErrNoSpace) || isNoSpaceHere(err)
}
