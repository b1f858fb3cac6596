package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxHistory is how many lines are remembered. The file may have twice as many
// before it is written anew.
const maxHistory = 1000

// history is the lines of earlier sessions and of this one. It is what the line
// editor asks for when the user looks back.
type history struct {
	lines []string // oldest first
	file  string   // "" = none
	err   error    // of writing the file
}

// historyFile returns where the history is kept: with the user and not in the
// database, for it is about what a user did. "" where there is no such place.
func historyFile() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "seerdb", "history")
}

// openHistory reads a history. One that cannot be read is empty.
func openHistory(file string) *history {
	h := &history{file: file}
	b, err := os.ReadFile(file)
	if err != nil {
		return h
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			h.lines = append(h.lines, line)
		}
	}
	rewrite := len(h.lines) > 2*maxHistory
	h.trim()
	if rewrite {
		h.err = h.writeAll()
	}
	return h
}

func (h *history) trim() {
	if n := len(h.lines) - maxHistory; n > 0 {
		h.lines = h.lines[n:]
	}
}

// writeAll replaces the file in one step, so that a session that ends in the
// middle of it loses nothing.
func (h *history) writeAll() error {
	return writeFile(h.file, func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Join(h.lines, "\n")+"\n")
		return err
	})
}

// Add remembers a line, unless it is like the last one or begins with a blank:
// what a user does not want to be kept.
func (h *history) Add(line string) {
	line = strings.TrimRight(line, " \t") // completion leaves a blank
	if line == "" || isBlank(line[0]) || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	h.trim()
	if h.file == "" {
		return
	}
	// At once: other sessions, and a crash of this one, leave it there.
	if err := h.append(line); err != nil && h.err == nil {
		h.err = err
	}
}

func (h *history) append(line string) error {
	if err := os.MkdirAll(filepath.Dir(h.file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(h.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Len returns the number of lines.
func (h *history) Len() int { return len(h.lines) }

// At returns a line, the newest first.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }
