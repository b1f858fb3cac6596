package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
)

// loadBatchBytes is the size of a commit. At 256 KiB the cost of a commit is
// negligible, and memory stays small.
const loadBatchBytes = 256 << 10

func loadCommand() *cobra.Command {
	l := loader{format: "tsv", o: newRowOptions()}
	cmd := &cobra.Command{
		Use: "load DIR [FILE]", Short: "Load rows from a file or standard input (FILE -)",
		Long: "Load rows into a database, creating it and the keyspace if missing. FILE - or none reads standard input.\n\n" +
			formatHelp + "\n\n" +
			"A row that cannot be loaded ends the load, which prints it; the rows before it are loaded. --skip-bad\n" +
			"prints such rows and leaves them out, and --skip continues where an earlier load ended.",
		Args: rangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := l.check(); err != nil {
				return err
			}
			file := "-"
			if len(args) == 2 {
				file = args[1]
			}
			in, size, err := openInput(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }()
			s, err := openToWrite(args[0], l.create, seerdb.Buffered)
			if err != nil {
				return err
			}
			return s.within(l.place, true, func(_ *store, t tree) error {
				return l.run(s.DB, t, in, size, cmd.ErrOrStderr())
			})
		},
	}
	l.flags(cmd)
	l.place.flag(cmd)
	createFlag(cmd, &l.create)
	return cmd
}

// loader loads rows.
type loader struct {
	place
	format          string
	o               *rowOptions
	skip            int64
	skipBad, create bool

	rows                        rowReader
	warnings                    io.Writer
	db                          *seerdb.DB
	b                           *seerdb.Batch
	to                          putter
	read, loaded, bad, bytes    int64 // rows after --skip, of them loaded and bad, and bytes loaded
	committed, committedLoading int64 // read and loaded as of the last commit
}

func (l *loader) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.format, "format", l.format, "tsv, jsonl or binary")
	cmd.Flags().BoolVar(&l.o.raw, "raw", false, "tsv: a backslash is a backslash")
	cmd.Flags().BoolVar(&l.o.crlf, "crlf", false, "lines end in CR LF; a byte order mark in front is none of the key")
	cmd.Flags().Int64Var(&l.skip, "skip", 0, "pass over this many rows first")
	cmd.Flags().BoolVar(&l.skipBad, "skip-bad", false, "leave out rows that cannot be taken")
}

func (l *loader) check() error {
	switch {
	case l.o.raw && l.format != "tsv":
		return usagef("--raw needs --format tsv, not %s", l.format)
	case l.o.crlf && l.format == "binary":
		return usagef("--crlf needs lines, which --format binary does not have")
	case l.skipBad && l.format == "binary":
		return usagef("--skip-bad needs lines: in --format binary nothing marks where the row after a bad one begins")
	}
	_, err := newRowReader(l.format, nil, l.o)
	return err
}

// putter adds rows to a batch, in one keyspace.
type putter interface {
	PutUntil(key, value []byte, at time.Time) error
}

// openInput opens a file, or standard input for -, with its size, or -1.
func openInput(file string, stdin io.Reader) (r io.ReadCloser, size int64, err error) {
	if file == "-" {
		return io.NopCloser(stdin), -1, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	size = -1
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, size, nil
}

// run loads all rows of in and prints how many.
func (l *loader) run(db *seerdb.DB, t tree, in io.Reader, size int64, messages io.Writer) (err error) {
	l.db, l.b, l.warnings = db, db.NewBatch(), messages
	l.to = l.b
	if k, ok := t.(*seerdb.Keyspace); ok {
		l.to = l.b.In(k)
	}
	bar := newBar(messages, size, "loading")
	if l.rows, err = newRowReader(l.format, io.TeeReader(in, bar), l.o); err != nil {
		return err
	}
	begin := time.Now()
	err = l.load()
	_ = bar.Finish()
	if serr := db.Sync(); err == nil {
		err = serr
	}
	if err != nil {
		return err
	}
	d := time.Since(begin)
	text := fmt.Sprintf("loaded %s, %s, in %v (%s rows/s)", counted(l.loaded, "row"), humanize.IBytes(uint64(l.bytes)),
		d.Round(time.Millisecond), humanize.Comma(int64(float64(l.loaded)/d.Seconds())))
	if l.bad > 0 {
		text += fmt.Sprintf("; left out %s", counted(l.bad, "bad row"))
	}
	_, _ = fmt.Fprintln(messages, text)
	return nil
}

// load commits the rows in batches. If it cannot take a row, it commits those
// before and returns an error.
func (l *loader) load() error {
	for n := range l.skip {
		if err := l.rows.skip(); err == io.EOF {
			return usagef("--skip is %d, and the input has only %s", l.skip, counted(n, "row"))
		} else if err != nil {
			return err
		}
	}
	for {
		err := l.one()
		switch {
		case err == nil:
		case err == io.EOF:
			return l.progress(l.commit())
		case l.skipBad && errors.As(err, new(badRow)):
			l.read++
			if l.bad++; l.bad <= maxWarnings {
				fmt.Fprintln(l.warnings, "left out:", sentence(err))
			} else if l.bad == maxWarnings+1 {
				fmt.Fprintln(l.warnings, "left out: more, which are counted and not named")
			}
			continue
		default:
			if cerr := l.commit(); cerr != nil {
				return l.progress(errors.Join(err, cerr))
			}
			return l.progress(err)
		}
		if l.b.Size() >= loadBatchBytes {
			if err := l.commit(); err != nil {
				return l.progress(err)
			}
		}
	}
}

// maxWarnings is how many bad rows are printed.
const maxWarnings = 20

// expiryBytes is how much shorter a value must be if it has an expiry.
const expiryBytes = 8

// one adds a row to the batch.
func (l *loader) one() error {
	r, err := l.rows.next()
	if err != nil {
		return err
	}
	if most := seerdb.MaxValueSize - expiryBytes; !r.expires.IsZero() && len(r.value) > most {
		return badf("row %d expires, and its value is longer than %d bytes", l.skip+l.read+1, most)
	}
	if err := l.to.PutUntil(r.key, r.value, r.expires); err != nil {
		return err
	}
	l.read++
	l.loaded++
	l.bytes += int64(len(r.key) + len(r.value))
	return nil
}

func (l *loader) commit() error {
	if l.b.Len() > 0 {
		err := l.db.Apply(l.b, seerdb.DefaultDurability)
		l.b.Reset()
		if err != nil {
			return err
		}
	}
	l.committed, l.committedLoading = l.read, l.loaded
	return nil
}

// progress adds to an error what was done before it.
func (l *loader) progress(err error) error {
	if err == nil {
		return nil
	}
	done := l.skip + l.committed
	text := "nothing was loaded"
	if done > 0 {
		text = fmt.Sprintf("%s before it loaded; --skip %d goes on behind them", counted(l.committedLoading, "row"), done)
	}
	if errors.As(err, new(badRow)) {
		text += "; --skip-bad leaves out rows like this"
	}
	return fmt.Errorf("%w (%s)", err, text)
}
