package cache

// Kind is a use of memory that the budget covers.
type Kind uint8

// The kinds. The cache accounts for Pages itself.
const (
	Pages        Kind = iota // page memory, private buffers and the cache's own metadata
	Memtables                // arenas
	Tables                   // resident metadata of open tables
	Iterators                // buffers of iterators
	Transactions             // write sets and conflict tracking
	Loads                    // the sort buffers of bulk loads
	Heap                     // reserved for everything else on the Go heap
	NumKinds
)

var kindNames = [NumKinds]string{"pages", "memtables", "tables", "iterators", "transactions", "loads", "heap"}

func (k Kind) String() string {
	if k < NumKinds {
		return kindNames[k]
	}
	return "unknown"
}
