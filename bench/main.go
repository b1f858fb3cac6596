// Bench compares seerdb with other embedded key-value stores: the same
// workloads, data, memory and durability class, interleaved round by round, and
// every answer checked. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func main() {
	if os.Getenv(workerEnv) != "" {
		if err := serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench worker:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted") // not that the workers are gone
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// flags are the flags as typed; config turns them into a Config.
type flags struct {
	engines, workloads  string
	cache, memtable     string
	class, dir          string
	json, profile       string
	markdown, quiet     bool
	goroutines          []int
	base                string
	keys, ops, rounds   int
	valueSize, versions int
	seed                uint64
	maxTime, syncTime   time.Duration
	latency             bool
}

func command() *cobra.Command {
	var f flags
	run := &cobra.Command{
		Use:           "bench",
		Short:         "Compare seerdb with other embedded key-value stores",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	p := run.Flags()
	p.StringVar(&f.engines, "engines", strings.Join(driverNames(), ","), "engines, comma-separated")
	p.StringVar(&f.base, "base", "pebble", "engine whose figures the ratios are against")
	p.StringVar(&f.workloads, "workloads", "*", "workloads or patterns, comma-separated (bench list)")
	p.StringVar(&f.class, "class", string(Relaxed), "durability class: relaxed, buffered or sync")
	p.IntVar(&f.rounds, "rounds", 3, "rounds; figures are medians over them")
	p.IntSliceVar(&f.goroutines, "goroutines", []int{1}, "numbers of goroutines, comma-separated")
	p.IntVar(&f.keys, "keys", 1_000_000, "keys of the load")
	p.IntVar(&f.ops, "ops", 0, "operations of a workload (0: as many as keys)")
	p.IntVar(&f.valueSize, "value-size", 100, "bytes of a value")
	p.StringVar(&f.cache, "cache", "1GiB", "memory for each engine's cache")
	p.StringVar(&f.memtable, "memtable", "64MiB", "size of one memtable")
	p.Uint64Var(&f.seed, "seed", 1, "seed of keys, values and operations")
	p.IntVar(&f.versions, "hot-versions", 100_000, "versions of the hot key")
	p.DurationVar(&f.maxTime, "max-time", 10*time.Second, "most time for a workload that may stop early (0: no limit)")
	p.DurationVar(&f.syncTime, "sync-time", 2*time.Second, "time for each fillsync")
	p.BoolVar(&f.latency, "latency", false, "time every operation (costs about 0.1 us each)")
	p.StringVar(&f.dir, "dir", "", "where the databases are made (default: the system's temporary directory)")
	p.StringVar(&f.json, "json", "", "write everything, each round included, to this file")
	p.StringVar(&f.profile, "profile", "", "write a CPU profile of each engine, workload and count to this directory (last round's)")
	p.BoolVar(&f.markdown, "markdown", false, "print markdown and not the aligned table")
	p.BoolVar(&f.quiet, "quiet", false, "no progress on stderr")
	run.AddCommand(&cobra.Command{
		Use: "list", Short: "List engines and workloads", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return list(cmd.OutOrStdout()) },
	})
	return run
}

func (f *flags) run(ctx context.Context, out io.Writer) error {
	c, err := f.config()
	if err != nil {
		return err
	}
	r := Report{
		Machine: thisMachine(), Command: "bench " + strings.Join(os.Args[1:], " "), Config: c,
		Versions: map[string]string{}, Acks: map[string]string{},
	}
	for _, name := range c.Engines {
		d, err := findDriver(name)
		if err != nil {
			return err
		}
		r.Versions[name], r.Acks[name] = d.Version(), d.Ack[c.Worker.Class]
	}
	res, err := runAll(ctx, c)
	if err != nil {
		return err
	}
	r.Lines = summarise(c, res)
	if f.json != "" {
		if err := r.writeJSON(f.json); err != nil {
			return err
		}
	}
	if f.markdown {
		return r.writeMarkdown(out)
	}
	return r.writeTable(out)
}

// The smallest sizes for which every workload works: hotscan begins up to 90
// rows before the middle key, and values have two checked words.
const (
	minKeys      = 1000
	minValueSize = 16
)

func (f *flags) config() (*Config, error) {
	cache, err := humanize.ParseBytes(f.cache)
	if err != nil {
		return nil, fmt.Errorf("--cache: %w", err)
	}
	memtable, err := humanize.ParseBytes(f.memtable)
	if err != nil {
		return nil, fmt.Errorf("--memtable: %w", err)
	}
	if f.ops == 0 {
		f.ops = f.keys
	}
	c := &Config{
		Engines: splitList(f.engines), Base: f.base, Workloads: splitList(f.workloads), Rounds: f.rounds,
		Goroutines: f.goroutines, Dir: f.dir, Progress: os.Stderr,
		Worker: WorkerConfig{
			Class: Class(f.class), Keys: f.keys, Ops: f.ops, ValueSize: f.valueSize,
			Cache: int64(cache), Memtable: int64(memtable), Seed: f.seed,
			MaxTime: f.maxTime, SyncTime: f.syncTime, HotVersions: f.versions, Latency: f.latency, Profile: f.profile,
		},
	}
	if f.quiet {
		c.Progress = io.Discard
	}
	return c, c.validate()
}

func (c *Config) validate() error {
	w := &c.Worker
	switch {
	case !slices.Contains([]Class{Relaxed, Buffered, Sync}, w.Class):
		return fmt.Errorf("--class: %q is not relaxed, buffered or sync", w.Class)
	case w.Keys < minKeys:
		return fmt.Errorf("--keys: at least %d", minKeys)
	case w.Keys > 1<<30:
		return errors.New("--keys: at most 2^30")
	case w.ValueSize < minValueSize:
		return fmt.Errorf("--value-size: at least %d", minValueSize)
	case c.Rounds < 1:
		return errors.New("--rounds: at least 1")
	case w.SyncTime <= 0:
		return errors.New("--sync-time: must be positive")
	case w.HotVersions < 1:
		return errors.New("--hot-versions: at least 1")
	case len(c.Goroutines) == 0:
		return errors.New("--goroutines: at least one number")
	}
	for _, g := range c.Goroutines {
		if g < 1 || g > 1024 || g > w.Ops {
			return errors.New("--goroutines: from 1 to 1024, and no more than --ops")
		}
	}
	for _, name := range c.Engines {
		if _, err := findDriver(name); err != nil {
			return err
		}
	}
	return c.validateWorkloads()
}

func (c *Config) validateWorkloads() error {
	for _, want := range c.Workloads {
		found := false
		for i := range stages {
			for j := range stages[i].Steps {
				s := &stages[i].Steps[j]
				ok, err := path.Match(want, s.Name)
				if err != nil {
					return fmt.Errorf("--workloads: %q: %w", want, err)
				}
				found = found || ok && s.Unit != ""
			}
		}
		if !found {
			return fmt.Errorf("--workloads: nothing is named %q; bench list names them", want)
		}
	}
	return nil
}

func splitList(s string) (list []string) {
	for e := range strings.SplitSeq(s, ",") {
		if e = strings.TrimSpace(e); e != "" {
			list = append(list, e)
		}
	}
	return list
}

// list prints the engines and the workloads.
func list(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "engine\tversion\trelaxed\tbuffered\tsync")
	for _, d := range drivers {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.Name, d.Version(), d.Ack[Relaxed], d.Ack[Buffered], d.Ack[Sync])
	}
	fmt.Fprintln(w, "\nworkload\tunit\tstage\twhat it does")
	for i := range stages {
		for j := range stages[i].Steps {
			if s := &stages[i].Steps[j]; s.Unit != "" {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Name, s.Unit, stages[i].Name, s.Doc)
			}
		}
	}
	return w.Flush()
}
