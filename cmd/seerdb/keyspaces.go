package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/vfs"
)

func keyspacesCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: "keyspaces DIR", Short: "List the keyspaces, and figures of their tables",
		Long: "List the keyspaces, and figures of their tables from the manifest: rows that are only in the log\n" +
			"are not counted. The database may be in use.",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := manifest.Recover(vfs.OS, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(figuresOf(s))
			}
			return printFigures(cmd.OutOrStdout(), figuresOf(s))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func dropCommand() *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use: "drop DIR NAME", Short: "Drop a keyspace and all its keys",
		Long: "Drop a keyspace and all its keys. On a terminal it asks first; elsewhere it needs --yes.",
		Args: exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, err := openExisting(args[0], false)
			if err != nil {
				return err
			}
			defer closing(s, &err)
			if _, err := s.space(args[1], false); err != nil {
				return err
			}
			if !yes {
				if err := confirmDrop(cmd.InOrStdin(), cmd.ErrOrStderr(), args[1]); err != nil {
					return err
				}
			}
			return s.DropKeyspace(args[1])
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirmDrop asks the user to confirm.
func confirmDrop(in io.Reader, out io.Writer, name string) error {
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return usagef("this drops the keyspace %q with all its keys; confirm with --yes", name)
	}
	fmt.Fprintf(out, "Drop the keyspace %q and all that is in it? [y/N] ", name)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return usagef("nothing was dropped")
	}
	return nil
}
