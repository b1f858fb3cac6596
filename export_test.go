package seerdb

import (
	"time"

	"github.com/seerdb-go/seerdb/internal/engine"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// What tests outside the package may set beyond the public options.

// TestOptions are the internal switches of Options.
type TestOptions struct {
	FS         vfs.FS
	Index      sstable.IndexMode
	Partitions int
	L0Trigger  int
	BaseLevel  int64
	NoCache    bool
	ManualOnly bool // no compactions in the background
	Clock      func() time.Time
	Elapsed    func(time.Time) time.Duration // nil: what readings of Clock are apart
	DeadMin    int
	PackFrom   int   // keyspaces for which a job makes packs
	PackedMax  int   // bytes of a table that goes into a pack
	FoldFrom   int   // operands of a key from which on what they come to is noted
	PackSlack  int64 // garbage that packs may hold besides as much as lives
}

// With returns a copy of o with internal switches set.
func (o Options) With(t TestOptions) *Options {
	o.internal = engine.Options{
		FS: t.FS, Index: t.Index, Partitions: t.Partitions,
		L0Trigger: t.L0Trigger, BaseLevelBytes: t.BaseLevel, NoCache: t.NoCache, ManualOnly: t.ManualOnly, Clock: t.Clock, Elapsed: t.Elapsed, DeadMin: t.DeadMin,
		PackFrom: t.PackFrom, PackedMax: t.PackedMax, PackSlack: t.PackSlack, FoldFrom: t.FoldFrom,
	}
	return &o
}
