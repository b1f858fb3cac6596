package observe

// Status is the condition of a database.
type Status uint8

// The statuses, from best to worst.
const (
	// OK means that everything works.
	OK Status = iota
	// Degraded means that everything works, but something needs attention (a
	// job that keeps failing, writers that are slowed or stopped).
	Degraded
	// ReadOnly means that reads work and commits fail.
	ReadOnly
)

func (s Status) String() string {
	switch s {
	case OK:
		return "ok"
	case Degraded:
		return "degraded"
	}
	return "read-only"
}

// Health is the result of DB.Health.
type Health struct {
	Status Status
	// Reasons explains in plain sentences what is wrong; empty when OK.
	Reasons []string
	// Err is the error that commits would return now, or nil.
	Err error
}

// Report is the result of DB.Verify.
type Report struct {
	Tables, ValueFiles int
	Pages, Entries     int64
	Bytes              int64
	// Damage lists what is wrong. In most of it errors.As finds a
	// *seerdb.CorruptionError, which names the file and the offset.
	Damage []error
	// Foreign lists files in the directory that do not belong to the database.
	Foreign []string
}

// Clean reports whether no damage was found.
func (r *Report) Clean() bool { return len(r.Damage) == 0 }
