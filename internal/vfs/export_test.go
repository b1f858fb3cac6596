package vfs

import "unsafe"

// SizeOfCounter is the bytes that a counter takes.
const SizeOfCounter = unsafe.Sizeof(ioCounter{})
