// Package memlimit finds how much memory the process may take before it is
// killed, or before the garbage collector works for each byte: the limits of
// its memory control groups (Linux, versions 1 and 2, including every parent
// group) and GOMEMLIMIT. It ignores the memory of the machine, which the
// process shares with others.
package memlimit

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// Limit returns the smallest limit in bytes, or 0 if there is none.
func Limit() int64 {
	limit := int64(math.MaxInt64)
	if n := debug.SetMemoryLimit(-1); n > 0 { // a negative one changes nothing
		limit = n
	}
	if n := groups(os.DirFS("/")); n > 0 {
		limit = min(limit, n)
	}
	if limit == math.MaxInt64 {
		return 0
	}
	return limit
}

// groups returns the smallest limit of the control groups of the process, or 0
// if there is none. Files that cannot be read or parsed set no limit: a program
// must run where /proc looks different.
func groups(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	mounts := hierarchies(root)
	for line := range strings.Lines(read(root, "proc/self/cgroup")) {
		// hierarchy:controllers:path, without controllers in version 2
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		version2 := parts[0] == "0" && parts[1] == ""
		if !version2 && !contains(parts[1], "memory") {
			continue
		}
		for _, m := range mounts {
			if m.version2 == version2 {
				limit = min(limit, m.limit(root, parts[2]))
			}
		}
	}
	if limit == math.MaxInt64 {
		return 0
	}
	return limit
}

// hierarchy is a mounted tree of control groups.
type hierarchy struct {
	top      string // the group that is mounted
	at       string // its mount point
	version2 bool
}

// hierarchies lists the hierarchies that limit memory.
func hierarchies(root fs.FS) (out []hierarchy) {
	for line := range strings.Lines(read(root, "proc/self/mountinfo")) {
		// id parent device root mountpoint options [tags] - type source super-options
		mount, fsys, ok := strings.Cut(strings.TrimSpace(line), " - ")
		m, f := strings.Fields(mount), strings.Fields(fsys)
		if !ok || len(m) < 6 || len(f) < 3 {
			continue
		}
		h := hierarchy{top: unescape(m[3]), at: unescape(m[4]), version2: f[0] == "cgroup2"}
		if h.version2 || f[0] == "cgroup" && contains(f[2], "memory") {
			out = append(out, h)
		}
	}
	return out
}

// limit returns the smallest limit of a group and its parents, up to the
// mounted one. In a container the group may be outside the mounted tree; then
// the mounted group is its own.
func (h hierarchy) limit(root fs.FS, group string) int64 {
	rel, inside := strings.CutPrefix(path.Clean("/"+group), strings.TrimSuffix(path.Clean("/"+h.top), "/"))
	if !inside || rel != "" && rel[0] != '/' || strings.Contains(group, "..") {
		rel = ""
	}
	files := []string{"memory.limit_in_bytes"}
	if h.version2 {
		files = []string{"memory.max", "memory.high"} // above high the kernel reclaims memory by force
	}
	limit := int64(math.MaxInt64)
	for dir := path.Join(h.at, rel); ; dir = path.Dir(dir) {
		for _, name := range files {
			text := strings.TrimSpace(read(root, strings.TrimPrefix(path.Join(dir, name), "/")))
			// "max" is no limit, and neither is what version 1 reports for
			// none, the largest multiple of a page.
			if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 && n < 1<<60 {
				limit = min(limit, n)
			}
		}
		if len(dir) <= len(path.Clean(h.at)) {
			return limit
		}
	}
}

func read(root fs.FS, name string) string {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return string(b)
}

// contains reports whether a comma-separated list has an element.
func contains(list, elem string) bool {
	for e := range strings.SplitSeq(list, ",") {
		if e == elem {
			return true
		}
	}
	return false
}

// unescape replaces mountinfo's escapes of blanks: a backslash and three octal
// digits.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
