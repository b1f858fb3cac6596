package observe

// Status is how well a database is.
type Status uint8

// The statuses, from best to worst.
const (
	// OK: everything works.
	OK Status = iota
	// Degraded: everything works, something needs attention (a job that keeps
	// failing, writers that are held back).
	Degraded
	// ReadOnly: reads work, commits fail.
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

// Health is the answer of DB.Health.
type Health struct {
	Status Status
	// Reasons says in plain sentences what is wrong; empty when OK.
	Reasons []string
	// Err is the error that commits would meet now, or nil.
	Err error
}

// Report is the result of DB.Verify.
type Report struct {
	Tables, ValueFiles int
	Pages, Entries     int64
	Bytes              int64
	// Damage lists what is wrong. In most of it errors.As finds a
	// *seerdb.CorruptionError, which names the file and the place.
	Damage []error
	// Foreign lists files in the directory that are not the database's.
	Foreign []string
}

// Clean reports whether nothing was found.
func (r *Report) Clean() bool { return len(r.Damage) == 0 }
