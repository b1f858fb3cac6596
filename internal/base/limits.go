package base

// Limits on what a caller may store. They bound every length field of the
// formats, so that decoders can refuse a length before they allocate.
const (
	MaxKeySize   = 64 << 10  // bytes in a user key
	MaxValueSize = 1 << 30   // bytes in a value
	MaxBatchSize = 2<<30 - 1 // bytes in an encoded batch; fits an int on every platform
	// NumLevels is the number of levels of the tree, L0 included.
	NumLevels = 7
)
