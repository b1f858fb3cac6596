package base

// Limits on what a caller may store. They bound every length field of the
// formats, so that a decoder can refuse a length before it allocates.
const (
	MaxKeySize   = 64 << 10  // bytes in a user key
	MaxValueSize = 1 << 30   // bytes in a value
	MaxBatchSize = 2<<30 - 1 // bytes in an encoded batch; fits an int everywhere
	// NumLevels is the number of levels of the tree, L0 included.
	NumLevels = 7
)
