package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/observe"
)

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

// verify verifies all files, with progress on a terminal.
func verify(ctx context.Context, db *seerdb.DB, messages io.Writer) (*observe.Report, error) {
	m := db.Metrics()
	stop := watch(messages, stored(m), "checking", readSince(db, m))
	defer stop()
	return db.Verify(ctx)
}

// damagedSpace returns the name of the keyspace whose table is damaged, "" for
// none or the default one.
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

// reportText prints a report. The state, if there is one, shows which keyspaces
// the damage is in.
func reportText(w io.Writer, r *observe.Report, s *manifest.State) {
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

func reportJSON(w io.Writer, r *observe.Report, s *manifest.State) error {
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
