package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxHistory is how many lines are kept. The file may have twice as many before
// it is rewritten.
const maxHistory = 1000

// history has the lines of earlier sessions and of this one, for the line
// editor.
type history struct {
	lines []string // oldest first
	file  string   // "" if there is none
	err   error    // of writing the file
}

// historyFile returns the file of the history. It belongs to the user and not
// to the database. "" means that there is no place for it.
func historyFile() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "seerdb", "history")
}

// openHistory reads a history. If it cannot be read it is empty.
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

// writeAll replaces the file in one step, so that an interruption loses
// nothing.
func (h *history) writeAll() error {
	return writeFile(h.file, func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Join(h.lines, "\n")+"\n")
		return err
	})
}

// Add adds a line, unless it equals the last one or begins with a blank, as
// lines do that a user does not want to keep.
func (h *history) Add(line string) {
	line = strings.TrimRight(line, " \t") // completion adds a blank
	if line == "" || isBlank(line[0]) || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	h.trim()
	if h.file == "" {
		return
	}
	// Write it at once: other sessions then keep it, and so does a crash of
	// this one.
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

// At returns a line by its index, the newest first.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }
