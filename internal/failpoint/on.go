//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Enabled reports whether failpoints are compiled in.
const Enabled = true

// EnvVar configures the failpoints of a process: a comma-separated list of
// name=action[@n], where action is kill, error, panic, or sleep:ms, and n is
// the hit, counted from 1, at which it acts. Without @n it acts at every hit.
const EnvVar = "SEERDB_FAILPOINTS"

type point struct {
	action string
	at     int64
	hits   int64
	fn     func() error
}

var (
	mu     sync.Mutex
	points = map[Name]*point{} // guarded by mu
)

func init() {
	for _, spec := range strings.Split(os.Getenv(EnvVar), ",") {
		if spec == "" {
			continue
		}
		if err := parse(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
}

func parse(spec string) error {
	name, action, ok := strings.Cut(spec, "=")
	if !ok || name == "" {
		return fmt.Errorf("%s: %q: want name=action", EnvVar, spec)
	}
	action, at, counted := strings.Cut(action, "@")
	p := &point{action: action}
	if counted {
		n, err := strconv.ParseInt(at, 10, 64)
		if err != nil || n < 1 {
			return fmt.Errorf("%s: %q: the hit after @ must be a positive number", EnvVar, spec)
		}
		p.at = n
	}
	mu.Lock()
	defer mu.Unlock()
	points[Name(name)] = p
	return nil
}

// Set makes fn the action of a failpoint; nil removes it. For tests.
func Set(n Name, fn func() error) {
	mu.Lock()
	defer mu.Unlock()
	if fn == nil {
		delete(points, n)
		return
	}
	points[n] = &point{fn: fn}
}

// Hits returns how often a configured failpoint was hit.
func Hits(n Name) int64 {
	mu.Lock()
	defer mu.Unlock()
	if p := points[n]; p != nil {
		return p.hits
	}
	return 0
}

// Hit is called by the engine at the step n.
func Hit(n Name) error {
	mu.Lock()
	p := points[n]
	if p == nil {
		mu.Unlock()
		return nil
	}
	p.hits++
	due := p.at == 0 || p.hits == p.at
	mu.Unlock()
	if !due {
		return nil
	}
	if p.fn != nil {
		return p.fn()
	}
	switch kind, arg, _ := strings.Cut(p.action, ":"); kind {
	case "kill":
		kill()
	case "panic":
		panic("failpoint " + string(n))
	case "sleep":
		ms, _ := strconv.Atoi(arg)
		time.Sleep(time.Duration(ms) * time.Millisecond)
	default:
		return fmt.Errorf("failpoint %s", n)
	}
	return nil
}

// kill ends the process as kill -9 would: no deferred function runs.
func kill() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {}
}
