package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
)

// benchRun is the built-in benchmark, for quick figures of one machine. The
// program in bench/ compares seerdb with other engines.
type benchRun struct {
	w         io.Writer
	db        tree
	n         int
	valueSize int
	rng       *rand.Rand
	key, val  []byte
	buf       []byte
}

// benchStep is one measurement.
type benchStep struct {
	name, what string
	run        func(*benchRun) (ops int, err error)
}

// benchSteps are the steps in their natural order.
var benchSteps = []benchStep{
	{"fill", "puts of new keys in random order", (*benchRun).fill},
	{"read", "point reads of random keys", func(b *benchRun) (int, error) { return b.gets(0) }},
	{"miss", "point reads of absent keys", func(b *benchRun) (int, error) { return b.gets(b.n * 2) }},
	{"seek", "new iterator, seek, 10 rows", (*benchRun).seeks},
	{"scan", "rows of a full scan", (*benchRun).scan},
	{"ycsb-a", "half reads, half updates, Zipf", func(b *benchRun) (int, error) { return b.ycsb(50, false) }},
	{"ycsb-b", "95 % reads, 5 % updates, Zipf", func(b *benchRun) (int, error) { return b.ycsb(95, false) }},
	{"ycsb-c", "reads, Zipf", func(b *benchRun) (int, error) { return b.ycsb(100, false) }},
	{"ycsb-d", "95 % reads of the latest, 5 % inserts", (*benchRun).latest},
	{"ycsb-e", "95 % scans of up to 100 rows, 5 % updates", (*benchRun).shortScans},
	{"ycsb-f", "half reads, half read-modify-write, Zipf", func(b *benchRun) (int, error) { return b.ycsb(50, true) }},
}

func benchCommand() *cobra.Command {
	b := benchRun{n: 200_000, valueSize: 100}
	var p place
	steps, durability := "fill,read,miss,seek,scan", "relaxed"
	cmd := &cobra.Command{
		Use: "bench [DIR]", Short: "Measure this machine (a new database in DIR, or a temporary one)",
		Args: rangeArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			dir := ""
			if len(args) == 1 {
				dir = args[0]
				if err := checkNew(dir, "give a new directory"); err != nil {
					return err
				}
			} else {
				tmp, err := os.MkdirTemp("", "seerdb-bench-")
				if err != nil {
					return err
				}
				defer func() { _ = os.RemoveAll(tmp) }()
				dir = filepath.Join(tmp, "db")
			}
			if b.n == 0 {
				return usagef("--keys is 0; expected 1 or more")
			}
			d, err := parseDurability(durability)
			if err != nil {
				return err
			}
			s, err := openStore(dir, &seerdb.Options{Durability: d, ErrorIfExists: true}, nil)
			if err != nil {
				return err
			}
			return s.within(p, true, func(_ *store, t tree) error {
				b.db, b.w, b.rng = t, cmd.OutOrStdout(), rand.New(rand.NewPCG(1, 2))
				return b.steps(cmd, strings.Split(steps, ","))
			})
		},
	}
	cmd.Flags().IntVarP(&b.n, "keys", "n", b.n, "number of keys")
	cmd.Flags().IntVar(&b.valueSize, "value-size", b.valueSize, "bytes in a value, half of them random")
	cmd.Flags().StringVar(&durability, "durability", durability, "sync, buffered or relaxed")
	cmd.Flags().StringVar(&steps, "steps", steps, "comma-separated: fill, read, miss, seek, scan, ycsb-a to ycsb-f")
	p.flag(cmd)
	return cmd
}

func (b *benchRun) steps(cmd *cobra.Command, names []string) error {
	if !slices.Contains(names, "fill") {
		names = append([]string{"fill"}, names...)
	}
	fmt.Fprintf(b.w, "%s keys of 16 bytes, values of %d bytes\n", humanize.Comma(int64(b.n)), b.valueSize)
	for _, name := range names {
		i := slices.IndexFunc(benchSteps, func(s benchStep) bool { return s.name == name })
		if i < 0 {
			return usagef("--steps has %q; see --help", name)
		}
		begin := time.Now()
		ops, err := benchSteps[i].run(b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		d := time.Since(begin)
		fmt.Fprintf(b.w, "%-7s %12s /s  %8.2f µs  %s\n", name, humanize.Comma(int64(float64(ops)/d.Seconds())),
			float64(d.Nanoseconds())/float64(ops)/1e3, benchSteps[i].what)
		if name == "fill" {
			if err := b.db.Compact(cmd.Context(), nil, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// setKey sets the key to that of number i: 16 hexadecimal digits, scattered.
func (b *benchRun) setKey(i int) {
	z := (uint64(i) + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>31) * 0xbf58476d1ce4e5b9
	b.key = fmt.Appendf(b.key[:0], "%016x", z^z>>29)
}

func (b *benchRun) put(i int) error {
	b.setKey(i)
	if b.val == nil {
		b.val = make([]byte, b.valueSize)
	}
	for j := range b.val[:len(b.val)/2] {
		b.val[j] = byte(b.rng.Uint32())
	}
	return b.db.Put(b.key, b.val)
}

func (b *benchRun) fill() (int, error) {
	for _, i := range b.rng.Perm(b.n) {
		if err := b.put(i); err != nil {
			return 0, err
		}
	}
	return b.n, nil
}

// gets reads random keys; past is added to their numbers, to read absent ones.
func (b *benchRun) gets(past int) (int, error) {
	for range b.n {
		b.setKey(b.rng.IntN(b.n) + past)
		var err error
		b.buf, err = b.db.AppendGet(b.buf[:0], b.key)
		if past == 0 && err != nil || past > 0 && !errors.Is(err, seerdb.ErrNotFound) {
			return 0, fmt.Errorf("key %s: %v", b.key, err)
		}
	}
	return b.n, nil
}

func (b *benchRun) seeks() (int, error) {
	ops := b.n / 4
	for range ops {
		if err := b.shortScan(10); err != nil {
			return 0, err
		}
	}
	return ops, nil
}

func (b *benchRun) shortScan(rows int) error {
	b.setKey(b.rng.IntN(b.n))
	it, err := b.db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.SeekGE(b.key); ok && rows > 0; ok = it.Next() {
		rows--
		_ = it.Value()
	}
	return it.Close()
}

func (b *benchRun) scan() (n int, err error) {
	rows := b.db.Range(nil, nil)
	for range rows.All() {
		n++
	}
	return n, rows.Err()
}

// ycsb mixes reads with updates over a Zipf distribution.
func (b *benchRun) ycsb(reads int, modify bool) (int, error) {
	zipf := rand.NewZipf(b.rng, 1.01, 1, uint64(b.n-1))
	for range b.n {
		i := int(zipf.Uint64())
		update := b.rng.IntN(100) >= reads
		if !update || modify {
			b.setKey(i)
			var err error
			if b.buf, err = b.db.AppendGet(b.buf[:0], b.key); err != nil {
				return 0, err
			}
		}
		if update {
			if err := b.put(i); err != nil {
				return 0, err
			}
		}
	}
	return b.n, nil
}

func (b *benchRun) latest() (int, error) {
	zipf := rand.NewZipf(b.rng, 1.01, 1, uint64(b.n-1))
	top := b.n
	for range b.n {
		if b.rng.IntN(100) < 5 {
			if err := b.put(top); err != nil {
				return 0, err
			}
			top++
			continue
		}
		b.setKey(top - 1 - int(zipf.Uint64()))
		var err error
		if b.buf, err = b.db.AppendGet(b.buf[:0], b.key); err != nil {
			return 0, err
		}
	}
	return b.n, nil
}

func (b *benchRun) shortScans() (int, error) {
	ops := b.n / 10
	for range ops {
		if b.rng.IntN(100) < 5 {
			if err := b.put(b.rng.IntN(b.n)); err != nil {
				return 0, err
			}
		} else if err := b.shortScan(1 + b.rng.IntN(100)); err != nil {
			return 0, err
		}
	}
	return ops, nil
}
