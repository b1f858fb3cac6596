package manifest

// Keyspace describes one tree of the database. Numbers are never reused, not
// even for a keyspace of the same name, so that what a log still holds of a
// dropped keyspace is not taken for its successor's.
//
// Keyspace 0, the default one, has no name and always exists. It is listed once
// it has a setting.
type Keyspace struct {
	ID     uint32
	Name   string
	Merger string // name of the merge operator whose operands may be stored; "" = none
}

// MaxKeyspaceName is the longest name of a keyspace, in bytes.
const MaxKeyspaceName = 1 << 10

// maxKeyspace leaves room for the number after the last one without a
// wrap-around.
const maxKeyspace = 1<<32 - 2
