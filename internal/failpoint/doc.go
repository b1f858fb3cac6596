// Package failpoint names the steps of the engine's protocols at which a test
// may make the process fail, die or wait. Without the build tag failpoints the
// calls compile to nothing. With it, failpoints are set from Go, or from the
// environment, so that a test can kill a child process at an exact step.
package failpoint

// Name is a step of a protocol, written package::step.
type Name string

// The steps. The first four are from the original engine.
const (
	FlushAfterTableWrite       Name = "flush::after_sstable_write"
	FlushBeforeLogClear        Name = "flush::before_wal_clear"
	CompactionAfterOutputWrite Name = "compaction::after_output_write"
	LogAfterSync               Name = "wal::after_sync"

	LogBeforeWrite           Name = "wal::before_write"
	LogAfterWrite            Name = "wal::after_write"
	LogBeforeSync            Name = "wal::before_sync"
	LogAfterRotate           Name = "wal::after_rotate"
	CommitBeforeApply        Name = "commit::before_apply"
	CommitBeforePublish      Name = "commit::before_publish"
	FlushStart               Name = "flush::start"
	FlushAfterInstall        Name = "flush::after_install"
	OutputAfterValuesSync    Name = "output::after_values_sync"
	OutputAfterTableSync     Name = "output::after_table_sync"
	OutputAfterDirSync       Name = "output::after_dir_sync"
	ManifestBeforeAppend     Name = "manifest::before_append"
	ManifestAfterAppend      Name = "manifest::after_append"
	ManifestAfterSync        Name = "manifest::after_sync"
	ManifestAfterRotateWrite Name = "manifest::after_rotate_write"
	ManifestAfterCurrent     Name = "manifest::after_current"
	CompactionStart          Name = "compaction::start"
	CompactionAfterInstall   Name = "compaction::after_install"
	SweepBeforeRemove        Name = "sweep::before_remove"
	RecoverAfterReplay       Name = "recover::after_replay"
	RecoverBeforeSweep       Name = "recover::before_sweep"
)
