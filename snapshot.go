package seerdb

// Snapshot is the database at one moment: whatever is committed, flushed,
// compacted or deleted later, it reads the same. It keeps old versions from
// being dropped, so it must be closed. It is safe for concurrent use and does
// not outlive the process.
//
// Its methods on keys work on the default keyspace; see Snapshot.In for others.
type Snapshot struct{ reader }

// NewSnapshot pins the database as it is now.
func (db *DB) NewSnapshot() *Snapshot {
	return &Snapshot{reader{s: db.e.NewSnapshot(), k: db.e.Root()}}
}

// View runs fn with a snapshot, which it closes.
func (db *DB) View(fn func(*Snapshot) error) error {
	s := db.NewSnapshot()
	if s.s.Closed() {
		return ErrClosed
	}
	defer func() { _ = s.Close() }()
	return fn(s)
}

// In returns the snapshot with its reads in a keyspace. It is no snapshot of its own:
// closing either closes both. A keyspace that was created later is empty there; reads of
// one of another database, or of another opening of this one, fail with
// ErrInvalidOptions.
func (s *Snapshot) In(k *Keyspace) *Snapshot { return &Snapshot{reader{s: s.s, k: k.reader.k}} }

// Seq returns the sequence number that the snapshot sees.
func (s *Snapshot) Seq() uint64 { return uint64(s.s.Seq()) }

// Close lets the snapshot go. A second Close does nothing.
func (s *Snapshot) Close() error { return s.s.Close() }
