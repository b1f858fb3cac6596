//go:build !linux

package main

// residentPeak returns 0, since the peak is not known on this system.
func residentPeak(int) int64 { return 0 }
