package dbtest

import (
	"time"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/engine"
	"github.com/seerdb-go/seerdb/internal/private"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

// TestOptions are options that only tests set.
type TestOptions struct {
	FS         vfs.FS
	Index      sstable.IndexMode
	Partitions int
	L0Trigger  int
	BaseLevel  int64
	NoCache    bool
	ManualOnly bool // no compactions in the background
	Clock      func() time.Time
	Elapsed    func(time.Time) time.Duration // nil for the difference between readings of Clock
	DeadMin    int
	PackFrom   int   // keyspaces for which a job makes packs
	PackedMax  int   // bytes of a table that goes into a pack
	FoldFrom   int   // operands of a key from which on a read caches their result
	PackSlack  int64 // garbage that packs may hold in addition to the size of their live tables
}

// With returns a copy of o with those options set.
func With(o seerdb.Options, t TestOptions) *seerdb.Options {
	private.SetTestOptions(&o, engine.Options{
		FS: t.FS, Index: t.Index, Partitions: t.Partitions,
		L0Trigger: t.L0Trigger, BaseLevelBytes: t.BaseLevel, NoCache: t.NoCache, ManualOnly: t.ManualOnly, Clock: t.Clock, Elapsed: t.Elapsed, DeadMin: t.DeadMin,
		PackFrom: t.PackFrom, PackedMax: t.PackedMax, PackSlack: t.PackSlack, FoldFrom: t.FoldFrom,
	})
	return &o
}

// Change changes the options of a Rig.
type Change = func(*seerdb.Options, *TestOptions)

// Tiny returns an engine in which everything happens within a few hundred
// operations.
func Tiny() (seerdb.Options, TestOptions) {
	return seerdb.Options{MemtableSize: 16 << 10, PageSize: 512, TableSize: 8 << 10, ValueThreshold: 200, MemoryBudget: 1 << 20},
		TestOptions{L0Trigger: 2, BaseLevel: 16 << 10, DeadMin: 2, FoldFrom: 1, PackFrom: 1, PackSlack: 1 << 10}
}

// SmallOn returns tiny options on a file system.
func SmallOn(fs vfs.FS, d seerdb.Durability) *seerdb.Options {
	o, t := Tiny()
	o.Durability, t.FS = d, fs
	return With(o, t)
}

// Quiet lets nothing be compacted, and no writer be held back, before the test
// asks for it.
func Quiet(_ *seerdb.Options, t *TestOptions) { t.L0Trigger, t.ManualOnly = 1000, true }

// WithMerger sets the merge operator.
func WithMerger(m seerdb.Merger) Change {
	return func(o *seerdb.Options, _ *TestOptions) { o.Merger = m }
}

// SnapshotIsolation are the options of transactions at that level.
var SnapshotIsolation = &seerdb.TxnOptions{Isolation: seerdb.SnapshotIsolation}
