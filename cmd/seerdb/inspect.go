package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/observe"
)

// errDamage ends a check that found damage; the findings were printed.
var errDamage = errors.New("the database is damaged")

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
			// The manifest does not change while the database is open here.
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

// metricsOf are the metrics of a database, with the indexes of all its tables.
func metricsOf(ctx context.Context, db *store) (*observe.Metrics, error) {
	m := db.Metrics()
	var err error
	m.Index, err = db.IndexMetrics(ctx)
	return m, err
}

func size[N int64 | uint64](n N) string { return humanize.IBytes(uint64(max(n, 0))) }

// printStats shows the shape of the tree and what the indexes are made of.
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
	// Over a session that wrote next to nothing the quotient is of what was written
	// before it.
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

func checkCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: "check DIR", Short: "Read every byte and verify it (exit 0 clean, 1 damage, 2 usage, 3 I/O)",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			db, err := openExisting(args[0], true)
			if err != nil {
				return err
			}
			defer closing(db, &err)
			r, err := verify(cmd.Context(), db.DB, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			state, err := manifest.Recover(vfs.OS, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				err = reportJSON(cmd.OutOrStdout(), r, state)
			} else {
				reportText(cmd.OutOrStdout(), r, state)
			}
			if err == nil && !r.Clean() {
				return errDamage
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// verify reads everything, with progress on a terminal.
func verify(ctx context.Context, db *seerdb.DB, messages io.Writer) (*seerdb.Report, error) {
	m := db.Metrics()
	stop := watch(messages, stored(m), "checking", readSince(db, m))
	defer stop()
	return db.Verify(ctx)
}

// readSince counts the bytes that were read from tables and value files.
func readSince(db *seerdb.DB, then *observe.Metrics) func() int64 {
	return func() int64 {
		now := db.Metrics()
		return now.IO.Tables.BytesRead + now.IO.Values.BytesRead - then.IO.Tables.BytesRead - then.IO.Values.BytesRead
	}
}

// damagedSpace is the keyspace whose table is damaged; "" when that is none but
// the default one.
func damagedSpace(s *manifest.State, err error) string {
	var c *seerdb.CorruptionError
	if s == nil || !errors.As(err, &c) {
		return ""
	}
	if k := spaceOfFile(s, filepath.Base(c.File)); k != nil {
		return k.Name
	}
	return ""
}

// reportText prints a report. The state, if there is one, says which keyspaces
// what is damaged belongs to.
func reportText(w io.Writer, r *seerdb.Report, s *manifest.State) {
	for _, d := range r.Damage {
		where := ""
		if name := damagedSpace(s, d); name != "" {
			where = fmt.Sprintf(" (keyspace %q)", name)
		}
		fmt.Fprintf(w, "damage: %s%s\n", sentence(d), where)
	}
	for _, f := range r.Foreign {
		fmt.Fprintln(w, "not ours, left alone:", f)
	}
	verdict := "clean"
	if !r.Clean() {
		verdict = fmt.Sprintf("%d damaged", len(r.Damage))
	}
	fmt.Fprintf(w, "%s: tables %d (%s entries in %s pages), value files %d, %s read\n", verdict, r.Tables,
		humanize.Comma(r.Entries), humanize.Comma(r.Pages), r.ValueFiles, size(r.Bytes))
}

func reportJSON(w io.Writer, r *seerdb.Report, s *manifest.State) error {
	type damage struct {
		File     string `json:"file,omitempty"`
		Keyspace string `json:"keyspace,omitempty"`
		Offset   int64  `json:"offset,omitempty"`
		Lo       string `json:"lo,omitempty"`
		Hi       string `json:"hi,omitempty"`
		Detail   string `json:"detail"`
	}
	out := struct {
		Clean                 bool `json:"clean"`
		Tables, ValueFiles    int
		Pages, Entries, Bytes int64
		Damage                []damage `json:"damage,omitempty"`
		Foreign               []string `json:"foreign,omitempty"`
	}{Clean: r.Clean(), Tables: r.Tables, ValueFiles: r.ValueFiles, Pages: r.Pages, Entries: r.Entries, Bytes: r.Bytes, Foreign: r.Foreign}
	for _, err := range r.Damage {
		d := damage{Detail: sentence(err), Keyspace: damagedSpace(s, err)}
		var c *seerdb.CorruptionError
		if errors.As(err, &c) {
			d.File, d.Offset, d.Lo, d.Hi = c.File, c.Offset, escape(c.Lo), escape(c.Hi)
		}
		out.Damage = append(out.Damage, d)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func compactCommand() *cobra.Command {
	var f rangeFlags
	cmd := &cobra.Command{
		Use: "compact DIR", Short: "Rewrite until every key is in one place",
		Long: "Rewrite the tables of every keyspace, or of the one that --keyspace names, until each key is in\n" +
			"one place. Bounds are those of the default keyspace unless another is named.",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			lo, hi, err := f.bounds()
			if err != nil {
				return err
			}
			s, err := openExisting(args[0], false)
			if err != nil {
				return err
			}
			defer closing(s, &err)
			names := []string{f.keyspace}
			if f.keyspace == "" && f.unbounded() {
				others, err := s.Keyspaces()
				if err != nil {
					return err
				}
				names = append(names, others...)
			}
			return s.compact(cmd.Context(), names, lo, hi, cmd.ErrOrStderr())
		},
	}
	f.flags(cmd)
	return cmd
}

// compact compacts keyspaces, with progress on a terminal, and says what it did.
func (s *store) compact(ctx context.Context, names []string, lo, hi []byte, messages io.Writer) error {
	before := s.Metrics()
	stop := watch(messages, stored(before), "compacting", readSince(s.DB, before))
	defer func() { stop() }()
	for _, name := range names {
		t, err := s.tree(name, false)
		if err != nil {
			return err
		}
		if err := t.Compact(ctx, lo, hi); err != nil {
			return err
		}
	}
	stop()
	stop = func() {}
	_, err := fmt.Fprintf(messages, "%s in tables and value files before, %s after\n", size(stored(before)), size(stored(s.Metrics())))
	return err
}

// stored is the bytes in tables and value files.
func stored(m *observe.Metrics) int64 { return m.IO.Tables.Bytes + m.Values.Bytes }

// heading prints a title the way the demonstration does.
func heading(w io.Writer, format string, args ...any) {
	title := fmt.Sprintf(format, args...)
	fmt.Fprintf(w, "\n%s\n%s\n", title, strings.Repeat("-", len(title)))
}
