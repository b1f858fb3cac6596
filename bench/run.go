package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Config is the configuration of a whole run.
type Config struct {
	Engines    []string     `json:"engines"`
	Base       string       `json:"base"`
	Workloads  []string     `json:"workloads"` // names or patterns
	Rounds     int          `json:"rounds"`
	Goroutines []int        `json:"goroutines"`
	Worker     WorkerConfig `json:"worker"` // the same for all workers
	Dir        string       `json:"-"`
	Progress   io.Writer    `json:"-"`
}

// resultKey names a line of the table.
type resultKey struct {
	step, engine string
	goroutines   int
}

// results holds the samples by round.
type results map[resultKey][]Sample

// runAll runs everything: for each number of goroutines and stage, in each
// round, all engines run each step in turn.
func runAll(ctx context.Context, c *Config) (results, error) {
	res := results{}
	// Rounds are the outermost loop, so that a drift of the machine affects
	// whole rounds, and the ratios less.
	for round := range c.Rounds {
		for i, g := range c.Goroutines {
			for s := range stages {
				st := &stages[s]
				if i > 0 && !st.PerCount {
					continue
				}
				if err := c.runStage(ctx, st, g, round, res); err != nil {
					return nil, err
				}
			}
		}
	}
	return res, nil
}

func (c *Config) runStage(ctx context.Context, st *Stage, g, round int, res results) (err error) {
	steps, shown := st.chosen(c.Workloads)
	if steps == nil {
		return nil
	}
	dir, err := os.MkdirTemp(c.Dir, "bench-")
	if err != nil {
		return err
	}
	defer func() {
		if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
	}()
	procs, err := c.startAll(ctx, st, g, dir)
	defer func() {
		for _, p := range procs {
			if err != nil {
				p.kill()
			} else {
				err = p.close()
			}
		}
	}()
	if err != nil {
		return err
	}
	dirty := false
	for _, step := range steps {
		for k := range procs {
			p := procs[(k+round)%len(procs)]
			if dirty {
				writeBack()
			}
			dirty = !step.still
			s, err := p.turn(step.Name)
			if err != nil {
				return err
			}
			if !shown[step.Name] {
				continue
			}
			key := resultKey{step.Name, p.engine, g}
			res[key] = append(res[key], *s)
			fmt.Fprintf(c.Progress, "round %d/%d  %d goroutine(s)  %-14s %-15s %s %s\n",
				round+1, c.Rounds, g, step.Name, p.engine, figure(step.Unit, s.Value), unitLabel(step.Unit))
		}
	}
	return nil
}

// startAll starts a worker for each engine that has the stage's class.
func (c *Config) startAll(ctx context.Context, st *Stage, g int, dir string) (procs []*process, err error) {
	for _, name := range c.Engines {
		d, err := findDriver(name)
		if err != nil {
			return procs, err
		}
		w := c.Worker
		w.Engine, w.Stage, w.Goroutines = name, st.Name, g
		w.Class = c.class(st)
		w.Dir = filepath.Join(dir, name)
		if d.Ack[w.Class] == "" || !d.offers(st) {
			continue
		}
		p, err := startProcess(ctx, w)
		if err != nil {
			return procs, err
		}
		procs = append(procs, p)
	}
	if len(procs) == 0 && st.Feature != "" {
		fmt.Fprintf(c.Progress, "no engine here has %s and the class %s: stage %s left out\n", st.Feature, c.class(st), st.Name)
		return nil, nil
	}
	if len(procs) == 0 {
		return nil, fmt.Errorf("no engine offers the class %s", c.class(st))
	}
	return procs, nil
}

func (c *Config) class(st *Stage) Class {
	if st.Class != "" {
		return st.Class
	}
	return c.Worker.Class
}
