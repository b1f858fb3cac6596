package main

import (
	"bufio"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
)

func exportCommand() *cobra.Command {
	e := exporter{format: "tsv", o: newRowOptions()}
	cmd := &cobra.Command{
		Use: "export DIR", Short: "Write every row, in key order, to standard output or a file",
		Long: "Write every row of a keyspace, in key order, to standard output or a file, in the formats of load:\n\n" +
			formatHelp + "\n\n" +
			"Values are written exactly as stored, counters too. Only jsonl keeps the time at which a row\n" +
			"expires. A merged value has none, even if it was merged onto one that expires.\n" +
			"A file is replaced in one step once everything is written; otherwise it stays unchanged.",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if e.o.raw && e.format != "tsv" {
				return usagef("--raw needs --format tsv, not %s", e.format)
			}
			if _, err := newRowWriter(e.format, nil, e.o); err != nil {
				return err
			}
			return reading(args[0], e.place, func(_ *store, t tree) error { return e.run(t, cmd.OutOrStdout(), cmd.ErrOrStderr()) })
		},
	}
	cmd.Flags().StringVar(&e.format, "format", e.format, "tsv, jsonl or binary")
	cmd.Flags().BoolVar(&e.o.raw, "raw", false, "tsv: write backslashes as they are, and refuse rows that need escapes")
	cmd.Flags().StringVarP(&e.file, "output", "o", "", "file to write instead of standard output")
	e.place.flag(cmd)
	return cmd
}

// exporter writes the rows of a keyspace.
type exporter struct {
	place
	format, file string
	o            *rowOptions
}

func (e *exporter) run(t tree, stdout, messages io.Writer) error {
	bar := newBar(messages, -1, "exporting")
	if e.file == "" && isTerminal(stdout) {
		bar = newBar(io.Discard, -1, "")
	}
	var expiring int64
	err := writeOutput(e.file, stdout, func(w io.Writer) error {
		buffered := bufio.NewWriterSize(io.MultiWriter(w, bar), 1<<20)
		rows, err := newRowWriter(e.format, buffered, e.o)
		if err != nil {
			return err
		}
		if expiring, err = export(t, rows); err != nil {
			return err
		}
		return buffered.Flush()
	})
	_ = bar.Finish()
	if err == nil && expiring > 0 && e.format != "jsonl" {
		fmt.Fprintf(messages, "%s of the rows %s, which %s does not keep; --format jsonl does\n", humanize.Comma(expiring),
			verb(expiring, "expires", "expire"), e.format)
	}
	return err
}

// export writes all rows, and returns how many of them expire.
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
			break // the value cannot be read, and Close returns why
		}
		if err := rows.write(row{it.Key(), v, at}); err != nil {
			_ = it.Close()
			return expiring, err
		}
	}
	return expiring, it.Close()
}
