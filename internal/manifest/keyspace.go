package manifest

// Keyspace describes one tree of the database. Its number is never used again,
// not even for another one of the same name, so what a log still holds of a
// keyspace that was dropped can be told from what belongs to its successor.
//
// Keyspace 0, the default one, has no name and is always there; it is listed
// once there is something to say about it.
type Keyspace struct {
	ID     uint32
	Name   string
	Merger string // name of the merge operator whose operands may be stored; "" = none
}

// MaxKeyspaceName bounds the name of a keyspace, in bytes.
const MaxKeyspaceName = 1 << 10

// maxKeyspace leaves room for the number after the last one, and none for a
// wrap-around.
const maxKeyspace = 1<<32 - 2
