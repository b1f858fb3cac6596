package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

func size[N int64 | uint64](n N) string { return humanize.IBytes(uint64(max(n, 0))) }

// counted returns a number with a noun, in the singular for 1.
func counted[N int | int64](n N, noun string) string {
	return humanize.Comma(int64(n)) + " " + verb(int64(n), noun, noun+"s")
}

func verb(n int64, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// expiryText returns an expiry as text.
func expiryText(ms uint64) string {
	return time.UnixMilli(int64(min(ms, 1<<56))).UTC().Format("2006-01-02T15:04:05.000Z")
}

// momentText returns when a row expires as text, or "-".
func momentText(at time.Time, expires bool) string {
	if !expires {
		return "-"
	}
	return expiryText(uint64(at.UnixMilli()))
}

// heading prints a title as in the demonstration.
func heading(w io.Writer, format string, args ...any) {
	title := fmt.Sprintf(format, args...)
	fmt.Fprintf(w, "\n%s\n%s\n", title, strings.Repeat("-", len(title)))
}
