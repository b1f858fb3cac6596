package engine

import (
	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/manifest"
)

// The manifest says which file numbers an opening may have handed out, before it
// hands them out: so the next opening can tell what a kill left half written
// from files of others that have such a name, and logs of this opening from
// those of another one. A reservation costs an edit, so numbers are reserved
// many at a time.
const (
	// reserveMin is the fewest numbers to reserve.
	reserveMin = 64
	// reserveLow is how few may be left, so that the makers of logs and tables
	// seldom wait for an edit.
	reserveLow = reserveMin / 2
)

// newFileNum hands out the next file number. A number is never used twice,
// even by a job that failed or a process that died.
func (e *Engine) newFileNum() base.FileNum { return base.FileNum(e.nextFile.Add(1) - 1) }

// newIdentity is that of a new file.
func (e *Engine) newIdentity(t base.FileType) base.Identity {
	return base.Identity{DB: e.dbID, Type: t, Num: e.newFileNum(), Incarnation: e.incarnation}
}

// reservation is what the next edit shall reserve: 0 if enough numbers are left.
func (e *Engine) reservation() base.FileNum {
	next := e.nextFile.Load()
	if next+reserveLow <= e.reserved.Load() {
		return 0
	}
	return base.FileNum(next + max(reserveMin, next-e.firstFile))
}

// reserveNumbers makes sure that a job may take a file number.
func (e *Engine) reserveNumbers() error {
	if e.reservation() == 0 {
		return nil
	}
	e.installMu.Lock()
	defer e.installMu.Unlock()
	next := e.reservation()
	if next == 0 {
		return nil
	}
	if err := e.appendable(); err != nil {
		return err
	}
	return e.appendEdit(&manifest.Edit{NextFile: next})
}
