package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Machine describes where a run was made.
type Machine struct {
	Processor  string    `json:"processor"`
	GOMAXPROCS int       `json:"gomaxprocs"`
	OS         string    `json:"os"`
	Kernel     string    `json:"kernel,omitempty"`
	Go         string    `json:"go"`
	CGO        string    `json:"cgo"` // Pebble keeps its memory off the Go heap only with cgo
	Commit     string    `json:"commit,omitempty"`
	Time       time.Time `json:"time"`
}

func thisMachine() Machine {
	m := Machine{
		Processor: processor(), GOMAXPROCS: runtime.GOMAXPROCS(0), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), Time: time.Now().UTC().Truncate(time.Second),
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "CGO_ENABLED" {
				m.CGO = s.Value
			}
		}
	}
	// The commit of the working directory, since the program is run from its
	// source.
	if b, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(b))
	}
	return m
}

func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func (m Machine) String() string {
	s := fmt.Sprintf("%s, GOMAXPROCS %d, %s", m.Processor, m.GOMAXPROCS, m.OS)
	if m.Kernel != "" {
		s += " " + m.Kernel
	}
	s += fmt.Sprintf(", %s (CGO_ENABLED=%s), %s", m.Go, m.CGO, m.Time.Format("2006-01-02 15:04"))
	if m.Commit != "" {
		s += ", commit " + m.Commit
	}
	return s
}
