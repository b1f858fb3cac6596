package observe

import "time"

// EventListener has the functions that a database calls when something has
// happened inside it. Any may be nil.
//
// They are called one at a time, in the order of what happened, by a goroutine
// of their own that holds no lock and that no commit, read or job waits for: soon
// after the fact, not in it. They may call any method of the database, Close
// included, may take their time, and see a state that may have moved on. The
// records of Options.Logger come in the same order by the same goroutine.
//
// Close returns once everything that happened was delivered, unless an event
// itself calls it. So an event must not wait for another goroutine that calls
// Close. While 16,384 events and records wait, new ones are dropped, and
// EventsLost says how many. An event that panics is reported to the logger and in
// DB.Health; the next ones are delivered.
type EventListener struct {
	FlushBegin      func(FlushEvent)
	FlushEnd        func(FlushEvent)
	CompactionBegin func(CompactionEvent)
	CompactionEnd   func(CompactionEvent)
	// TableCreated and TableRemoved, ValueFileCreated and ValueFileRemoved
	// follow the files.
	TableCreated     func(FileEvent)
	TableRemoved     func(FileEvent)
	ValueFileCreated func(FileEvent)
	ValueFileRemoved func(FileEvent)
	// StallBegin gets the reason why commits are stopped; StallEnd for how long they were.
	StallBegin func(reason string)
	StallEnd   func(reason string, d time.Duration)
	// BackgroundError reports a failed background job; it will be retried
	// unless the error is permanent (then the database is read-only). It also
	// reports damage that a read met, and panics of the program's code: errors.As
	// finds the *seerdb.CorruptionError or *seerdb.PanicError.
	BackgroundError func(err error)
	// Recovered reports what Open found.
	Recovered func(RecoveryEvent)
	// EventsLost stands in the place of events, and log records, that were
	// dropped because 16,384 were waiting for the listener and the logger.
	EventsLost func(n int)
}

// FlushEvent describes a flush.
type FlushEvent struct {
	Job         int
	Generations int
	InputBytes  int64
	OutputBytes int64
	Tables      int
	Duration    time.Duration
	Err         error
}

// CompactionEvent describes a compaction.
type CompactionEvent struct {
	Job                int
	Reason             string
	FromLevel, ToLevel int
	// Keyspaces is of how many keyspaces tables are compacted together: small jobs
	// of many keyspaces are one. Reason and levels are then those of the first.
	Keyspaces               int
	InputTables             int
	OutputTables            int
	InputBytes, OutputBytes int64
	Move                    bool // files changed level without being rewritten
	Drop                    bool // files went without being read: nothing was left in them
	Duration                time.Duration
	Err                     error
}

// FileEvent names a file.
type FileEvent struct {
	Job  int
	Name string
	Size int64
}

// RecoveryEvent describes what Open did.
type RecoveryEvent struct {
	Logs, Records int
	Bytes         int64
	// TornFile and TornAt name the end of an incomplete tail that was cut;
	// empty when there was none.
	TornFile string
	TornAt   int64
	// Removed are the names of our files that no edit names, which were
	// swept; Foreign those that are not ours and were left alone.
	Removed, Foreign []string
	Duration         time.Duration
}
