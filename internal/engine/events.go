package engine

import (
	"errors"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/observe"
)

// damaged tells the log and the listener about damage met by a read.
func (e *Engine) damaged(err error) {
	var c *base.CorruptionError
	if errors.As(err, &c) {
		e.opts.Logger.Error("seerdb: damage", "file", c.File, "offset", c.Offset, "detail", c.Detail)
		e.listener.BackgroundError(err)
	}
}

// fileCreated tells the listener about a file.
func (e *Engine) fileCreated(t base.FileType, n base.FileNum, size int64, job int) {
	ev := observe.FileEvent{Job: job, Name: base.FileName(t, n), Size: size}
	switch t {
	case base.FileTypeTable, base.FileTypePack:
		e.listener.TableCreated(ev)
	case base.FileTypeValues:
		e.listener.ValueFileCreated(ev)
	}
}
