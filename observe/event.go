package observe

import "time"

// EventListener has the functions that a database calls when something has
// happened inside it. Any of them may be nil.
//
// They are called one at a time, in the order of the events, soon after the
// event, by a goroutine that holds no lock and that no commit, read or job
// waits for. They may call any method of the database, Close included, and may
// take their time; the database may have changed since the event. The records
// of Options.Logger are delivered in the same order by the same goroutine.
//
// Close returns once every event was delivered, unless an event's function
// calls it. So such a function must not wait for another goroutine that calls
// Close. While 16,384 events and records wait, new ones are dropped, and
// EventsLost reports how many. A panic in a function is reported to the logger
// and in DB.Health; later events are delivered.
type EventListener struct {
	FlushBegin      func(FlushEvent)
	FlushEnd        func(FlushEvent)
	CompactionBegin func(CompactionEvent)
	CompactionEnd   func(CompactionEvent)
	// TableCreated and TableRemoved, ValueFileCreated and ValueFileRemoved
	// report files as they come and go.
	TableCreated     func(FileEvent)
	TableRemoved     func(FileEvent)
	ValueFileCreated func(FileEvent)
	ValueFileRemoved func(FileEvent)
	// StallBegin is called with the reason why commits are stopped, StallEnd
	// with how long they were.
	StallBegin func(reason string)
	StallEnd   func(reason string, d time.Duration)
	// BackgroundError reports a failed background job. The job will be retried
	// unless the error is permanent (then the database is read-only). It also
	// reports damage that a read found, and panics of the program's code:
	// errors.As finds the *seerdb.CorruptionError or *seerdb.PanicError.
	BackgroundError func(err error)
	// Recovered reports what Open found.
	Recovered func(RecoveryEvent)
	// EventsLost is called in place of events and log records that were dropped
	// because 16,384 were waiting for the listener and the logger.
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
	// Keyspaces is the number of keyspaces whose tables are compacted together:
	// small jobs of many keyspaces run as one. Reason and levels are then those
	// of the first.
	Keyspaces               int
	InputTables             int
	OutputTables            int
	InputBytes, OutputBytes int64
	Move                    bool // files changed level without being rewritten
	Drop                    bool // files were removed without being read: nothing in them was live
	Duration                time.Duration
	Err                     error
}

// FileEvent names a file.
type FileEvent struct {
	Job  int
	Name string
	Size int64
}

// RecoveryEvent describes what Open found and did.
type RecoveryEvent struct {
	Logs, Records int
	Bytes         int64
	// TornFile and TornAt are the file and offset of an incomplete tail that
	// was cut off; empty if there was none.
	TornFile string
	TornAt   int64
	// Removed are the database's own files that no edit names, which were
	// removed; Foreign are files of others, which were left alone.
	Removed, Foreign []string
	Duration         time.Duration
}
