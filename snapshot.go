package seerdb

// Snapshot is the database at one moment: it reads the same whatever is committed, flushed,
// compacted or deleted later. A Snapshot keeps old versions from being dropped, so it must
// be closed. It is safe for concurrent use and does not outlive the process.
//
// Its methods on keys use the default keyspace; see Snapshot.In for others.
type Snapshot struct{ reader }

// NewSnapshot returns a snapshot of the database as it is now.
func (db *DB) NewSnapshot() *Snapshot {
	return &Snapshot{reader{s: db.e.NewSnapshot(), k: db.e.Root()}}
}

// View runs fn with a new snapshot and closes the snapshot afterwards.
func (db *DB) View(fn func(*Snapshot) error) error {
	s := db.NewSnapshot()
	if s.s.Closed() {
		return ErrClosed
	}
	defer func() { _ = s.Close() }()
	return fn(s)
}

// In returns a view of the snapshot that reads k. It shares the snapshot: closing either
// closes both. A keyspace created after the snapshot is empty in it. Reads of a keyspace of
// another database, or of another opening of this one, fail with ErrInvalidOptions.
func (s *Snapshot) In(k *Keyspace) *Snapshot { return &Snapshot{reader{s: s.s, k: k.reader.k}} }

// Seq returns the sequence number that the snapshot sees.
func (s *Snapshot) Seq() uint64 { return uint64(s.s.Seq()) }

// Close releases the snapshot. A second Close does nothing.
func (s *Snapshot) Close() error { return s.s.Close() }
