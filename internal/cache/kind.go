package cache

// Kind is what memory is used for.
type Kind uint8

// The kinds. Pages is accounted by the cache itself.
const (
	Pages        Kind = iota // page memory, private buffers and the cache's own metadata
	Memtables                // arenas
	Tables                   // resident metadata of open tables
	Iterators                // buffers of iterators
	Transactions             // write sets and conflict tracking
	Loads                    // what bulk loads sort
	Heap                     // set aside for what else is on the Go heap
	NumKinds
)

var kindNames = [NumKinds]string{"pages", "memtables", "tables", "iterators", "transactions", "loads", "heap"}

func (k Kind) String() string {
	if k < NumKinds {
		return kindNames[k]
	}
	return "unknown"
}
