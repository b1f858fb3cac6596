package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/observe"
)

func statsCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: "stats DIR", Short: "Print levels, sizes, amplification, memory, keyspaces",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			db, err := openExisting(args[0], true)
			if err != nil {
				return err
			}
			defer closing(db, &err)
			m, err := metricsOf(cmd.Context(), db)
			if err != nil {
				return err
			}
			// The manifest does not change while this process has the database
			// open.
			state, err := manifest.Recover(vfs.OS, args[0])
			if err != nil {
				return err
			}
			figures := figuresOfOpen(db.KeyspaceMetrics(), state)
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(struct {
					*observe.Metrics
					Keyspaces []spaceFigures
				}{m, figures})
			}
			if err := printStats(cmd.OutOrStdout(), m); err != nil {
				return err
			}
			if len(state.Keyspaces) == 0 {
				return nil
			}
			fmt.Fprintln(cmd.OutOrStdout())
			return printLargest(cmd.OutOrStdout(), figures)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON")
	return cmd
}

// metricsOf returns the metrics of a database, including the indexes of all its
// tables.
func metricsOf(ctx context.Context, db *store) (*observe.Metrics, error) {
	m := db.Metrics()
	var err error
	m.Index, err = db.IndexMetrics(ctx)
	return m, err
}

// printStats prints the shape of the tree and figures of the indexes.
func printStats(w io.Writer, m *observe.Metrics) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "level\truns\ttables\tsize\tentries\tdeletes\t")
	for _, l := range m.Levels {
		if l.Files > 0 {
			fmt.Fprintf(t, "L%d\t%d\t%d\t%s\t%s\t%s\t\n", l.Level, l.Runs, l.Files, size(l.Bytes), humanize.Comma(l.Entries), humanize.Comma(l.Deletes))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "memtable   %s entries, %s\n", humanize.Comma(m.Memtable.Entries), size(m.Memtable.Active+m.Memtable.Immutable))
	fmt.Fprintf(w, "log        %s\n", size(m.Log.Bytes))
	pending := ""
	if m.Values.Files > 0 && m.Memtable.Entries > 0 {
		pending = ", and what the memtable replaces not counted yet"
	}
	fmt.Fprintf(w, "values     %s, %s, of which %s garbage%s\n", counted(m.Values.Files, "file"), size(m.Values.Bytes), size(m.Values.Garbage), pending)
	printIndex(w, &m.Index)
	// After a session that wrote almost nothing the quotient would mostly
	// describe earlier writes.
	if m.UserBytes > 0 && m.UserBytes >= stored(m)/10 {
		fmt.Fprintf(w, "amplified  write %.2f (with the log %.2f), space %.2f\n",
			m.IO.WriteAmplification, m.IO.WriteAmplificationWithLog, m.IO.SpaceAmplification)
	}
	fmt.Fprintf(w, "sequence   %s visible, %s durable\n", humanize.Comma(int64(m.VisibleSeq)), humanize.Comma(int64(m.DurableSeq)))
	return nil
}

func printIndex(w io.Writer, x *observe.IndexMetrics) {
	if x.Entries == 0 {
		return
	}
	fmt.Fprintf(w, "index      %s bytes for %s entries in %s pages: %.3f bytes an entry\n",
		humanize.Comma(x.Bytes), humanize.Comma(x.Entries), humanize.Comma(x.Pages), float64(x.Bytes)/float64(x.Entries))
	fmt.Fprintf(w, "           %s found by %s, %s by a separator of their own\n",
		counted(x.LearnedPages, "page"), counted(x.Windows, "model"), humanize.Comma(x.FencePages))
	fmt.Fprintf(w, "filters    %s, %.1f bits an entry\n", size(x.FilterBytes), float64(x.FilterBytes)*8/float64(x.Entries))
}
