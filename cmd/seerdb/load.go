package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seerdb-go/seerdb"
)

// loadBatchBytes is how much goes into one commit. At 256 KiB the cost of a
// commit no longer shows, and memory stays small.
const loadBatchBytes = 256 << 10

func loadCommand() *cobra.Command {
	format := "tsv"
	var p place
	cmd := &cobra.Command{
		Use: "load DIR [FILE]", Short: "Load rows from a file or standard input (FILE -)",
		Long: "Load rows into a database, creating it and the keyspace if missing. FILE - or none reads standard input.\n\n" +
			"  tsv     key TAB value, with \\t \\n \\r \\\\ escaped\n" +
			"  jsonl   {\"key\":\"…\",\"value\":\"…\"}; key64 and value64 hold base64, and expires, such as\n" +
			"          \"2026-05-01T12:00:00.5Z\", is when the key is gone\n" +
			"  binary  uvarint length and bytes of key, then of value",
		Args: rangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, size, done, err := input(cmd, args)
			if err != nil {
				return err
			}
			defer done()
			bar := newBar(cmd.ErrOrStderr(), size, "loading")
			rows, err := newRowReader(format, io.TeeReader(in, bar))
			if err != nil {
				return err
			}
			begin := time.Now()
			var n, bytes int64
			err = openToLoad(args[0], p, func(db *seerdb.DB, b *seerdb.Batch, put putter) error {
				n, bytes, err = load(db, b, put, rows)
				return err
			})
			_ = bar.Finish()
			if err != nil {
				return err
			}
			d := time.Since(begin)
			fmt.Fprintf(cmd.ErrOrStderr(), "loaded %s rows, %s, in %v (%s rows/s)\n", humanize.Comma(n), humanize.IBytes(uint64(bytes)),
				d.Round(time.Millisecond), humanize.Comma(int64(float64(n)/d.Seconds())))
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", format, "tsv, jsonl or binary")
	p.flag(cmd)
	return cmd
}

// input opens what load reads, with its size, or -1.
func input(cmd *cobra.Command, args []string) (r io.Reader, size int64, done func(), err error) {
	if len(args) < 2 || args[1] == "-" {
		return cmd.InOrStdin(), -1, func() {}, nil
	}
	f, err := os.Open(args[1])
	if err != nil {
		return nil, 0, nil, err
	}
	size = -1
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, size, func() { _ = f.Close() }, nil
}

// putter adds rows to a batch, in one keyspace.
type putter interface {
	PutUntil(key, value []byte, at time.Time) error
}

// openToLoad opens a database for loading: commits go to the operating system at
// once, and are synced at the end.
func openToLoad(dir string, p place, f func(*seerdb.DB, *seerdb.Batch, putter) error) error {
	s, err := openStore(dir, &seerdb.Options{Durability: seerdb.Buffered}, storedOperators(dir))
	if err != nil {
		return err
	}
	return s.within(p, true, func(_ *store, t tree) error {
		b := s.NewBatch()
		var put putter = b
		if k, ok := t.(*seerdb.Keyspace); ok {
			put = b.In(k)
		}
		if err := f(s.DB, b, put); err != nil {
			return err
		}
		return s.Sync()
	})
}

// load commits rows in batches.
func load(db *seerdb.DB, b *seerdb.Batch, to putter, rows rowReader) (n, bytes int64, err error) {
	commit := func() error {
		if b.Len() == 0 {
			return nil
		}
		err := db.Apply(b, seerdb.DefaultDurability)
		b.Reset()
		return err
	}
	for {
		r, err := rows.next()
		if err == io.EOF {
			return n, bytes, commit()
		}
		if err != nil {
			return n, bytes, err
		}
		if err := to.PutUntil(r.key, r.value, r.expires); err != nil {
			return n, bytes, fmt.Errorf("row %d: %w", n+1, err)
		}
		n++
		bytes += int64(len(r.key) + len(r.value))
		if b.Size() >= loadBatchBytes {
			if err := commit(); err != nil {
				return n, bytes, err
			}
		}
	}
}

// newBar shows progress on a terminal and nothing elsewhere.
func newBar(w io.Writer, size int64, what string) *progressbar.ProgressBar {
	f, ok := w.(*os.File)
	visible := ok && term.IsTerminal(int(f.Fd()))
	return progressbar.NewOptions64(size, progressbar.OptionSetWriter(w), progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
}

func exportCommand() *cobra.Command {
	format := "tsv"
	var out string
	var p place
	cmd := &cobra.Command{
		Use: "export DIR", Short: "Write every row, in key order, to standard output or a file",
		Long: "Write every row of a keyspace, in key order, to standard output or a file, in the formats of load.\n" +
			"Values are written exactly as stored, counters too. Only jsonl keeps the moment at which a row\n" +
			"expires. A value that was merged has none, also if it was merged onto one that expires.",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if _, err := newRowWriter(format, nil); err != nil {
				return err
			}
			return reading(args[0], p, func(_ *store, t tree) error {
				var expiring int64
				err := writeOutput(out, cmd.OutOrStdout(), func(w io.Writer) (err error) {
					buffered := bufio.NewWriterSize(w, 1<<20)
					rows, err := newRowWriter(format, buffered)
					if err != nil {
						return err
					}
					if expiring, err = export(t, rows); err != nil {
						return err
					}
					return buffered.Flush()
				})
				if err == nil && expiring > 0 && format != "jsonl" {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s of the rows expire, which %s does not keep; --format jsonl does\n", humanize.Comma(expiring), format)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", format, "tsv, jsonl or binary")
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write instead of standard output")
	p.flag(cmd)
	return cmd
}

// export writes all rows, and counts those that expire.
func export(t tree, rows rowWriter) (expiring int64, err error) {
	it, err := t.NewIter(&seerdb.IterOptions{Bulk: true})
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		at, expires := it.Expiry()
		if expires {
			expiring++
		}
		v := it.Value()
		if !it.Valid() {
			break
		}
		if err := rows.write(row{it.Key(), v, at}); err != nil {
			_ = it.Close()
			return expiring, err
		}
	}
	return expiring, it.Close()
}
