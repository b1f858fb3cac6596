package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// residentBytes returns the resident memory of this process, mapped files
// included.
func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if f := strings.Fields(string(line)); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// ioCounters returns the process's calls of read and write, and the bytes
// passed to write. Mapped files are not included.
func ioCounters() (calls, written int64) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, 0
	}
	for line := range bytes.Lines(b) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ": ")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "syscr", "syscw":
			calls += n
		case "wchar":
			written = n
		}
	}
	return calls, written
}
